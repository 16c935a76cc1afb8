package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/weft-stream/weft/actionproxy/process"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// streamABI is what functions say that can stream; see sdk/PROTOCOL.md.
const streamABI = "weft.stream/1"

// stream is the pump of a function that streams. Three loops share its work: receiveLoop fills it from
// the mesh, the session of the present function process takes events from it and brings outputs, and
// sendLoop empties it.
type stream struct {
	slot *slot
	function
	work    *work
	session *session

	progress uint64 // events done until the last death
	owned    uint64 // entries of no event that have left; sendLoop's
}

func newStream(s *slot) *stream {
	w := newWork(s.stage.Retries, startPayload(s), s.assignment.Attempt)
	w.fused = len(s.fused) > 0
	s.logs.traceBy(w.trace)
	return &stream{slot: s, function: function{slot: s}, work: w}
}

// startPayload tells a function what it is part of.
func startPayload(s *slot) []byte {
	params, _ := json.Marshal(s.lease.params) // it was JSON before
	start := startBody{
		Pipeline: s.assignment.Pipeline.Name, Slot: s.assignment.Slot.Index, Replicas: s.stage.Replicas.Min,
		stageBody: stageBody{s.stage.Name, params, s.stage.Stateful, outlet.ByStage(outletEdges(s.assignment, ""))},
		Fused:     fusedBodies(s),
	}
	b, _ := json.Marshal(start) // plain values always encode
	return b
}

// startBody is the payload of Start.
type startBody struct {
	Pipeline string `json:"pipeline"`
	stageBody
	Slot     int         `json:"slot"`
	Replicas int         `json:"replicas"`
	Fused    []stageBody `json:"fused,omitempty"`
}

// stageBody is what each stage has of its own.
type stageBody struct {
	Stage      string            `json:"stage"`
	Parameters json.RawMessage   `json:"parameters"`
	Stateful   bool              `json:"stateful"`
	Edges      map[string]uint16 `json:"edges"`
}

// prepare connects the function and waits until it has initialised.
func (s *stream) prepare(ctx context.Context) error {
	p, err := s.alive(ctx)
	if err != nil {
		return err
	}
	return s.connect(ctx, p)
}

// connect begins a session with a function process.
func (s *stream) connect(ctx context.Context, p *process.Process) (err error) {
	if p.ABI() != streamABI {
		return fmt.Errorf("start the function of stage %s: it does not stream any more", s.slot.stage.Name)
	}
	s.session, err = openSession(ctx, s, p)
	return err
}

func (s *stream) command(*control.Message) error { return nil }

// close ends the streaming; the process goes on as an ordinary action's.
func (s *stream) close() {
	s.work.close()
	if s.session != nil {
		s.session.close()
	}
}

func (s *stream) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var loops sync.WaitGroup
	loops.Go(func() { cancel(s.receiveLoop(ctx)) })
	loops.Go(func() { cancel(s.sendLoop(ctx)) })
	cancel(s.superviseLoop(ctx))
	s.work.close()
	loops.Wait()
	return context.Cause(ctx)
}

// superviseLoop replaces function processes that die.
func (s *stream) superviseLoop(ctx context.Context) error {
	for {
		var reason string
		select {
		case reason = <-s.session.dead:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.session.close()
		blamed := s.work.died(reason)
		if done := s.work.progressed(); done > s.progress {
			s.progress = done
			s.worked()
		}
		if !blamed && s.hopeless() {
			return fmt.Errorf("the function of stage %s dies again and again: %s", s.slot.stage.Name, reason)
		}
		p, err := s.replace(ctx, reason)
		if err == nil {
			err = s.connect(ctx, p)
		}
		if err != nil {
			return err
		}
	}
}

// receiveLoop takes what comes over the mesh into work.
func (s *stream) receiveLoop(ctx context.Context) error {
	var items []quicmesh.Item
	for {
		var err error
		if items, err = s.slot.local.Receive(ctx, items); err != nil {
			return err
		}
		for i := range items {
			if e := s.receive(items[i]); e != nil {
				err = s.work.add(e)
			}
		}
		if err != nil {
			return err
		}
	}
}

// receive makes an item an entry; a rollback is none.
func (s *stream) receive(it quicmesh.Item) *entry {
	switch it.Kind {
	case quicmesh.KindEvent:
		s.slot.counts.In.Add(1)
		if it.Frame.Flags&frame.Bypass != 0 {
			return &entry{kind: bypassEntry, item: it, bytes: it.Frame.Size(), done: true}
		}
		return &entry{kind: eventEntry, item: it, bytes: it.Frame.Size()}
	case quicmesh.KindBarrier:
		return &entry{kind: barrierEntry, barrier: it.Barrier, version: it.Version, done: true}
	case quicmesh.KindEnd:
		return &entry{kind: endEntry}
	}
	s.work.reset(it.Attempt)
	return nil
}

// sendLoop sends what is done, in order.
func (s *stream) sendLoop(ctx context.Context) error {
	var batch []*entry
	for {
		var err error
		if batch, err = s.work.leaving(batch[:0]); err != nil {
			return err
		}
		for _, e := range batch {
			if err == nil {
				err = s.leave(ctx, e)
			}
			s.work.sent(e)
		}
		if err != nil {
			return err
		}
	}
}

// leave sends one entry's outputs. One of an attempt that was rolled back just ends here.
func (s *stream) leave(ctx context.Context, e *entry) (err error) {
	switch e.kind {
	case barrierEntry:
		err = s.slot.local.SwitchOf(ctx, e.attempt, e.barrier, e.version)
	case bypassEntry:
		err = s.slot.outlet.Bypass(ctx, s.cause(e), e.item.Frame.Payload)
	case endEntry:
		if err = s.outputs(ctx, e); err == nil {
			err = s.slot.local.EndOf(ctx, e.attempt)
		}
	default:
		err = s.outputs(ctx, e)
	}
	if errors.Is(err, quicmesh.ErrStale) {
		return nil
	}
	return err
}

func (s *stream) outputs(ctx context.Context, e *entry) error {
	in := s.cause(e)
	if e.failure != nil {
		return s.slot.outlet.Fail(ctx, in, outlet.CauseOf(e.failure), e.history)
	}
	if len(e.outputs) == 0 && e.kind != eventEntry {
		return nil
	}
	return s.slot.outlet.Outputs(ctx, in, e.outputs)
}

// cause is the event that an entry's outputs come of, or what stands for it.
func (s *stream) cause(e *entry) *quicmesh.Event {
	in := &quicmesh.Event{}
	switch e.kind {
	case eventEntry, bypassEntry:
		outlet.Input(in, &e.item.Frame)
	case endEntry:
		in.ID = fmt.Appendf(nil, "%v:end", s.slot.assignment.Slot)
	case ownEntry:
		// What belongs to no event isn't repeated after a rollback, so no id may come twice.
		s.owned++
		in.ID = fmt.Appendf(nil, "%v:own:%d.%d", s.slot.assignment.Slot, s.slot.assignment.Incarnation, s.owned)
	}
	in.Attempt = e.attempt
	return in
}
