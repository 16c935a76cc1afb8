package localwhisk

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// pool holds the containers and the jobs that wait for one. A job goes to the
// longest idle container of its action; else a new one is started if memory
// allows; else the oldest idle containers make room; else it waits.
type pool struct {
	p     *Platform
	run   func(*job, *container)
	tasks sync.WaitGroup // pauses, removals and prewarming

	mu      sync.Mutex
	free    int // MB
	leaving int // MB of containers being removed
	all     map[*container]struct{}
	idle    []*container // bound to an action, longest idle first
	warm    []*container // prewarmed, bound to none
	last    map[string]*container
	waiting []*job
	count   int
	closing bool
}

func newPool(p *Platform, run func(*job, *container)) *pool {
	return &pool{p: p, run: run, free: p.cfg.UserMemoryMB,
		all: map[*container]struct{}{}, last: map[string]*container{}}
}

func (l *pool) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for kind := range l.p.cfg.Runtimes {
		l.prewarm(kind)
	}
}

// stop places no more jobs; the runs under way are about to end.
func (l *pool) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.waiting = nil
	for c := range l.all {
		c.stopTimer()
	}
}

// close removes every container. No run holds one any more.
func (l *pool) close() {
	l.tasks.Wait()
	l.mu.Lock()
	all := l.containers()
	l.mu.Unlock()
	for _, c := range all {
		l.tasks.Go(c.remove)
	}
	l.tasks.Wait()
}

// containers lists all; the lock is held.
func (l *pool) containers() []*container {
	out := make([]*container, 0, len(l.all))
	for c := range l.all {
		out = append(out, c)
	}
	return out
}

// submit finds a container for a job, now or later.
func (l *pool) submit(j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, j)
	l.pump()
}

// pump places waiting jobs in order; the lock is held. The first that finds
// no place holds up those behind it, as in the invoker's own buffer.
func (l *pool) pump() {
	for len(l.waiting) > 0 && !l.closing {
		c := l.place(l.waiting[0])
		if c == nil {
			return
		}
		j := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.last[j.key()] = c
		l.run(j, c)
	}
}

// key is what a container is bound to: an action in one revision.
func (j *job) key() string { return j.action.name.String() + "@" + j.action.rev }

// place takes a container for the job out of the pool, or makes one. It
// returns nil if the job has to wait; room is then being made if it can be.
func (l *pool) place(j *job) *container {
	key, memory := j.key(), j.action.limits.Memory
	passed := -1
	for i, c := range l.idle {
		if c.action != key {
			continue
		}
		if l.p.cfg.Placement.PassOverLast && l.last[key] == c {
			passed = i
			continue
		}
		return l.take(i)
	}
	if c := l.takePrewarmed(j); c != nil {
		return c
	}
	if l.free >= memory {
		return l.create(j)
	}
	if passed >= 0 {
		return l.take(passed)
	}
	l.makeRoom(memory)
	return nil
}

// makeRoom removes the oldest idle containers until memory is about to be
// free, and none if all of them were not enough.
func (l *pool) makeRoom(memory int) {
	room := l.free + l.leaving
	for _, c := range l.idle {
		room += c.memory
	}
	for room >= memory && l.free+l.leaving < memory {
		l.leave(l.take(0))
	}
}

// take takes an idle container out.
func (l *pool) take(i int) *container {
	c := l.idle[i]
	l.idle = slices.Delete(l.idle, i, i+1)
	c.stopTimer()
	return c
}

func (c *container) stopTimer() {
	c.turn++
	if c.timer != nil {
		c.timer.Stop()
	}
}

func (l *pool) create(j *job) *container {
	l.count++
	name := plain(l.p.cfg.Namespace) + "_" + plain(j.action.name.Entity)
	c := l.p.newContainer(l.count, name, l.p.runtime(j.action), j.action.limits.Memory, j.action.limits.Logs == 0)
	c.action = j.key()
	l.free -= c.memory
	l.all[c] = struct{}{}
	return c
}

// plain keeps letters, digits and underscores.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, s)
}

// release gives a container back after a run.
func (l *pool) release(c *container) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return
	}
	l.idle = append(l.idle, c)
	turn := c.turn
	c.timer = time.AfterFunc(l.p.cfg.PauseGrace, func() { l.pause(c, turn) })
	l.pump()
}

// pause freezes a container that is still idle since turn.
func (l *pool) pause(c *container, turn int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.turn != turn || l.closing {
		return
	}
	l.tasks.Go(func() {
		if err := c.pause(func() bool { return l.idles(c, turn) }); err != nil {
			c.log.Warn().Err(err).Msg("the container goes")
			l.expire(c, turn)
		}
	})
	c.timer = time.AfterFunc(l.p.cfg.IdleTimeout, func() { l.expire(c, turn) })
}

// idles tells whether a container is idle since turn. Whoever takes it thaws
// it, and waits for a pause that has begun.
func (l *pool) idles(c *container, turn int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.turn == turn && !l.closing
}

// expire removes a container that has been paused for long enough.
func (l *pool) expire(c *container, turn int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.turn != turn || l.closing {
		return
	}
	if i := slices.Index(l.idle, c); i >= 0 {
		l.leave(l.take(i))
	}
}

// discard removes a container that its run held.
func (l *pool) discard(c *container) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closing {
		l.leave(c)
	}
}

// leave removes a container that nobody holds; the lock is held. Its memory
// is free once its processes are gone.
func (l *pool) leave(c *container) {
	if _, known := l.all[c]; !known {
		return
	}
	delete(l.all, c)
	if l.last[c.action] == c {
		delete(l.last, c.action)
	}
	l.leaving += c.memory
	l.tasks.Go(func() {
		c.remove()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.leaving -= c.memory
		l.free += c.memory
		l.pump()
	})
}
