package weft

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// Handler is a function with all that is known of an event. Its methods are called one after the
// other, never two at a time.
type Handler interface {
	// Event handles one event. An error sends the event to the error edge and drops its outputs.
	Event(ctx context.Context, e *Event) error
	// End is called when the input has ended, to emit what is left. Its error ends the process.
	End(ctx context.Context) error
}

// Emit sends an output. It belongs to the call of Event or End during which it is called, and may
// be used only then, on the same goroutine. An output that can't be encoded fails that call.
type Emit func(Output)

// Output is an event to send. Only Value is needed, or Payload.
type Output struct {
	Value any // encodes to a JSON object; null is no output
	// Payload is a JSON object as it is to be sent, on one line, in place of Value: nobody looks at it on its way. It
	// must not change before Event has returned. Memory of Alloc is not copied either.
	Payload []byte
	To      string            // stage it goes to; "": every stage that follows
	Key     string            // "": none of its own
	Headers map[string]string // nil: the input's
	Time    time.Time         // event time; zero: the input's
}

// Event is the event being handled. It and its Payload are valid until Event returns; a large payload is memory of the
// function that has written it, where a write, or a later look, ends the process.
type Event struct {
	Payload json.RawMessage // a JSON object, byte for byte as it was sent; to be read only
	f       *frame.Frame    // nil in an ordinary activation
}

// frame is what is known beside the payload.
func (e *Event) frame() *frame.Frame {
	if e.f == nil {
		return &frame.Frame{}
	}
	return e.f
}

// ID names the event; it stays the same when the event is sent again after a loss. Empty in an
// ordinary activation.
func (e *Event) ID() string { return string(e.frame().ID) }

// Key is what the event was routed by; empty without a key.
func (e *Event) Key() string { return string(e.frame().Key) }

// Time is the event time; zero when it is unknown.
func (e *Event) Time() time.Time {
	at := e.frame().EventTime
	if at == 0 {
		return time.Time{}
	}
	return time.UnixMicro(at).UTC()
}

// Header is the header of that name, for instance "traceparent"; empty when there is none.
func (e *Event) Header(name string) string {
	for n, v := range e.Headers() {
		if n == name {
			return v
		}
	}
	return ""
}

// Headers are the event's headers, in order.
func (e *Event) Headers() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		// Broken headers end the list: their bytes are the far function's, and no concern of this one's.
		_ = frame.EachHeader(e.frame().Headers, func(n, v []byte) bool { return yield(string(n), string(v)) })
	}
}

// Stage says what the function is part of. Its zero value is that of an ordinary activation.
type Stage struct {
	Pipeline   string            `json:"pipeline"`
	Name       string            `json:"stage"`
	Slot       int               `json:"slot"`     // this replica, from 0
	Replicas   int               `json:"replicas"` // of the stage
	Stateful   bool              `json:"stateful"`
	Parameters json.RawMessage   `json:"parameters"` // JSON object: the stage's parameters
	Edges      map[string]uint16 `json:"edges"`      // edge numbers by the stage they lead to
	Fused      []Stage           `json:"fused"`      // of a fused group as a whole: its stages; no function sees it
}

// Param reads the parameter called name into v. It reports whether there is one of v's type.
func (s *Stage) Param(name string, v any) bool {
	var all map[string]json.RawMessage
	if json.Unmarshal(s.Parameters, &all) != nil {
		return false
	}
	raw, ok := all[name]
	return ok && json.Unmarshal(raw, v) == nil
}

type (
	stageKey struct{}
	eventKey struct{}
	allocKey struct{}
)

// Alloc gives n bytes for an Output's Payload: those that follow on this host read it where Event has written it,
// however large it is. It is Event's until that returns, and holds what was in it before.
func Alloc(ctx context.Context, n int) []byte {
	if alloc, ok := ctx.Value(allocKey{}).(func(int) []byte); ok && alloc != nil {
		return alloc(n)
	}
	return make([]byte, n)
}

// StageOf is the stage a context of this package belongs to.
func StageOf(ctx context.Context) Stage {
	s, _ := ctx.Value(stageKey{}).(*Stage)
	if s == nil {
		return Stage{}
	}
	return *s
}

// EventOf is the event that is being handled; nil at the start and at the end.
func EventOf(ctx context.Context) *Event {
	e, _ := ctx.Value(eventKey{}).(*Event)
	return e
}

// eventContext is made once per attempt: its event changes in place.
type eventContext struct {
	context.Context
	stage *Stage
	event *Event
	alloc func(int) []byte   // nil: plain memory
	put   func(*frame.Frame) // takes frames that are complete but for attempt and ordinal; see fuse.go
}

func (c *eventContext) Value(key any) any {
	switch key.(type) {
	case stageKey:
		return c.stage
	case eventKey:
		return c.event
	case allocKey:
		return c.alloc
	}
	return c.Context.Value(key)
}
