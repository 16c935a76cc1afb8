package weft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/weft-stream/weft/internal/processors"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// mesh handles the events of a mesh that this process holds: one after the other, in the order in which they
// came. The outputs of an event leave together, when it is done.
type mesh struct {
	*direct.Function
	begin Begin
	stage Stage

	handler Handler
	chain   *chain // the handler, if it is one of fused stages
	ctx     *eventContext
	event   Event
	cause   quicmesh.Event // what is handled

	enc     *encoder
	outputs []outlet.Output
	places  []place         // where in buf the outputs' slices are
	buf     []byte          // ids, keys, headers and payloads
	headers []byte          // of one output
	regions []*arena.Region // of the event's large outputs, and Alloc's
	failed  error           // first failure of emit in this event
}

// place is an output's in buf: its id, key, headers and payload end there.
type place struct {
	begin, id, key, headers, payload int
	apart                            bool // the payload lies elsewhere
	failed                           bool // fused stages: the key is why
}

// meshOver holds the mesh that the proxy at the socket describes, until the proxy ends it.
func meshOver(path string, begin Begin) error {
	scale := processors.New(processors.Set(), runtime.GOMAXPROCS(0))
	look := func() {}
	if scale != nil {
		defer scale.Default()
		look = func() { scale.Look(processors.Used(), time.Now()) }
	}
	f, err := direct.Open(path, look)
	if err != nil {
		return err
	}
	defer f.Close()
	m := &mesh{Function: f, begin: begin, enc: newEncoder()}
	if err := json.Unmarshal(f.Begin.Stage, &m.stage); err != nil {
		return fmt.Errorf("decode the stage: %w", err)
	}
	return m.run()
}

// run ends with nil when the proxy has ended the mesh, or has gone.
func (m *mesh) run() error {
	if err := m.start(); err != nil {
		return err
	}
	m.Ready()
	for {
		items, err := m.Receive()
		if err != nil {
			return nil
		}
		for i := range items {
			if err == nil {
				err = m.item(&items[i])
			}
			items[i].Release()
		}
		var own *ownError
		switch {
		case err == nil:
		case errors.As(err, &own):
			return own.error
		case errors.Is(err, quicmesh.ErrClosed) || m.Context().Err() != nil:
			return nil
		default:
			m.Failed(err)
			return nil
		}
	}
}

// ownError is of the function's start or end, and ends the process.
type ownError struct{ error }

func (m *mesh) item(it *quicmesh.Item) (err error) {
	defer m.clear()
	switch it.Kind {
	case quicmesh.KindEvent:
		err = m.handle(it)
	case quicmesh.KindBarrier:
		err = m.Switch(it)
	case quicmesh.KindEnd:
		err = m.end(it)
	case quicmesh.KindRollback:
		err = m.start()
	}
	if errors.Is(err, quicmesh.ErrStale) {
		return nil // the rollback itself comes next
	}
	return err
}

// start begins an attempt: what the earlier one gathered is dropped with its handler.
func (m *mesh) start() error {
	m.handler, m.failed = nil, nil
	stage := m.stage
	m.ctx = &eventContext{Context: context.Background(), stage: &stage, alloc: m.alloc, put: m.put}
	h, err := start(m.begin, m.ctx, m.emit)
	if err == nil {
		err = m.failed
	}
	if err != nil {
		return &ownError{err}
	}
	m.handler = h
	if m.chain, _ = h.(*chain); m.chain != nil {
		m.chain.enter = m.enter
	}
	return nil
}

func (m *mesh) handle(it *quicmesh.Item) error {
	f := &it.Frame
	m.cause = outlet.Input(f)
	if f.Flags&frame.Bypass != 0 {
		m.Page.Counts(0).In.Add(1)
		return m.Outlet.Bypass(m.Context(), &m.cause, f.Payload)
	}
	if history := m.Work(f); len(history) > m.Function.Begin.Retries {
		cause := outlet.Deadly(history)
		return m.Outlet.Fail(m.Context(), &m.cause, outlet.ErrorText(cause), history)
	}
	m.event.Payload, m.event.f = f.Payload, *f
	err := handle(m.handler, m.ctx, &m.event)
	if err == nil {
		err = m.failed
	}
	m.Worked()
	m.Outlet.CountFused(m.chain.counts())
	if err != nil {
		return m.Outlet.Fail(m.Context(), &m.cause, outlet.CauseOf(failure(err)), nil)
	}
	return m.send()
}

// enter notes that a fused stage gets an event, or says why it doesn't.
func (m *mesh) enter(_ int, f *frame.Frame) error {
	if history := m.Within(f); len(history) > m.Function.Begin.Retries {
		return errors.New(outlet.Deadly(history))
	}
	return nil
}

// end runs the function's end, whose outputs are of no event.
func (m *mesh) end(it *quicmesh.Item) error {
	m.event = Event{}
	err := end(m.handler, m.ctx)
	if err == nil {
		err = m.failed
	}
	if err != nil {
		return &ownError{fmt.Errorf("end function: %w", err)}
	}
	m.Outlet.CountFused(m.chain.counts())
	m.cause = quicmesh.Event{ID: fmt.Appendf(nil, "%s[%d]:end", m.stage.Name, m.stage.Slot), Attempt: it.Attempt}
	if len(m.outputs) > 0 {
		if err := m.send(); err != nil {
			return err
		}
	}
	return m.End(it.Attempt)
}

// clear forgets what was made of an event that is done with.
func (m *mesh) clear() {
	for _, r := range m.regions {
		r.Release()
	}
	clear(m.regions)
	clear(m.outputs)
	m.regions = m.regions[:0]
	m.places, m.outputs, m.buf, m.failed = m.places[:0], m.outputs[:0], m.buf[:0], nil
	if cap(m.buf) > 1<<20 {
		m.buf = nil
	}
}

// send sends what was made of cause.
func (m *mesh) send() error {
	for i := range m.outputs { // buf stays where it is now
		o, at := &m.outputs[i], &m.places[i]
		o.ID, o.Key, o.Headers = m.buf[at.begin:at.id], m.buf[at.id:at.key], m.buf[at.key:at.headers]
		if !at.apart {
			o.Payload = m.buf[at.headers:at.payload]
		}
		if at.failed {
			o.Failure, o.Key, o.History = o.Key, nil, m.Deaths(o.ID)
		}
	}
	return m.Outlet.Outputs(m.Context(), &m.cause, m.outputs)
}

func (m *mesh) emit(out Output) {
	if m.handler == nil {
		m.failed = errors.New("emit: only Event and End can emit")
	}
	if m.failed != nil {
		return
	}
	var f frame.Frame
	if raw := rawOf(out.Value); out.Payload == nil && m.isInput(raw) {
		f.Payload = raw
	} else if f.Payload, m.failed = m.enc.payload(&out); m.failed != nil || f.Payload == nil {
		return
	}
	if f.Edge, m.failed = m.ctx.stage.edge(out.To); m.failed != nil {
		return
	}
	if m.headers, m.failed = out.describe(&f, m.headers[:0]); m.failed != nil {
		return
	}
	m.put(&f)
}

// isInput tells whether a payload is the input's, where it lies: it is JSON already, and stays there until the event
// is done.
func (m *mesh) isInput(payload []byte) bool {
	in := m.event.Payload
	return len(payload) > 0 && len(payload) == len(in) && &payload[0] == &in[0]
}

// put keeps an output.
func (m *mesh) put(f *frame.Frame) {
	at := place{begin: len(m.buf), failed: f.Type == frame.Failed}
	m.buf = append(m.buf, f.ID...)
	at.id = len(m.buf)
	m.buf = append(m.buf, f.Key...)
	at.key = len(m.buf)
	m.buf = append(m.buf, f.Headers...)
	at.headers = len(m.buf)
	o := outlet.Output{Edge: f.Edge, EventTime: f.EventTime}
	switch {
	case m.isInput(f.Payload) || m.owns(f.Payload):
		o.Payload, at.apart = f.Payload, true
	case len(f.Payload) >= quicmesh.ReferFrom:
		o.Payload, at.apart = m.alloc(len(f.Payload)), true
		copy(o.Payload, f.Payload)
	default:
		m.buf = append(m.buf, f.Payload...)
	}
	at.payload = len(m.buf)
	m.places = append(m.places, at)
	m.outputs = append(m.outputs, o)
}

// alloc gives memory until the event is done.
func (m *mesh) alloc(n int) []byte {
	r := m.Alloc(n)
	m.regions = append(m.regions, r)
	return r.Bytes()
}

// owns tells whether a payload is in memory of alloc's.
func (m *mesh) owns(payload []byte) bool {
	return slices.ContainsFunc(m.regions, func(r *arena.Region) bool { return len(payload) > 0 && r.Holds(payload) })
}
