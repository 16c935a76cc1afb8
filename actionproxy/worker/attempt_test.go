package worker_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// A barrier is passed by the sink only when everything before it is confirmed.
func TestBarrier(t *testing.T) {
	eachABI(t, upper, func(t *testing.T, code string) {
		h := newTestHook(t, chain(nil))
		h.open = true
		r := start(t, h, code)
		h.heard(control.TypeReady, slotOf("in"))
		lines := 0
		for n := uint64(1); n <= 5; n++ {
			h.feed(lines, 300)
			lines += 300
			h.send(control.TypeBarrier, control.Barrier{Term: 1, Attempt: h.attempt, Barrier: n}, slotOf("in"))
			at := h.mark(control.TypeBarrierAt, n)
			h.mark(control.TypeBarrierPassed, n)
			h.mu.Lock()
			before := bytes.Count(h.input[:at.Position], []byte("\n"))
			have := bytes.Count(h.passed[n], []byte("\n"))
			h.mu.Unlock()
			if have < before {
				t.Errorf("barrier %d is at line %d and was passed with %d lines confirmed", n, before, have)
			}
		}
		h.finish()
		h.heard(control.TypeEnded, slotOf("out"))
		r.wantTexts(uppers(lines))
	})
}

// mark waits for the word on a barrier.
func (h *testHook) mark(typ string, n uint64) (found control.BarrierMark) {
	h.t.Helper()
	h.until(typ, func() bool {
		i := slices.IndexFunc(h.said, func(s saying) bool { return s.typ == typ && s.state.Barrier == n })
		if i < 0 {
			return false
		}
		found = h.said[i].state
		return true
	})
	return found
}

// After a rollback the source begins again where it is told, nothing of the old attempt is counted as
// the new one's, and the end is said anew.
func TestRollback(t *testing.T) {
	eachABI(t, upper, func(t *testing.T, code string) {
		h := newTestHook(t, chain(nil))
		h.input = []byte(numbered(3000))
		r := start(t, h, code)
		h.until("some output", func() bool { return len(h.output) > 0 })
		// Twice: once in the middle, once perhaps after the end.
		for n := uint32(1); n <= 2; n++ {
			position := int64(bytes.Index(h.input, []byte("line 1000\n")))
			next := frame.MakeAttempt(1, n)
			h.send(control.TypeRollback, control.Rollback{Term: 1, Attempt: next, Position: position})
			h.until("the end of the attempt", func() bool {
				return slices.ContainsFunc(h.said, func(s saying) bool {
					return s.typ == control.TypeEnded && s.slot == slotOf("out") && s.state.Attempt == next
				})
			})
		}
		r.mu.Lock()
		got := slices.Compact(r.texts())
		r.mu.Unlock()
		// What the first attempt had before line 1000 may be missing: its barrier was never passed.
		missing := 0
		for _, want := range uppers(3000) {
			if _, ok := slices.BinarySearch(got, want); !ok {
				missing++
			}
		}
		if missing > 1000 {
			t.Errorf("%d of 3000 lines are missing", missing)
		}
		for i := 1000; i < 3000; i++ {
			if _, ok := slices.BinarySearch(got, fmt.Sprint("LINE ", i)); !ok {
				t.Fatalf("line %d is missing", i)
			}
		}
		r.terminate()
	})
}

// A stage with state counts from nothing after a rollback: its total is of the new attempt alone.
func TestRollbackForgetsState(t *testing.T) {
	needPython(t)
	h := newTestHook(t, chain(func(p *pipeline.Pipeline) { p.Stages[1].Stateful = true }))
	h.input = []byte(numbered(1000))
	r := start(t, h, `
class main:
    def __init__(self):
        self.n = 0
    def event(self, e):
        self.n += 1
    def end(self):
        return {"line": str(self.n)}
`)
	h.heard(control.TypeEnded, slotOf("out"))
	h.mu.Lock()
	h.output = nil
	h.mu.Unlock()
	next := frame.MakeAttempt(1, 1)
	h.send(control.TypeRollback, control.Rollback{Term: 1, Attempt: next, Position: 0})
	h.until("the second end", func() bool {
		return slices.ContainsFunc(h.said, func(s saying) bool {
			return s.typ == control.TypeEnded && s.slot == slotOf("out") && s.state.Attempt == next
		})
	})
	r.wantTexts([]string{"1000"})
}
