package weft

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/direct/directtest"
	"github.com/weft-stream/weft/quicmesh/frame"
)

const patience = 20 * time.Second

// each is a Handler of a function.
type each func(ctx context.Context, e *Event) error

func (f each) Event(ctx context.Context, e *Event) error { return f(ctx, e) }
func (each) End(context.Context) error                   { return nil }

// TestLargePayloadsAreReadInPlace: what a function has written, encoded or by itself, the next one reads where it is.
func TestLargePayloadsAreReadInPlace(t *testing.T) {
	h := directtest.New(t, "in", "a", "b", "out")
	function := func(stage string, begin Begin) *directtest.Function {
		return h.Function(stage, func(socket string) error { return meshOver(socket, begin) })
	}
	out := h.Place("out")
	const size = 1 << 20
	var mu sync.Mutex
	var written []byte // by a, what it has sent last
	inPlace := 0
	function("b", func(_ context.Context, emit Emit) (Handler, error) {
		return each(func(_ context.Context, e *Event) error {
			var of struct{ Kind string }
			if err := json.Unmarshal(e.Payload, &of); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if of.Kind == "own" { // against the rules, to see that it is the same memory
				last := len(written) - 3
				if written[last]++; e.Payload[last] == written[last] {
					inPlace++
				}
			}
			emit(Output{Payload: []byte(fmt.Sprintf(`{"kind":%q,"bytes":%d}`, of.Kind, len(e.Payload)))})
			return nil
		}), nil
	})
	a := function("a", func(_ context.Context, emit Emit) (Handler, error) {
		return each(func(ctx context.Context, e *Event) error {
			switch string(e.Payload) {
			case `{"make":"own"}`:
				p := Alloc(ctx, size)
				n := copy(p, `{"kind":"own","text":"`)
				n += copy(p[n:], bytes.Repeat([]byte("x"), size-n-2))
				copy(p[n:], `"}`)
				mu.Lock()
				written = p
				mu.Unlock()
				emit(Output{Payload: p})
			case `{"make":"value"}`:
				emit(Output{Value: map[string]any{"kind": "value", "text": string(bytes.Repeat([]byte("y"), 100_000))}})
			case `{"make":"small"}`:
				emit(Output{Payload: append(Alloc(ctx, 100)[:0], `{"kind":"small"}`...)})
			default:
				emit(Output{Payload: []byte("no object")})
			}
			return nil
		}), nil
	})
	in := h.Place("in")
	in.SetVersions(h.Everybody(), nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var items []quicmesh.Item
	const rounds = 10
	for range rounds {
		for _, c := range [][2]string{{"own", fmt.Sprintf(`{"kind":"own","bytes":%d}`, size)}, {"value", `{"kind":"value","bytes":100026}`},
			{"small", `{"kind":"small","bytes":16}`}} {
			if err := in.Send(ctx, h.EdgeTo("a"), &quicmesh.Event{ID: []byte("in/0"), Payload: []byte(`{"make":"` + c[0] + `"}`)}); err != nil {
				t.Fatal(err)
			}
			var err error
			if items, err = out.Receive(ctx, items); err != nil || len(items) != 1 {
				t.Fatal(len(items), err)
			}
			if got := string(items[0].Frame.Payload); got != c[1] {
				t.Fatalf("%q came, want %q", got, c[1])
			}
			items[0].Release()
		}
	}
	// The first ones may go before the memory is lent.
	mu.Lock()
	defer mu.Unlock()
	if inPlace < rounds-2 || h.Arenas() != 1 {
		t.Errorf("%d of %d payloads in place, %d arenas", inPlace, rounds, h.Arenas())
	}
	for referred := uint64(0); referred < 2*rounds-4; {
		select {
		case s := <-a.Stats:
			for _, l := range s.Links {
				if l.Out {
					referred = l.Referred
				}
			}
		case <-ctx.Done():
			t.Fatalf("%d of %d events by reference", referred, 2*rounds)
		}
	}
}

// TestPayloadsOfOnesOwn: as they are over a stream, and in an activation that they are a part of.
func TestPayloadsOfOnesOwn(t *testing.T) {
	begin := func(_ context.Context, emit Emit) (Handler, error) {
		return each(func(ctx context.Context, e *Event) error {
			p := Alloc(ctx, len(e.Payload)) // no more than plain memory here
			copy(p, e.Payload)
			emit(Output{Payload: p})
			return nil
		}), nil
	}
	conn := &recorder{replay{Reader: bytes.NewReader(events(1, `{ "as": "it is"}`))}, nil}
	if err := newStream(conn, begin).run(); err != nil {
		t.Fatal(err)
	}
	frames := frame.NewReader(bytes.NewReader(conn.all), 1<<20)
	for f, err := frames.Next(); ; f, err = frames.Next() {
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == frame.Data {
			if string(f.Payload) != `{ "as": "it is"}` {
				t.Errorf("%q", f.Payload)
			}
			break
		}
	}
	a, err := newActivation(begin)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		`{ "a": 1 }`: `{ "a": 1 }`,
		`{"a":1}{}`:  `{"error":"emit: the payload is not valid JSON"}`,
		`["a", "b"]`: `{"error":"emit: the payload is no JSON object; events are objects"}`,
		`{"a": "b`:   `{"error":"emit: the payload is not valid JSON"}`,
	} {
		if got := string(a.run(json.RawMessage(value))); got != want {
			t.Errorf("%s: %s", value, got)
		}
	}
}

type recorder struct {
	replay
	all []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.all = append(r.all, b...)
	return len(b), nil
}
