package direct

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/weft-stream/weft/internal/processors"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// Turn is what a stage's function is to do.
type Turn int

// The turns of a function.
const (
	TurnBegin Turn = iota + 1 // an attempt: what the function gathered in an earlier one is void
	TurnEvent                 // Event
	TurnEnd                   // of the input
)

// ErrWoken says that Next was woken before there was a turn.
var ErrWoken = errors.New("direct: woken")

// Turns gives a stage's function one turn after the other, in the order in which things came, and sends what it
// puts in each. The outputs of an event leave together, when it is done. All belongs to one goroutine, but Wake.
type Turns struct {
	*Function
	turn    Turn // 0: none
	item    *quicmesh.Item
	at      int // of item in the Function's
	ready   bool
	cause   quicmesh.Event // what the outputs come of
	place   *processors.Place
	restore func() // gives the process all its processors again

	mu    sync.Mutex
	waits context.Context // of what waits for items, ended by wake; nil: there is to be a new one
	wake  context.CancelFunc

	outputs []outlet.Output
	buf     []byte          // ids, keys, headers and payloads of the last outputs; those of earlier ones may be in others
	regions []*arena.Region // of the turn's large outputs, and Alloc's
}

// Take takes the mesh that the proxy at the socket describes, and as many processors as its events need. thread: the
// caller is a thread of its own that takes all turns, and waits for them itself.
func Take(path string, thread bool) (*Turns, error) {
	set := processors.Set()
	scale := processors.New(set, runtime.GOMAXPROCS(0))
	t := &Turns{restore: func() {}}
	if scale != nil && !thread { // other languages start programs of their own: they would stay where this process is
		t.place = processors.NewPlace(set)
	}
	look := func() {}
	if scale != nil {
		t.restore = func() {
			t.place.Default()
			scale.Default()
		}
		look = func() {
			used, now := processors.Used(), time.Now()
			scale.Look(used, now)
			t.lookAtPlace(used, now)
		}
	}
	var err error
	if t.Function, err = Open(path, look, thread); err != nil {
		t.restore()
		return nil, err
	}
	return t, nil
}

// Close ends the mesh, if the proxy has not, and the connection.
func (t *Turns) Close() {
	t.Function.Close()
	t.restore()
}

// Next waits for the function's next turn; Done ends it. After an error, Stop is all that is left to do.
func (t *Turns) Next() (Turn, error) {
	if !t.ready {
		t.turn = TurnBegin
		return t.turn, nil
	}
	for {
		for ; t.at < len(t.items); t.at++ {
			t.item = &t.items[t.at]
			var err error
			if t.turn, err = t.look(t.item); t.turn != 0 {
				return t.turn, nil
			}
			t.item.Release()
			if err != nil && !errors.Is(err, quicmesh.ErrStale) { // then the rollback itself comes next
				return 0, err
			}
		}
		t.at = 0
		if err := t.receive(); err != nil {
			return 0, err
		}
	}
}

// manyItems are as many at once as don't come to who keeps up.
const manyItems = 16

// lookAtPlace has the functions of a pipeline on one processor while they do little.
func (t *Turns) lookAtPlace(used time.Duration, now time.Time) {
	self := t.Function.Begin.Self
	t.place.Look(self.Namespace+"/"+self.Pipeline, used, now)
}

// receive waits for items, or Wake.
func (t *Turns) receive() error {
	t.mu.Lock()
	if t.waits == nil {
		t.waits, t.wake = context.WithCancel(t.ctx)
	}
	ctx := t.waits
	t.mu.Unlock()
	items, err := t.Receive(ctx)
	if len(items) >= manyItems {
		t.place.Full()
	}
	if err == nil || ctx.Err() == nil || t.ctx.Err() != nil {
		return err
	}
	t.mu.Lock()
	t.waits, t.wake = nil, nil
	t.mu.Unlock()
	return ErrWoken
}

// Wake has Next return ErrWoken, at once or the next time that it would wait. Any goroutine may call it.
func (t *Turns) Wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waits == nil {
		t.waits, t.wake = context.WithCancel(t.ctx)
	}
	t.wake()
}

// look does what is to be done with an item without the function, or says what its turn is.
func (t *Turns) look(it *quicmesh.Item) (Turn, error) {
	switch it.Kind {
	case quicmesh.KindEvent:
		f := &it.Frame
		outlet.Input(&t.cause, f)
		if f.Flags&frame.Bypass != 0 {
			t.Page.Counts(0).In.Add(1)
			return 0, t.Outlet.Bypass(t.ctx, &t.cause, f.Payload)
		}
		if history := t.Work(f); len(history) > t.Begin.Retries {
			return 0, t.Outlet.Fail(t.ctx, &t.cause, outlet.ErrorText(outlet.Deadly(history)), history)
		}
		return TurnEvent, nil
	case quicmesh.KindBarrier:
		return 0, t.Switch(it)
	case quicmesh.KindEnd:
		t.cause = quicmesh.Event{ID: fmt.Appendf(nil, "%s[%d]:end", t.Begin.Self.Stage, t.Begin.Self.Index), Attempt: it.Attempt}
		return TurnEnd, nil
	case quicmesh.KindRollback:
		return TurnBegin, nil
	}
	return 0, nil
}

// Event is the turn's, valid until Done.
func (t *Turns) Event() *frame.Frame { return &t.item.Frame }

// Keep keeps the event's payload, or memory of Alloc's, that begins at an address, as it is beyond Done, until free is
// called. nil: neither begins there. Once for each.
func (t *Turns) Keep(at unsafe.Pointer) (free func()) {
	if t.turn == TurnEvent && at == unsafe.Pointer(unsafe.SliceData(t.item.Frame.Payload)) {
		return t.item.Hold()
	}
	for _, r := range t.regions {
		if at == unsafe.Pointer(unsafe.SliceData(r.Bytes())) {
			r.Retain()
			return r.Release
		}
	}
	return nil
}

// Lies gives the n bytes at an address, if they lie in the event's payload or in memory of Alloc's.
func (t *Turns) Lies(at uintptr, n uint64) (p []byte, ok bool) {
	if t.turn == TurnEvent {
		p, ok = part(t.item.Frame.Payload, at, n)
	}
	for i := 0; i < len(t.regions) && !ok; i++ {
		p, ok = part(t.regions[i].Bytes(), at, n)
	}
	return p, ok
}

// part is the part of b at an address.
func part(b []byte, at uintptr, n uint64) ([]byte, bool) {
	from := uint64(at - uintptr(unsafe.Pointer(unsafe.SliceData(b)))) // before b: beyond its end
	if size := uint64(len(b)); from > size || n > size-from {
		return nil, false
	}
	return b[from : from+n], true
}

// Enter notes that a stage behind the first gets an event of its own, or says why it doesn't: "" when it does.
func (t *Turns) Enter(f *frame.Frame) (why string) {
	if history := t.Within(f); len(history) > t.Begin.Retries {
		return outlet.Deadly(history)
	}
	return ""
}

// Done ends the turn: what was put is sent. failure is why the event has failed, {"error": …}, and nil when it hasn't;
// counts are those of fused stages. A begin or an end that fails is the process's end, and has no Done.
func (t *Turns) Done(failure, counts []byte) error {
	err := t.finish(failure, counts)
	t.clear()
	if t.item != nil {
		t.item.Release()
		t.item = nil
		t.at++
	}
	t.turn = 0
	if errors.Is(err, quicmesh.ErrStale) {
		return nil // the rollback itself comes next
	}
	return err
}

func (t *Turns) finish(failure, counts []byte) error {
	switch t.turn {
	case TurnBegin:
		if !t.ready {
			t.ready = true
			t.lookAtPlace(processors.Used(), time.Now())
			t.touch() // what its start has left running may need more
			t.Ready()
		}
	case TurnEvent:
		t.Worked()
		t.Outlet.CountFused(counts)
		if failure != nil {
			return t.Outlet.Fail(t.ctx, &t.cause, outlet.CauseOf(failure), nil)
		}
		return t.send()
	case TurnEnd:
		t.Outlet.CountFused(counts)
		if len(t.outputs) > 0 {
			if err := t.send(); err != nil {
				return err
			}
		}
		return t.End(t.item.Attempt)
	}
	return nil
}

// Stop gives up what has not had its turn, after an error of Next or Done: one that isn't the mesh's end is told.
func (t *Turns) Stop(err error) {
	for ; t.at < len(t.items); t.at++ {
		t.items[t.at].Release()
	}
	if !errors.Is(err, quicmesh.ErrClosed) {
		t.Failed(err)
	}
}

// clear forgets what was put.
func (t *Turns) clear() {
	for _, r := range t.regions {
		r.Release()
	}
	clear(t.regions)
	if cap(t.buf) > 1<<20 {
		t.buf = nil
		clear(t.outputs)
	}
	t.regions, t.outputs, t.buf = t.regions[:0], t.outputs[:0], t.buf[:0]
}

// send sends what was put.
func (t *Turns) send() error { return t.Outlet.Outputs(t.ctx, &t.cause, t.outputs) }

// Put keeps an output, or what a fused stage has failed on, until the turn is done. A payload in the event's or
// in memory of Alloc's stays where it is, all else is copied.
func (t *Turns) Put(f *frame.Frame) {
	if n := len(t.outputs); n < cap(t.outputs) {
		t.outputs = t.outputs[:n+1]
	} else {
		t.outputs = append(t.outputs, outlet.Output{})
	}
	o := &t.outputs[len(t.outputs)-1] // it has been another one: all fields but those that Outputs sets are set
	o.Edge, o.EventTime = f.Edge, f.EventTime
	o.ID, o.Key, o.Headers = t.keep(f.ID), t.keep(f.Key), t.keep(f.Headers)
	o.Failure, o.History = nil, nil
	switch {
	case t.IsInput(f.Payload) || t.owns(f.Payload):
		o.Payload = f.Payload
	case len(f.Payload) >= quicmesh.ReferFrom:
		o.Payload = t.Alloc(len(f.Payload)).Bytes()
		copy(o.Payload, f.Payload)
	default:
		o.Payload = t.keep(f.Payload)
	}
	if f.Type == frame.Failed {
		o.Failure, o.Key, o.History = o.Key, nil, t.Deaths(o.ID)
	}
}

// keep copies b to where it stays until the turn is done.
func (t *Turns) keep(b []byte) []byte {
	at := len(t.buf)
	if cap(t.buf)-at < len(b) {
		t.buf, at = make([]byte, 0, max(2*cap(t.buf), len(b), 4<<10)), 0 // the one before stays where it is
	}
	t.buf = append(t.buf, b...)
	return t.buf[at:len(t.buf):len(t.buf)]
}

// Alloc gives memory for a payload until the turn is done.
func (t *Turns) Alloc(n int) *arena.Region {
	r := t.Function.Alloc(n)
	t.regions = append(t.regions, r)
	return r
}

// owns tells whether a payload is in memory of Alloc's.
func (t *Turns) owns(payload []byte) bool {
	return slices.ContainsFunc(t.regions, func(r *arena.Region) bool { return len(payload) > 0 && r.Holds(payload) })
}

// IsInput tells whether a payload is the event's, where it lies.
func (t *Turns) IsInput(payload []byte) bool {
	if t.turn != TurnEvent {
		return false
	}
	in := t.item.Frame.Payload
	return len(payload) > 0 && len(payload) == len(in) && &payload[0] == &in[0]
}
