// Package processors keeps a process that passes events on to as many processors as its work needs, beginning
// with one: an event passes several goroutines on its way; on one processor each hands it to the next, on several
// each wakes a thread, which costs more than all that is done for the event.
package processors

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// Shares of the processors in use at which it takes another one, or gives one back.
const (
	busyShare = 0.75
	idleShare = 0.5
)

// Scale is a process's use of processors. It belongs to one goroutine.
type Scale struct {
	set  func(n int)
	most int
	now  int
	used time.Duration // of CPU, at the last look
	at   time.Time
}

// New begins with one. set takes a number. nil when nobody has said how, or there is but one.
func New(set func(n int), most int) *Scale {
	if set == nil || most < 2 {
		return nil
	}
	set(1)
	return &Scale{set: set, most: most, now: 1}
}

// Look is told how much CPU time the process has used until now.
func (p *Scale) Look(used time.Duration, at time.Time) {
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

// Default gives the process all processors that it may use.
func (p *Scale) Default() { p.set(0) }

// Set is how a process's use of processors is set; 0: as many as there are. nil when the user has said it.
func Set() func(n int) {
	if os.Getenv("GOMAXPROCS") != "" {
		return nil
	}
	return func(n int) {
		if n == 0 {
			runtime.SetDefaultGOMAXPROCS()
		} else {
			runtime.GOMAXPROCS(n)
		}
	}
}

// Used is the CPU time that this process has used.
func Used() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
