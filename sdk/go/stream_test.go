package weft

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// replay is a connection whose other end has written everything at once.
type replay struct {
	io.Reader
	written int
}

func (r *replay) Write(b []byte) (int, error) {
	r.written += len(b)
	return len(b), nil
}

// events is Start and n events, as bytes.
func events(n int, payload string) []byte {
	start := frame.Frame{Header: frame.Header{Type: frame.Start}, Payload: []byte(`{"stage":"s"}`)}
	b := start.Append(nil)
	for i := range n {
		f := frame.Frame{Header: frame.Header{Type: frame.Data, Seq: uint64(i + 1)}, ID: []byte("in:7"), Payload: []byte(payload)}
		b = f.Append(b)
	}
	return b
}

type raw struct{ emit Emit }

func (r raw) Event(_ context.Context, e *Event) error {
	r.emit(Output{Value: &e.Payload})
	return nil
}

func (raw) End(context.Context) error { return nil }

func serveRaw(t testing.TB, in []byte) *replay {
	conn := &replay{Reader: bytes.NewReader(in)}
	begin := func(_ context.Context, emit Emit) (Handler, error) { return raw{emit}, nil }
	if err := newStream(conn, begin).run(); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestEventsCostNoAllocationOfOurs(t *testing.T) {
	enc, payload := json.NewEncoder(io.Discard), json.RawMessage(`{"a":1}`)
	theirs := testing.AllocsPerRun(2000, func() { _ = enc.Encode(&payload) }) // not 0 with the race detector
	const n = 1000
	few, many := events(n, `{"a":1}`), events(2*n, `{"a":1}`)
	perEvent := (testing.AllocsPerRun(10, func() { serveRaw(t, many) }) - testing.AllocsPerRun(10, func() { serveRaw(t, few) })) / n
	if perEvent > theirs+0.5 {
		t.Fatalf("%.2f allocations for an event, %.2f of them encoding/json's", perEvent, theirs)
	}
}

func TestHostileFramesEndTheStream(t *testing.T) {
	f := frame.Frame{Header: frame.Header{Type: frame.Data, Seq: 1}, Payload: []byte(`{}`)}
	start := events(0, "")
	for name, in := range map[string][]byte{
		"an event before Start": f.Append(nil),
		"lengths do not fit":    append(start, bytes.Repeat([]byte{0xFF}, frame.HeaderSize)...),
		"decode Start":          (&frame.Frame{Header: frame.Header{Type: frame.Start}}).Append(nil),
	} {
		err := newStream(&replay{Reader: bytes.NewReader(in)}, func(_ context.Context, emit Emit) (Handler, error) { return raw{emit}, nil }).run()
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add(events(2, `{"a":1}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		begin := func(_ context.Context, emit Emit) (Handler, error) { return raw{emit}, nil }
		_ = newStream(&replay{Reader: bytes.NewReader(in)}, begin).run() // ends, whatever comes
	})
}

func BenchmarkEvent(b *testing.B) {
	in := events(b.N, `{"line":"the quick brown fox jumps over the lazy dog"}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(in) / b.N))
	b.ResetTimer()
	serveRaw(b, in)
}
