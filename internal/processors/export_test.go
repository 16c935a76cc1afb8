package processors

import "time"

// Kernel replaces what the kernel says of this process: how long its threads have waited, how often they have run, and
// whether it starts programs.
func (p *Place) Kernel(says func() (waited time.Duration, times uint64, programs bool)) {
	p.count = func() runs {
		waited, times, _ := says()
		return runs{waited: waited, times: times}
	}
	p.programs = func() bool {
		_, _, programs := says()
		return programs
	}
}
