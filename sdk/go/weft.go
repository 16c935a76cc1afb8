// Package weft makes a Go program a function of a pipeline, and an ordinary OpenWhisk action as well.
//
//	func main() {
//		weft.Map(func(ctx context.Context, in Order) (Invoice, error) {
//			return price(in)
//		})
//	}
//
// Map makes one event of each event, FlatMap any number, and Reduce gathers events and emits when the
// input ends. Run is the whole surface beneath them: raw payloads, headers, event times, chosen edges.
// Each is called once, from main, and returns when the action proxy is done with the process.
//
// Events are JSON objects; In and Out are whatever encoding/json reads and writes. An event whose
// function returns an error or panics goes to the stage's error edge with that error. What a function
// prints is its log. Events of one process are handled one after the other; replicas run in parallel.
//
// The protocol beneath is specified in PROTOCOL.md, one folder up.
package weft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Map runs f on each event and sends what it returns. A nil pointer or map sends nothing, so f can
// also filter.
func Map[In, Out any](f func(ctx context.Context, in In) (Out, error)) {
	FlatMap(func(ctx context.Context, in In, emit func(Out)) error {
		out, err := f(ctx, in)
		if err == nil {
			emit(out)
		}
		return err
	})
}

// FlatMap runs f on each event; f calls emit for each event it makes of it. When f returns an error,
// nothing that it emitted for this event is sent.
func FlatMap[In, Out any](f func(ctx context.Context, in In, emit func(Out)) error) {
	Run(func(_ context.Context, emit Emit) (Handler, error) {
		return &flatMap[In, Out]{f: f, emit: typed[Out](emit)}, nil
	})
}

type flatMap[In, Out any] struct {
	f    func(context.Context, In, func(Out)) error
	emit func(Out)
	in   In // reused, so that an event costs no allocation but its own
}

func (h *flatMap[In, Out]) Event(ctx context.Context, e *Event) error {
	if err := decode(e, &h.in); err != nil {
		return err
	}
	return h.f(ctx, h.in, h.emit)
}

func (h *flatMap[In, Out]) End(context.Context) error { return nil }

// Reducer gathers events and emits at the end of the input. It is the state of one slot: after a loss
// the pipeline begins anew, with a new Reducer, where the last checkpoint was. Keep state in it, not
// in package variables.
type Reducer[In, Out any] interface {
	Event(ctx context.Context, in In) error
	End(ctx context.Context, emit func(Out)) error
}

// Reduce gives the events of each attempt to a Reducer of its own, made by begin. In and Out follow
// from S's methods. An error of End ends the process: the stage can't do without its result.
func Reduce[S Reducer[In, Out], In, Out any](begin func() S) {
	Run(func(_ context.Context, emit Emit) (Handler, error) {
		return &reduce[In, Out]{r: begin(), emit: typed[Out](emit)}, nil
	})
}

type reduce[In, Out any] struct {
	r    Reducer[In, Out]
	emit func(Out)
	in   In
}

func (h *reduce[In, Out]) Event(ctx context.Context, e *Event) error {
	if err := decode(e, &h.in); err != nil {
		return err
	}
	return h.r.Event(ctx, h.in)
}

func (h *reduce[In, Out]) End(ctx context.Context) error { return h.r.End(ctx, h.emit) }

func typed[Out any](emit Emit) func(Out) {
	return func(out Out) { emit(Output{Value: out}) }
}

// decode reads the event into a cleared in, which therefore shares nothing with earlier events.
func decode[In any](e *Event, in *In) error {
	var zero In
	*in = zero
	if err := json.Unmarshal(e.Payload, in); err != nil {
		return fmt.Errorf("decode event: %w", err)
	}
	return nil
}

// rawOf is the JSON that v is already; nil if it is something else.
func rawOf(v any) json.RawMessage {
	switch raw := v.(type) {
	case json.RawMessage:
		return raw
	case *json.RawMessage:
		if raw != nil {
			return *raw
		}
	}
	return nil
}

// encoder writes outputs as JSON, as they are: without the escapes for HTML pages.
type encoder struct {
	buf  bytes.Buffer
	json *json.Encoder
}

func newEncoder() *encoder {
	e := &encoder{}
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e
}

// payload returns what an output brings, valid until the next call, or as long as the output's own.
func (e *encoder) payload(out *Output) ([]byte, error) {
	switch {
	case out.Payload == nil:
		return e.encode(out.Value)
	case len(out.Payload) == 0 || out.Payload[0] != '{':
		return nil, errors.New("emit: the payload is no JSON object; events are objects")
	}
	return out.Payload, nil
}

// encode returns v as a JSON object, valid until the next call; nil when v is null. JSON that is as it is to be
// isn't written anew.
func (e *encoder) encode(v any) ([]byte, error) {
	if raw := rawOf(v); compact(raw) {
		return raw, nil
	}
	if e.buf.Cap() > 1<<20 {
		e.buf = bytes.Buffer{} // one large output shouldn't hold its memory for good
	}
	e.buf.Reset()
	if err := e.json.Encode(v); err != nil {
		return nil, fmt.Errorf("encode output: %w", err)
	}
	out := bytes.TrimSpace(e.buf.Bytes())
	switch {
	case string(out) == "null":
		return nil, nil
	case len(out) == 0 || out[0] != '{':
		return nil, fmt.Errorf("encode output: %T is no JSON object; events are objects", v)
	}
	return out, nil
}
