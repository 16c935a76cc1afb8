package quicmesh

import (
	"context"
	"fmt"
	"math"

	"github.com/weft-stream/weft/quicmesh/barrier"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/replay"
	"github.com/weft-stream/weft/quicmesh/route"
)

// Event is what Send takes. Its slices are copied, but for a payload that lies in a region of Alloc's.
type Event struct {
	ID, Key   []byte // at most 64 KiB each
	HasKey    bool   // without a key, a key edge takes group 0
	EventTime int64  // microseconds since the epoch, 0 when unknown
	Headers   []byte // encoded, see frame.AppendHeader
	Payload   []byte
	Bypass    bool // no function sees it: see frame.Bypass
	// Attempt the event belongs to: in another one it is refused with ErrStale. 0: the current one.
	Attempt frame.Attempt
}

// Send gives an event to the slot, or the slots, that the edge's routing chooses. It blocks until
// there is credit for all of them; then the event is on its way, and kept until acknowledged.
func (m *Mesh) Send(ctx context.Context, edge uint16, ev *Event) error {
	e := m.outEdge(edge)
	if e == nil {
		return fmt.Errorf("send on edge %d: %w", edge, ErrEdge)
	}
	if len(ev.Payload) > e.largest || len(ev.ID) > math.MaxUint16 || len(ev.Key) > math.MaxUint16 ||
		len(ev.ID)+len(ev.Key)+len(ev.Headers) > headRoom {
		return fmt.Errorf("send on edge %d: %w: payload of %d bytes, at most %d; id, key and headers of %d, at most %d",
			edge, ErrTooLarge, len(ev.Payload), e.largest, len(ev.ID)+len(ev.Key)+len(ev.Headers), headRoom)
	}
	var f frame.Frame // field by field: a literal would be made elsewhere and copied, which takes longer than the rest
	f.Type, f.Edge, f.EventTime, f.Attempt = frame.Data, edge, ev.EventTime, ev.Attempt
	f.ID, f.Key, f.Headers, f.Payload = ev.ID, ev.Key, ev.Headers, ev.Payload
	if ev.Bypass {
		f.Flags = frame.Bypass
	}
	if f.Attempt == 0 {
		f.Attempt = m.Attempt()
	}
	if ev.HasKey {
		f.KeyHash = route.KeyHash(ev.Key, m.cfg.Seed)
	}
	var memory replay.Memory
	if region := m.find(ev.Payload); region != nil {
		defer region.Release()
		memory = region
	}
	if err := e.send(ctx, &f, memory); err != nil {
		return fmt.Errorf("send on edge %d: %w", edge, err)
	}
	return nil
}

// Copies is how many slots get each event that is sent on an edge.
func (m *Mesh) Copies(edge uint16) int {
	e := m.outEdge(edge)
	if e == nil || e.routing != route.Broadcast {
		return 1
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.now.to)
}

// Barrier puts barrier n of the current attempt behind every earlier event, on all links of all edges.
func (m *Mesh) Barrier(ctx context.Context, n uint64) error {
	return m.BarrierOf(ctx, m.Attempt(), n)
}

// BarrierOf is Barrier for attempt a: in another one it is refused with ErrStale.
func (m *Mesh) BarrierOf(ctx context.Context, a frame.Attempt, n uint64) error {
	return m.SwitchOf(ctx, a, n, 0)
}

// SwitchOf is BarrierOf for a barrier that makes a version valid: it goes to the slots of that one too,
// and what is sent behind it goes to those alone. A version that SetVersions has not announced, or has
// withdrawn, changes nothing. A version has one barrier, which can't be given up: sends may wait for it.
func (m *Mesh) SwitchOf(ctx context.Context, a frame.Attempt, n, version uint64) error {
	f := frame.Frame{Header: frame.Header{Type: frame.Barrier, Attempt: a}, Payload: frame.AppendBarrier(nil, n, version)}
	if err := m.sendAll(ctx, f, version); err != nil {
		return fmt.Errorf("send barrier %d: %w", n, err)
	}
	if m.progress != nil {
		m.progress.passOn(a, barrier.Mark{Number: n, Version: version})
	}
	return nil
}

// End tells all links of all edges that no more events come in the current attempt.
func (m *Mesh) End(ctx context.Context) error { return m.EndOf(ctx, m.Attempt()) }

// EndOf is End for attempt a: in another one it is refused with ErrStale.
func (m *Mesh) EndOf(ctx context.Context, a frame.Attempt) error {
	if err := m.sendAll(ctx, frame.Frame{Header: frame.Header{Type: frame.End, Attempt: a}}, 0); err != nil {
		return fmt.Errorf("send end: %w", err)
	}
	return nil
}

func (m *Mesh) sendAll(ctx context.Context, f frame.Frame, version uint64) error {
	for _, e := range m.out {
		if e.back {
			continue
		}
		f.Edge = e.id
		if err := e.sendControl(ctx, &f, version); err != nil {
			return err
		}
	}
	return nil
}

// Flush waits until everything sent so far on links that are up has been handed to the transport. It
// is never needed for progress: links write by themselves, at once.
func (m *Mesh) Flush() error {
	for _, e := range m.out {
		if err := e.flush(); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
	return nil
}

func (m *Mesh) outEdge(id uint16) *outEdge {
	for _, e := range m.out {
		if e.id == id {
			return e
		}
	}
	return nil
}
