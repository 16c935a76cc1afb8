package localwhisk

import (
	"slices"
	"syscall"
)

// A container's processes are stopped and killed together, as the platform
// does with a control group: those in the group of the first one at once, and
// those that left it one by one.

// pause stops every process of the container.
func (b *localBox) pause() error {
	b.stopped.Store(true)
	b.frozen = b.signalAll(syscall.SIGSTOP)
	return nil
}

// resume lets a paused container go on.
func (b *localBox) resume() error {
	b.stopped.Store(false)
	if !b.ended.Load() {
		for _, pid := range slices.Backward(b.frozen) {
			syscall.Kill(pid, syscall.SIGCONT)
		}
		syscall.Kill(-b.pid(), syscall.SIGCONT)
	}
	b.frozen = nil
	return nil
}

// kill ends the container without notice. A call in flight breaks.
func (b *localBox) kill() { b.signalAll(syscall.SIGKILL) }

// signalAll signals every process of the container and returns them. It looks
// again until nothing new is found, since a process may just have started
// another; one that is gone already is no error.
func (b *localBox) signalAll(s syscall.Signal) []int {
	root := b.pid()
	if b.ended.Load() {
		return nil
	}
	done := []int{root}
	members := scanProcesses().container(root) // before their parent is gone
	syscall.Kill(-root, s)
	for range 3 {
		fresh := false
		for _, pid := range members {
			if !slices.Contains(done, pid) {
				done, fresh = append(done, pid), true
				syscall.Kill(pid, s)
			}
		}
		if !fresh {
			break
		}
		members = scanProcesses().container(root)
	}
	return done
}
