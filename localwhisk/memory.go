package localwhisk

import "time"

// memoryLoop kills containers that use more than their action's limit. What
// counts is memory of their own: mapped files and shared memory do not.
func (l *local) memoryLoop() {
	const every, scanEvery = 100 * time.Millisecond, 10
	t := time.NewTicker(every)
	defer t.Stop()
	members := map[*localBox][]int{}
	for n := 0; ; n++ {
		select {
		case <-t.C:
		case <-l.launcher.done:
			return
		}
		all := l.running()
		if n%scanEvery == 0 {
			members = membersOf(all)
		}
		for _, b := range all {
			b.checkMemory(members[b])
		}
	}
}

// running lists the containers that may be growing.
func (l *local) running() []*localBox {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*localBox
	for b := range l.boxes {
		if !b.stopped.Load() {
			all = append(all, b)
		}
	}
	return all
}

// membersOf finds the containers' processes.
func membersOf(all []*localBox) map[*localBox][]int {
	members := map[*localBox][]int{}
	if len(all) == 0 {
		return members
	}
	ps := scanProcesses()
	for _, b := range all {
		members[b] = ps.container(b.pid())
	}
	return members
}

func (b *localBox) checkMemory(members []int) {
	if len(members) == 0 { // newer than the last scan
		members = []int{b.pid()}
	}
	used := 0
	for _, m := range members {
		used += anonymousBytes(m)
	}
	if used > b.order.memory<<20 && !b.oom.Swap(true) {
		b.order.log.Warn().Int("bytes", used).Int("limit_mb", b.order.memory).Msg("over its memory limit")
		b.kill()
	}
}
