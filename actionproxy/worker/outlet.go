package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// outlet is where a stage's events leave: it knows the stage's edges, takes keys from payloads, and puts
// what fails on the error edge or among the dead letters. It belongs to one goroutine.
type outlet struct {
	mesh     *quicmesh.Mesh
	slot     pipeline.Slot
	normal   []outEdge
	onError  []outEdge
	answered bool // callers wait for what comes of the pipeline's events; see shares.go
	dead     *deadLetters
	counts   *counts
	keys     [][]byte // of the event being sent, by edge
	id       []byte   // reused
}

// outEdge is one edge out of the stage.
type outEdge struct {
	id    uint16
	to    string
	keyed bool
	key   keyPath
}

// counts are a slot's counters since it was taken.
type counts struct {
	in, out, failed atomic.Uint64
	restarts        atomic.Int64
}

// letter is what an error edge carries, and the dead letters are made of.
type letter struct {
	Error   json.RawMessage `json:"error"`
	Stage   string          `json:"stage"`
	ID      string          `json:"id"`
	Event   json.RawMessage `json:"event,omitempty"`
	Bytes   int             `json:"eventBytes,omitempty"` // instead of an event that is too large
	History []string        `json:"history,omitempty"`    // how the function died on it
}

func newOutlet(p *pipeline.Pipeline, slot pipeline.Slot, dead *deadLetters, c *counts) *outlet {
	o := &outlet{slot: slot, dead: dead, counts: c, answered: p.Ingress() != nil}
	for i, e := range p.Edges {
		if e.From != slot.Stage {
			continue
		}
		out := outEdge{id: uint16(i), to: e.To, keyed: e.Routing == pipeline.Key, key: newKeyPath(e.Key)}
		if e.OnError {
			o.onError = append(o.onError, out)
		} else {
			o.normal = append(o.normal, out)
		}
	}
	return o
}

// edgesByStage is what a function is told, so that it can name an edge.
func (o *outlet) edgesByStage() map[string]uint16 {
	out := map[string]uint16{}
	for _, e := range o.normal {
		out[e.to] = e.id
	}
	return out
}

// send sends an event on the edge with that number, or on every edge but the error edges. An event
// that can't be sent goes to the error edge; errors are those of the mesh.
func (o *outlet) send(ctx context.Context, edge uint16, ev *quicmesh.Event) error {
	edges := o.normal
	if edge != frame.AllEdges {
		if edges = o.named(edge); edges == nil {
			return o.fail(ctx, ev, errorText(fmt.Sprintf("stage %s has no edge number %d", o.slot.Stage, edge)), nil)
		}
	}
	own, hasOwn := ev.Key, ev.HasKey
	o.keys = o.keys[:0]
	for _, e := range edges {
		key := own
		if e.keyed && !hasOwn {
			var err error
			if key, err = e.key.of(ev.Payload); err != nil {
				return o.fail(ctx, ev, errorText(fmt.Sprintf("edge %s to %s: %v", o.slot.Stage, e.to, err)), nil)
			}
		}
		o.keys = append(o.keys, key)
	}
	id := ev.ID
	if o.answered {
		if len(edges) == 0 {
			return o.bypass(ctx, ev, nil)
		}
		ev.ID = o.copyID(id, o.copies(edges))
	}
	for i, e := range edges {
		ev.Key, ev.HasKey = o.keys[i], hasOwn || e.keyed
		err := o.mesh.Send(ctx, e.id, ev)
		if errors.Is(err, quicmesh.ErrTooLarge) {
			ev.ID = id
			return o.fail(ctx, ev, errorText(err.Error()), nil)
		}
		if err != nil {
			return err
		}
	}
	o.counts.out.Add(1)
	return nil
}

func (o *outlet) named(id uint16) []outEdge {
	for i, e := range o.normal {
		if e.id == id {
			return o.normal[i : i+1]
		}
	}
	for i, e := range o.onError {
		if e.id == id {
			return o.onError[i : i+1]
		}
	}
	return nil
}

// fail sends an event to the error edges, or without one to the dead letters. cause is any JSON.
func (o *outlet) fail(ctx context.Context, ev *quicmesh.Event, cause json.RawMessage, history []string) error {
	o.counts.failed.Add(1)
	text, err := o.letter(ev, cause, history)
	if err != nil {
		return err
	}
	if len(o.onError) == 0 {
		return o.lost(ctx, ev, text)
	}
	id := ev.ID
	if o.answered {
		id = o.copyID(id, o.copies(o.onError))
	}
	for _, e := range o.onError {
		out := quicmesh.Event{ID: id, EventTime: ev.EventTime, Headers: ev.Headers, Payload: text, Attempt: ev.Attempt}
		if e.keyed {
			// The key is looked for in the event first. Without one, all such letters go to one slot.
			key, err := e.key.of(ev.Payload)
			if err != nil {
				key, err = e.key.of(text)
			}
			out.Key, out.HasKey = key, err == nil
		}
		err := o.mesh.Send(ctx, e.id, &out)
		if errors.Is(err, quicmesh.ErrTooLarge) { // its headers, or its key
			err = o.lost(ctx, ev, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lost takes a letter that no edge takes: it is its caller's, or one of the dead letters.
func (o *outlet) lost(ctx context.Context, ev *quicmesh.Event, text []byte) error {
	if o.answered {
		return o.bypass(ctx, ev, text)
	}
	return o.dead.write(ctx, text)
}

// bypass sends an event past the functions that follow, to a sink by one way: with nothing, or with why
// the event has failed.
func (o *outlet) bypass(ctx context.Context, ev *quicmesh.Event, text []byte) error {
	edges := o.normal
	if len(edges) == 0 {
		edges = o.onError
	}
	e := edges[0] // every stage but a sink leads to one
	out := *ev
	out.ID, out.Payload, out.Bypass = o.copyID(ev.ID, o.copies(edges[:1])), text, true
	out.Key, out.HasKey, out.Headers = nil, false, nil
	return o.mesh.Send(ctx, e.id, &out)
}

// copies is how many slots get an event that is sent on the edges.
func (o *outlet) copies(edges []outEdge) int {
	n := 0
	for _, e := range edges {
		n += o.mesh.Copies(e.id)
	}
	return n
}

// maxLetterEvent bounds the event in a letter, in bytes, so that the letter can always be sent.
const maxLetterEvent = 7 << 20

func (o *outlet) letter(ev *quicmesh.Event, cause json.RawMessage, history []string) ([]byte, error) {
	l := letter{Error: cause, Stage: o.slot.Stage, ID: string(ev.ID), Event: ev.Payload, History: history}
	if len(cause) == 0 || len(cause) > 64<<10 || !json.Valid(cause) {
		l.Error = errorText(fmt.Sprintf("%.1000s", cause))
	}
	if !json.Valid(ev.Payload) {
		l.Event = appendText(nil, ev.Payload)
	}
	if len(l.Event) > maxLetterEvent || o.answered && len(o.onError) == 0 { // a caller has the event
		l.Event, l.Bytes = nil, len(ev.Payload)
	}
	out, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("write a failed event: %w", err)
	}
	return out, nil
}

// errorText is a cause in words.
func errorText(s string) json.RawMessage { return appendText(nil, []byte(s)) }

// errorObject is {"error": text}, the one form of an error in OpenWhisk.
func errorObject(s string) []byte {
	return append(append([]byte(`{"error":`), errorText(s)...), '}')
}
