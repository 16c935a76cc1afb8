package worker

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

func generatorOf(count int64, size int) *pipeline.Generator {
	return &pipeline.Generator{Count: count, Size: size, Seed: 3}
}

// The entries of work leave in the order they came, each once, whatever the function does: finish in any
// order, die, or be rolled back. An event that leaves failed has killed the function often enough.
func TestWorkKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWork(1, []byte(`{}`), 1)
		life := w.born()
		model := &workModel{w: w, attempt: 1}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) { model.add(t) },
			"feed": func(t *rapid.T) {
				if w.canFeed() {
					b, err := w.feed(life, nil)
					if err != nil {
						t.Fatal(err)
					}
					model.fed(t, b.bytes)
				}
			},
			"done": func(t *rapid.T) {
				if len(model.running) > 0 {
					i := rapid.IntRange(0, len(model.running)-1).Draw(t, "which")
					model.done(t, i, rapid.Bool().Draw(t, "upTo"))
				}
			},
			"die": func(*rapid.T) {
				w.died("died")
				life = w.born()
				model.running = nil
			},
			"rollback": func(*rapid.T) {
				model.attempt++
				w.reset(model.attempt)
				model.want, model.running = nil, nil
			},
			"": func(t *rapid.T) { model.leave(t) },
		})
	})
}

// workModel is what should come out of work.
type workModel struct {
	w       *work
	attempt frame.Attempt
	next    int
	want    []int // what was added and has not left, in order
	running []uint64
}

func (m *workModel) add(t *rapid.T) {
	if len(m.want) > 20 {
		return
	}
	m.next++
	e := &entry{kind: eventEntry, bytes: 10, barrier: uint64(m.next)}
	if rapid.IntRange(0, 5).Draw(t, "kind") == 0 {
		e.kind, e.done = barrierEntry, true
	}
	e.item = quicmesh.Item{Kind: quicmesh.KindEvent, Frame: frame.Frame{Payload: fmt.Appendf(nil, `{"n":%d}`, m.next)}}
	if err := m.w.add(e); err != nil {
		t.Fatal(err)
	}
	m.want = append(m.want, m.next)
}

// fed reads the frames as a function does.
func (m *workModel) fed(t *rapid.T, b []byte) {
	for len(b) > 0 {
		f, n, err := frame.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		b = b[n:]
		if f.Attempt != m.attempt {
			t.Fatalf("a frame of attempt %v in %v", f.Attempt, m.attempt)
		}
		if f.Type == frame.Start {
			m.running = nil
			continue
		}
		if f.Type != frame.Data {
			t.Fatalf("frame of type %d", f.Type)
		}
		m.running = append(m.running, f.Seq)
	}
}

func (m *workModel) done(t *rapid.T, i int, upTo bool) {
	seq := m.running[i]
	if err := m.w.output(m.attempt, seq, outlet.Output{Event: quicmesh.Event{Payload: []byte(`{}`)}}, nil); err != nil {
		t.Fatal(err)
	}
	m.w.done(m.attempt, seq, upTo)
	m.running = append(m.running[:i:i], m.running[i+1:]...)
	if upTo {
		m.running = m.running[i:]
	}
}

// leave takes out what can leave.
func (m *workModel) leave(t *rapid.T) {
	if !m.w.canLeave() {
		return
	}
	batch, err := m.w.leaving(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range batch {
		if len(m.want) == 0 || e.barrier != uint64(m.want[0]) {
			t.Fatalf("entry %d leaves, want %v", e.barrier, m.want)
		}
		if e.failure != nil && len(e.history) != 2 {
			t.Fatalf("an event fails with history %q", e.history)
		}
		m.want = m.want[1:]
		m.w.sent(e)
	}
	if len(m.want) == 0 && (m.w.count != 0 || m.w.bytes != 0 || m.w.held != 0 || m.w.ready != 0) {
		t.Fatalf("empty work counts %d entries of %d bytes, outputs of %d and %d", m.w.count, m.w.bytes, m.w.held, m.w.ready)
	}
}

func (w *work) canFeed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.start {
		return true
	}
	for _, e := range w.entries[w.unfed:] {
		if !e.done {
			return w.careful == 0 || len(w.running) == 0
		}
	}
	return false
}

func (w *work) canLeave() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.entries) > 0 && w.entries[0].done
}

// A function that speaks of events it doesn't have breaks the protocol.
func TestUnknownOrdinals(t *testing.T) {
	w := newWork(0, nil, 1)
	if w.output(1, 5, outlet.Output{}, nil) == nil || w.fail(1, 5, nil) == nil {
		t.Error("an event that isn't in work may have outputs, or fail")
	}
	if err := errors.Join(w.output(0, 5, outlet.Output{}, nil), w.fail(0, 5, nil)); err != nil {
		t.Errorf("words of an old attempt: %v", err)
	}
}

// Outputs that belong to no event have ids of their own, also after the slot has moved.
func TestOwnOutputsHaveDifferentIDs(t *testing.T) {
	seen := map[string]bool{}
	for incarnation := range uint64(2) {
		s := &stream{slot: &slot{assignment: &control.Assignment{Slot: pipeline.Slot{Stage: "f"}, Incarnation: incarnation + 1}}}
		for range 3 {
			id := string(s.cause(&entry{kind: ownEntry}).ID)
			if seen[id] {
				t.Errorf("%s came twice", id)
			}
			seen[id] = true
		}
	}
}
