package tests

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// single has one worker through which all goes, and so many that stand by for it.
const single = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: single}
spec:
  vertices:
    - {name: in, source: {stdin: {}, format: ndjson}}
    - {name: py, function: {source: pass.py}, standby: %d}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: py}
    - {from: py, to: out}
`

// standing waits for a container that stands by.
func (f *fed) standing() control.StandByStatus {
	f.t.Helper()
	var s control.StandByStatus
	f.eventually("a stand-by", func() bool {
		st, ok := f.status()
		if ok && len(st.StandBys) == 1 {
			s = st.StandBys[0]
		}
		return s.State == "ready"
	})
	return s
}

// TestKillWithStandBy kills the worker of a stage: who stands by has the slot with the lease it has had, and
// another stands by. It outlives the hook, and nothing is lost.
func TestKillWithStandBy(t *testing.T) {
	f := feed(t, fmt.Sprintf(single, 1), nil)
	spare := f.standing()
	f.flows()
	kill(t, -slotOf(t, f.running(), "py[0]").PID)
	f.explained("py[0]", "slot taken", "stood by", "incarnation 2")
	f.eventually("it", func() bool { return slotOf(t, f.running(), "py[0]").ActivationID == spare.ActivationID })
	f.flows()

	spare = f.standing()
	kill(t, f.hookPID())
	f.explained("hook took over", "term 2")
	if again := f.standing(); again.ActivationID != spare.ActivationID {
		t.Errorf("with the next hook %+v stands by, with the last %+v", again, spare)
	}
	kill(t, -slotOf(t, f.running(), "py[0]").PID)
	f.explained("py[0]", "slot taken", "stood by", "incarnation 3")
	f.flows()
	f.complete()
	f.leavesNoFiles()
}

// BenchmarkKill measures how long no output comes when the one worker of a stage is killed, with somebody
// who stands by and without.
func BenchmarkKill(b *testing.B) {
	for standby, name := range []string{"without", "with-stand-by"} {
		b.Run(name, func(b *testing.B) {
			var sum, most time.Duration
			for range b.N { // each a pipeline: a slot lost again within a minute waits
				f := feed(b, fmt.Sprintf(single, standby), nil)
				st := f.running()
				if standby > 0 {
					f.standing()
				}
				f.flows()
				gap := f.gap(-slotOf(b, st, "py[0]").PID)
				sum, most = sum+gap, max(most, gap)
				f.complete()
			}
			b.ReportMetric(float64(sum.Milliseconds())/float64(b.N), "ms/gap")
			b.ReportMetric(float64(most.Milliseconds()), "ms/largest-gap")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// gap kills a worker and gives the longest time without output around that.
func (f *fed) gap(pid int) time.Duration {
	f.t.Helper()
	size := func() int {
		f.stdout.mu.Lock()
		defer f.stdout.mu.Unlock()
		return f.stdout.b.Len()
	}
	kill(f.t, pid)
	killed := time.Now()
	last, at, longest := size(), killed, time.Duration(0)
	for time.Since(killed) < 20*time.Second {
		time.Sleep(time.Millisecond)
		n, now := size(), time.Now()
		if n == last {
			continue
		}
		longest = max(longest, now.Sub(at))
		if last, at = n, now; longest > 50*time.Millisecond && now.Sub(killed) > longest+time.Second {
			break
		}
	}
	return longest
}
