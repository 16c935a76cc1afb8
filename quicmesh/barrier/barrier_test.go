package barrier_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/weft-stream/weft/quicmesh/barrier"
	"pgregory.net/rapid"
)

func mark(n uint64) barrier.Mark { return barrier.Mark{Number: n} }

func numbers(marks []barrier.Mark) []uint64 {
	var out []uint64
	for _, m := range marks {
		out = append(out, m.Number)
	}
	return out
}

// The model: every input brings barriers 1, 2, 3… and then ends. Barrier n completes with the call by
// which the last input has brought it or ended, and each of them once, in order.
func TestAlignmentAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "inputs")
		a := barrier.New(n)
		brought := make([]uint64, n)
		ended := make([]bool, n)
		passed := uint64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			in := rapid.IntRange(0, n-1).Draw(t, "input")
			if ended[in] || brought[in] > passed+30 {
				continue
			}
			var marks []barrier.Mark
			var err error
			all := false
			if rapid.IntRange(0, 30).Draw(t, "end") == 0 {
				ended[in] = true
				marks, all = a.End(in, nil)
			} else {
				brought[in]++
				marks, err = a.Barrier(in, mark(brought[in]), nil)
			}
			live, most := ^uint64(0), slices.Max(brought)
			for i := range n {
				if !ended[i] {
					live = min(live, brought[i])
				}
			}
			var want []uint64
			for passed < min(live, most) {
				passed++
				want = append(want, passed)
			}
			if got := numbers(marks); !slices.Equal(got, want) || err != nil || all != !slices.Contains(ended, false) {
				t.Fatalf("got %v, all %v, %v; want %v (brought %v, ended %v)", got, all, err, want, brought, ended)
			}
		}
	})
}

func TestAbortedBarrierIsOvertaken(t *testing.T) {
	a := barrier.New(2)
	for _, step := range []struct {
		in   int
		n    uint64
		want []uint64
	}{{0, 1, nil}, {0, 2, nil}, {1, 2, []uint64{2}}, {1, 1, nil}, {0, 2, nil}, {1, 3, nil}, {0, 3, []uint64{3}}} {
		got, err := a.Barrier(step.in, mark(step.n), nil)
		if err != nil || !slices.Equal(numbers(got), step.want) {
			t.Errorf("input %d brings %d: %v, %v; want %v", step.in, step.n, got, err, step.want)
		}
	}
}

func TestResetForgets(t *testing.T) {
	a := barrier.New(2)
	a.Barrier(0, mark(5), nil)
	a.End(1, nil)
	a.Reset()
	if got, _ := a.Barrier(0, mark(1), nil); len(got) > 0 || a.Ended(1) {
		t.Errorf("after Reset: %v complete, ended %v", got, a.Ended(1))
	}
	if got, _ := a.Barrier(1, mark(1), nil); !slices.Equal(numbers(got), []uint64{1}) {
		t.Errorf("after Reset: %v", got)
	}
}

func TestBarriersWithoutEndAreRefused(t *testing.T) {
	a := barrier.New(2)
	var err error
	for n := uint64(1); n < 1000 && err == nil; n++ {
		_, err = a.Barrier(0, mark(n), nil)
	}
	if !errors.Is(err, barrier.ErrTooMany) {
		t.Error("a thousand barriers of one input were taken")
	}
}

// An input that joins: other barriers don't wait for it before it has brought the one that makes its
// version valid; that one, all later ones and the end do.
func TestJoinAndLeave(t *testing.T) {
	a := barrier.New(1)
	in := a.Join()
	expect := func(in int, m barrier.Mark, want ...uint64) {
		t.Helper()
		if got, err := a.Barrier(in, m, nil); err != nil || !slices.Equal(numbers(got), want) {
			t.Errorf("input %d brings %v: %v, %v; want %v", in, m, got, err, want)
		}
	}
	expect(0, mark(1), 1)
	expect(0, barrier.Mark{Number: 2, Version: 7})
	expect(in, barrier.Mark{Number: 2, Version: 7}, 2)
	expect(0, mark(3))
	if got, all := a.Leave(0, nil); len(got) != 0 || all {
		t.Errorf("the old input leaves: %v, all ended %v", got, all)
	}
	expect(in, mark(3), 3)
	if again := a.Join(); again != 0 {
		t.Errorf("the next input has number %d", again)
	}
	if _, all := a.End(in, nil); all {
		t.Error("all have ended, but for one that joins")
	}
	if _, all := a.Leave(0, nil); !all {
		t.Error("all that are left have ended")
	}
}
