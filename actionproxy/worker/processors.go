package worker

import (
	"syscall"
	"time"
)

// Shares of a proxy's processors in use at which it takes another one, or gives one back.
const (
	busyShare = 0.75
	idleShare = 0.5
)

// processors keeps a proxy on as many processors as its work needs, beginning with one. An event passes
// several goroutines on its way; on one processor each hands it to the next, on several each wakes a thread,
// which costs more than all that is done for the event.
type processors struct {
	set  func(n int)
	most int
	now  int
	used time.Duration // of CPU, at the last look
	at   time.Time
}

// newProcessors begins with one. nil when nobody has said how.
func newProcessors(set func(n int), most int) *processors {
	if set == nil || most < 2 {
		return nil
	}
	set(1)
	return &processors{set: set, most: most, now: 1}
}

// look is told how much CPU time the process has used until now.
func (p *processors) look(used time.Duration, at time.Time) {
	busy := float64(used-p.used) / float64(at.Sub(p.at))
	first := p.at.IsZero()
	p.used, p.at = used, at
	switch {
	case first:
	case p.now < p.most && busy > busyShare*float64(p.now):
		p.now++
		p.set(p.now)
	case p.now > 1 && busy < idleShare*float64(p.now-1):
		p.now--
		p.set(p.now)
	}
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
