package shmring

import (
	"runtime"
	"sync/atomic"
	"time"
)

// Bounds of watching a word before sleeping on it. A sleep and a wake cost 2–6 µs on one core and about
// 25 across; watching costs a core.
const (
	spinMost  = 50 * time.Microsecond // at most, and when it is tried out
	spinTry   = 32                    // waits between two tries
	spinQuiet = 1024                  // waits without a try, after the core was wanted by others
	spinGap   = 20 * time.Microsecond // between two looks: the core was taken away
)

// spinning is how many goroutines of this process watch words now: one core stays for the rest of it.
var spinning atomic.Int32

var spinLimit = int32(min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) - 1)

// spinner decides how long to watch, from what watching has brought: it grows with quick answers, and
// ends when they don't come or when others want the core.
type spinner struct {
	budget time.Duration // how long to watch; 0: it does not pay
	until  int           // waits until the next try
}

// watch looks at the word until it isn't old any more. false: go to sleep.
func (s *spinner) watch(word *atomic.Uint64, old uint64) bool {
	runtime.Gosched() // whom the last bytes were for runs now, on this core
	if word.Load() != old {
		return true
	}
	budget := s.budget
	if budget == 0 {
		if s.until++; s.until < spinTry {
			return false
		}
		budget, s.until = spinMost, 0
	}
	if spinning.Add(1) > spinLimit {
		spinning.Add(-1)
		return false
	}
	defer spinning.Add(-1)
	begin := time.Now()
	for last := time.Duration(0); ; {
		for range 20 {
			if word.Load() != old {
				s.paid(time.Since(begin))
				return true
			}
		}
		now := time.Since(begin)
		switch {
		case now-last > spinGap:
			s.budget, s.until = 0, spinTry-spinQuiet
			return word.Load() != old
		case now > budget:
			s.budget /= 2
			if s.budget < time.Microsecond {
				s.budget = 0
			}
			return false
		}
		last = now
	}
}

// paid is a wait that watching has ended after took.
func (s *spinner) paid(took time.Duration) {
	s.budget = min((3*s.budget+4*took)/4+time.Microsecond, spinMost)
}
