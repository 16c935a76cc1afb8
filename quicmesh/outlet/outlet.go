// Package outlet is where a stage's events leave: it knows the stage's edges, takes keys from payloads, and
// puts what fails on the error edge or among the dead letters.
package outlet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// Edge is one edge out of the stage.
type Edge struct {
	ID      uint16 `json:"id"`
	To      string `json:"to"`
	Keyed   bool   `json:"keyed,omitempty"`
	Key     string `json:"key,omitempty"` // the dotted path of a keyed edge's key
	OnError bool   `json:"onError,omitempty"`
	Largest int    `json:"largest"` // payload, in bytes
}

// Config of an Outlet.
type Config struct {
	Mesh  *quicmesh.Mesh
	Stage string
	Edges []Edge
	// Answered: callers wait for what comes of the pipeline's events. An event's id says then which part of
	// all that each output is; see OutputID.
	Answered bool
	// Dead takes a failed event that no edge takes, one JSON object.
	Dead   func(ctx context.Context, letter []byte) error
	Counts *Counts
}

// Counts are a slot's counters since it was taken.
type Counts struct{ In, Out, Failed atomic.Uint64 }

// Outlet sends a stage's events. It belongs to one goroutine.
type Outlet struct {
	config  Config
	normal  []edge
	onError []edge
	keys    [][]byte  // of the event being sent, by edge
	id      []byte    // reused, of a copy
	outID   []byte    // reused, of an output
	keyed   bool      // one of normal is
	sent    uint64    // events that Counts doesn't know of yet
	fused   []*Outlet // of a fused group: of each stage, this one first
}

type edge struct {
	Edge
	path keyPath
}

// Output is one event that a function has made. Only its Payload is needed: its time and headers are the input's unless
// it has its own, its ID is given by Outputs but to what a fused group has made (see Fuse).
type Output struct {
	quicmesh.Event
	Edge    uint16   // frame.AllEdges: every edge but the error edges
	Passed  int      // bytes of a payload that no edge takes, and that is not here; 0: none
	Failure []byte   // {"error": …}: not an output but an event on which a stage of such a group has failed
	History []string // of such an event: how the function died on it
}

// Letter is what an error edge carries, and the dead letters are made of.
type Letter struct {
	Error   json.RawMessage `json:"error"`
	Stage   string          `json:"stage"`
	ID      string          `json:"id"`
	Event   json.RawMessage `json:"event,omitempty"`
	Bytes   int             `json:"eventBytes,omitempty"` // instead of an event that is too large
	History []string        `json:"history,omitempty"`    // how the function died on it
}

// New makes an outlet of a stage's edges.
func New(c Config) *Outlet {
	o := &Outlet{config: c}
	for _, e := range c.Edges {
		if out := (edge{e, newKeyPath(e.Key)}); e.OnError {
			o.onError = append(o.onError, out)
		} else {
			o.keyed = o.keyed || out.Keyed
			o.normal = append(o.normal, out)
		}
	}
	return o
}

// Deadly is why an event fails on which the function has died so often.
func Deadly(history []string) string {
	return fmt.Sprintf("the function died on this event %d times, at last: %s", len(history), history[len(history)-1])
}

// ByStage is what a function is told, so that it can name an edge.
func ByStage(edges []Edge) map[string]uint16 {
	out := map[string]uint16{}
	for _, e := range edges {
		if !e.OnError {
			out[e.To] = e.ID
		}
	}
	return out
}

// Largest is the largest payload that an edge out of the stage, or out of its fused group, takes, in bytes.
func (o *Outlet) Largest() (n int) {
	for _, e := range slices.Concat(o.normal, o.onError) {
		n = max(n, e.Largest)
	}
	for _, f := range o.fused[min(len(o.fused), 1):] {
		n = max(n, f.Largest())
	}
	return n
}

// Answered tells whether callers wait for what comes of events.
func (o *Outlet) Answered() bool { return o.config.Answered }

// Outputs sends what a function has made of an event. Where callers wait, an event of which it has made
// nothing passes on in that one's place.
func (o *Outlet) Outputs(ctx context.Context, in *quicmesh.Event, outputs []Output) error {
	if len(outputs) == 0 && o.config.Answered {
		return o.Bypass(ctx, in, nil)
	}
	defer o.count()
	for i := range outputs {
		out := &outputs[i]
		if len(o.fused) == 0 || len(out.ID) == 0 {
			o.outID = o.OutputID(o.outID[:0], in.ID, i, len(outputs))
			out.ID = o.outID
		}
		out.HasKey, out.Attempt = len(out.Key) > 0, in.Attempt
		if out.EventTime == 0 {
			out.EventTime = in.EventTime
		}
		if len(out.Headers) == 0 {
			out.Headers = in.Headers
		}
		stage, edge := o.of(out)
		var err error
		switch {
		case out.Failure != nil:
			err = stage.fail(ctx, &out.Event, max(len(out.Payload), out.Passed), CauseOf(out.Failure), out.History)
		case out.Passed > 0:
			cause := fmt.Sprintf("%v: payload of %d bytes, at most %d", quicmesh.ErrTooLarge, out.Passed, stage.Largest())
			err = stage.fail(ctx, &out.Event, out.Passed, ErrorText(cause), nil)
		default:
			err = stage.send(ctx, edge, &out.Event)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// count counts what was sent: many outputs of one event at once.
func (o *Outlet) count() {
	if o.sent > 0 {
		o.config.Counts.Out.Add(o.sent)
		o.sent = 0
	}
	for _, f := range o.fused[min(len(o.fused), 1):] {
		f.count()
	}
}

// Send sends an event on the edge with that number, or on every edge but the error edges. An event
// that can't be sent goes to the error edge; errors are those of the mesh.
func (o *Outlet) Send(ctx context.Context, to uint16, ev *quicmesh.Event) error {
	defer o.count()
	return o.send(ctx, to, ev)
}

func (o *Outlet) send(ctx context.Context, to uint16, ev *quicmesh.Event) error {
	edges := o.normal
	if to != frame.AllEdges {
		if edges = o.named(to); edges == nil {
			return o.Fail(ctx, ev, ErrorText(fmt.Sprintf("stage %s has no edge number %d", o.config.Stage, to)), nil)
		}
	}
	hasOwn := ev.HasKey
	finds := o.keyed && !hasOwn // keys, before anything is sent
	if finds {
		o.keys = o.keys[:0]
		for i := range edges {
			e, key := &edges[i], ev.Key
			if e.Keyed {
				var err error
				if key, err = e.path.of(ev.Payload); err != nil {
					return o.Fail(ctx, ev, ErrorText(fmt.Sprintf("edge %s to %s: %v", o.config.Stage, e.To, err)), nil)
				}
			}
			o.keys = append(o.keys, key)
		}
	}
	id := ev.ID
	if o.config.Answered {
		if len(edges) == 0 {
			return o.Bypass(ctx, ev, nil)
		}
		ev.ID = o.CopyID(id, o.copies(edges))
	}
	for i := range edges {
		e := &edges[i]
		if finds {
			ev.Key, ev.HasKey = o.keys[i], e.Keyed
		}
		err := o.config.Mesh.Send(ctx, e.ID, ev)
		switch {
		case err == nil:
		case errors.Is(err, quicmesh.ErrTooLarge):
			ev.ID = id
			return o.Fail(ctx, ev, ErrorText(err.Error()), nil)
		default:
			return err
		}
	}
	o.sent++
	return nil
}

func (o *Outlet) named(id uint16) []edge {
	for i := range o.normal {
		if o.normal[i].ID == id {
			return o.normal[i : i+1]
		}
	}
	for i := range o.onError {
		if o.onError[i].ID == id {
			return o.onError[i : i+1]
		}
	}
	return nil
}

// Fail sends an event to the error edges, or without one to the dead letters. cause is any JSON; history is
// how the function died on the event.
func (o *Outlet) Fail(ctx context.Context, ev *quicmesh.Event, cause json.RawMessage, history []string) error {
	return o.fail(ctx, ev, len(ev.Payload), cause, history)
}

// fail is Fail for an event whose payload has, or had, so many bytes.
func (o *Outlet) fail(ctx context.Context, ev *quicmesh.Event, bytes int, cause json.RawMessage, history []string) error {
	o.config.Counts.Failed.Add(1)
	text, err := o.letter(ev, bytes, cause, history, o.letterRoom())
	if err != nil {
		return err
	}
	if len(o.onError) == 0 {
		return o.lost(ctx, ev, text)
	}
	id := ev.ID
	if o.config.Answered {
		id = o.CopyID(id, o.copies(o.onError))
	}
	for i := range o.onError {
		e := &o.onError[i]
		out := quicmesh.Event{ID: id, EventTime: ev.EventTime, Headers: ev.Headers, Payload: text, Attempt: ev.Attempt}
		if e.Keyed {
			// The key is looked for in the event first. Without one, all such letters go to one slot.
			key, err := e.path.of(ev.Payload)
			if err != nil {
				key, err = e.path.of(text)
			}
			out.Key, out.HasKey = key, err == nil
		}
		err := o.config.Mesh.Send(ctx, e.ID, &out)
		if errors.Is(err, quicmesh.ErrTooLarge) { // its headers, or its key
			var short []byte
			if short, err = o.letter(ev, bytes, cause, history, min(o.letterRoom(), MaxDeadLetter)); err == nil {
				err = o.lost(ctx, ev, short)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lost takes a letter that no edge takes: it is its caller's, or one of the dead letters.
func (o *Outlet) lost(ctx context.Context, ev *quicmesh.Event, text []byte) error {
	if o.config.Answered {
		return o.Bypass(ctx, ev, text)
	}
	return o.config.Dead(ctx, text)
}

// Bypass sends an event past the functions that follow, to a sink by one way: with nothing, or with why
// the event has failed.
func (o *Outlet) Bypass(ctx context.Context, ev *quicmesh.Event, text []byte) error {
	edges := o.normal
	if len(edges) == 0 {
		edges = o.onError
	}
	e := &edges[0] // every stage but a sink leads to one
	out := *ev
	out.ID, out.Payload, out.Bypass = o.CopyID(ev.ID, o.copies(edges[:1])), text, true
	out.Key, out.HasKey, out.Headers = nil, false, nil
	return o.config.Mesh.Send(ctx, e.ID, &out)
}

// copies is how many slots get an event that is sent on the edges.
func (o *Outlet) copies(edges []edge) int {
	n := 0
	for i := range edges {
		n += o.config.Mesh.Copies(edges[i].ID)
	}
	return n
}

// MaxDeadLetter bounds a letter that goes to the user's weft in one message, in bytes.
const MaxDeadLetter = 8 << 20

// letterRoom is how large a letter may be, in bytes, to be sent wherever it has to go.
func (o *Outlet) letterRoom() int {
	ways := o.onError
	if o.config.Answered {
		ways = slices.Concat(ways, o.normal) // what no error edge takes is the caller's
	}
	room := MaxDeadLetter
	for i, e := range ways {
		if i == 0 || e.Largest < room {
			room = e.Largest
		}
	}
	return room
}

// letter writes what is known of an event that failed, and the event itself where room bytes are enough for it.
func (o *Outlet) letter(ev *quicmesh.Event, bytes int, cause json.RawMessage, history []string, room int) ([]byte, error) {
	l := Letter{Error: cause, Stage: o.config.Stage, ID: string(ev.ID), History: history}
	if len(ev.Payload) <= room {
		l.Event = slices.Clone(ev.Payload) // what was lent may change until it is written
	}
	if len(cause) == 0 || len(cause) > 64<<10 || !json.Valid(cause) {
		l.Error = ErrorText(fmt.Sprintf("%.1000s", cause))
	}
	if !json.Valid(l.Event) {
		l.Event = AppendText(nil, l.Event)
	}
	if max(len(l.Event), len(ev.Payload), bytes) > room || o.config.Answered && len(o.onError) == 0 { // a caller has the event
		l.Event, l.Bytes = nil, bytes
	}
	out, err := json.Marshal(l)
	if err == nil && len(out) > room {
		l.Event, l.Bytes = nil, bytes
		out, err = json.Marshal(l)
	}
	if err == nil && len(out) > room {
		l.Error, l.History = ErrorText(fmt.Sprintf("%.1000s", cause)), nil
		out, err = json.Marshal(l)
	}
	if err != nil {
		return nil, fmt.Errorf("write a failed event: %w", err)
	}
	return out, nil
}
