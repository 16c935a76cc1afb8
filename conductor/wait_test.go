package conductor_test

import (
	"slices"
	"testing"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// TestWait: a brain that is given a Tick only when its wait is over draws barriers and asks for renewals when
// they are due, seldom draws barriers while nothing flows, and is waited for no longer than a moment while
// something is under way.
func TestWait(t *testing.T) {
	b, began := running(t)
	holder := func(stage string) conductor.Holder {
		return conductor.Holder{Slot: pipeline.Slot{Stage: stage}, Incarnation: 1}
	}
	var barriers []time.Duration
	now, ticks, position := began, 0, int64(0)
	released := time.Duration(0)
	for released == 0 && now.Sub(began) < 3*time.Minute {
		now = now.Add(b.Wait(now))
		ticks++
		did := b.Step(now, conductor.Tick{})
		if slices.Contains(did, conductor.Command(conductor.Ask{})) {
			did = b.Step(now, conductor.Platform{}) // it answers at once
		}
		for _, c := range did {
			m, _ := c.(conductor.ToWorker)
			if m.Type == control.TypeRelease {
				released = now.Sub(began)
			}
			if m.Type != control.TypeBarrier {
				continue
			}
			barriers = append(barriers, now.Sub(began))
			if now.Sub(began) > time.Minute {
				position++
			}
			n := m.Body.(control.Barrier).Barrier
			b.Step(now, conductor.BarrierAt{Slot: holder("in"), Attempt: b.Status().Attempt, Barrier: n, Position: position})
			b.Step(now, conductor.BarrierPassed{Slot: holder("out"), Attempt: b.Status().Attempt, Barrier: n})
		}
	}
	idle := 0
	for _, at := range barriers {
		if at <= time.Minute {
			idle++
		}
	}
	if busy := len(barriers) - idle; idle < 10 || idle > 20 || busy < 50 || ticks > 300 {
		t.Errorf("%d barriers in an idle minute, %d in a busy one, %d ticks", idle, busy, ticks)
	}
	if w := b.Wait(now); released < 2*time.Minute || released > 2*time.Minute+2*time.Second || w > 100*time.Millisecond {
		t.Errorf("released after %v; then the wait is %v", released, w)
	}
}
