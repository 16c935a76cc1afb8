package processors_test

import (
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/processors"
)

// A process takes processors one by one while those it has are busy, never more than there are, and gives them
// back when less would do.
func TestProcessors(t *testing.T) {
	now, used := time.Unix(1, 0), time.Duration(0)
	got := 0
	p := processors.New(func(n int) { got = n }, 3)
	if got != 1 {
		t.Fatalf("it begins with %d", got)
	}
	for i, step := range []struct {
		cores float64 // in use for the second before
		want  int
	}{{0.1, 1}, {0.5, 1}, {0.9, 2}, {0.9, 2}, {1.2, 2}, {1.9, 3}, {3, 3}, {1.2, 3}, {0.9, 2}, {0.6, 2}, {0.3, 1}, {0, 1}} {
		now = now.Add(time.Second)
		used += time.Duration(step.cores * float64(time.Second))
		if p.Look(used, now); got != step.want {
			t.Errorf("step %d: %d processors at %v cores of work, want %d", i, got, step.cores, step.want)
		}
	}
	if processors.New(nil, 8) != nil || processors.New(func(int) { t.Error("set") }, 1) != nil {
		t.Error("one that has nothing to decide")
	}
}
