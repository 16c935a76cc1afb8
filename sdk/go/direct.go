package weft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// mesh handles the events of a mesh that this process holds: one after the other, in the order in which they
// came.
type mesh struct {
	*direct.Turns
	begin Begin
	stage Stage

	handler Handler
	chain   *chain // the handler, if it is one of fused stages
	ctx     *eventContext
	event   Event

	enc     *encoder
	headers []byte // of one output
	failed  error  // first failure of emit in this turn
}

// meshOver holds the mesh that the proxy at the socket describes, until the proxy ends it, or has gone.
func meshOver(path string, begin Begin) error {
	t, err := direct.Take(path, false)
	if err != nil {
		return err
	}
	defer t.Close()
	m := &mesh{Turns: t, begin: begin, enc: newEncoder()}
	if err := json.Unmarshal(t.Begin.Stage, &m.stage); err != nil {
		return fmt.Errorf("decode the stage: %w", err)
	}
	for {
		turn, err := m.Next()
		if err == nil {
			var failed []byte
			if failed, err = m.take(turn); err != nil {
				return err
			}
			err = m.Done(failed, m.chain.counts())
		}
		if err != nil {
			m.Stop(err)
			return nil
		}
	}
}

// take is one turn. Its error is of the function's start or end, and ends the process.
func (m *mesh) take(turn direct.Turn) (failed []byte, err error) {
	m.failed = nil
	switch turn {
	case direct.TurnBegin:
		return nil, m.start()
	case direct.TurnEvent:
		m.event.f = m.Turns.Event()
		m.event.Payload = m.event.f.Payload
		err := handle(m.handler, m.ctx, &m.event)
		if err == nil {
			err = m.failed
		}
		if err != nil {
			return failure(err), nil
		}
	case direct.TurnEnd:
		m.event = Event{}
		err := end(m.handler, m.ctx)
		if err == nil {
			err = m.failed
		}
		if err != nil {
			return nil, fmt.Errorf("end function: %w", err)
		}
	}
	return nil, nil
}

// start begins an attempt: what the earlier one gathered is dropped with its handler.
func (m *mesh) start() error {
	m.handler, m.chain = nil, nil
	stage := m.stage
	m.ctx = &eventContext{Context: context.Background(), stage: &stage, alloc: func(n int) []byte { return m.Alloc(n).Bytes() }, put: m.Put}
	h, err := start(m.begin, m.ctx, func(out Output) { m.emit(&out) })
	if err == nil {
		err = m.failed
	}
	if err != nil {
		return err
	}
	m.handler = h
	if m.chain, _ = h.(*chain); m.chain != nil {
		m.chain.enter = m.enter
	}
	return nil
}

// enter notes that a fused stage gets an event, or says why it doesn't.
func (m *mesh) enter(_ int, f *frame.Frame) error {
	if why := m.Enter(f); why != "" {
		return errors.New(why)
	}
	return nil
}

func (m *mesh) emit(out *Output) {
	if m.handler == nil {
		m.failed = errors.New("emit: only Event and End can emit")
	}
	if m.failed != nil {
		return
	}
	var f frame.Frame
	if raw := rawOf(out.Value); out.Payload == nil && m.IsInput(raw) {
		f.Payload = raw // JSON already, and there until the event is done
	} else if f.Payload, m.failed = m.enc.payload(out); m.failed != nil || f.Payload == nil {
		return
	}
	if f.Edge, m.failed = m.ctx.stage.edge(out.To); m.failed != nil {
		return
	}
	if m.headers, m.failed = out.describe(&f, m.headers[:0]); m.failed != nil {
		return
	}
	m.Put(&f)
}
