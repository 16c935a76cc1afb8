package weft

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// chained serves n stages that pass events on, and gives what they have written.
func chained(t testing.TB, n int, in []byte) *replay {
	f := &fusion{}
	for i := range n {
		f.parts = append(f.parts, Part{Stage: fmt.Sprint("s", i)})
		f.begins = append(f.begins, func(_ context.Context, emit Emit) (Handler, error) { return raw{emit}, nil })
	}
	conn := &replay{Reader: bytes.NewReader(in)}
	if err := newStream(conn, f.begin).run(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A hop between two fused stages costs no allocation.
func TestFusedHopsCostNoAllocation(t *testing.T) {
	const n = 1000
	few, many := events(n, `{"a":1}`), events(2*n, `{"a":1}`)
	perEvent := func(stages int) float64 {
		return (testing.AllocsPerRun(10, func() { chained(t, stages, many) }) - testing.AllocsPerRun(10, func() { chained(t, stages, few) })) / n
	}
	if one, five := perEvent(1), perEvent(5); five > one+0.5 {
		t.Fatalf("%.2f allocations for an event through one stage, %.2f through five", one, five)
	}
}

// TestFusedStart: a Start for another number of stages is refused, and what begins says which stage it was.
func TestFusedStart(t *testing.T) {
	for payload, want := range map[string]string{
		`{"stage":"s0","fused":[{"stage":"s0"},{"stage":"s1"},{"stage":"s2"}]}`: "serves 2 stages, and Start names 3",
		`{"stage":"s0","fused":[{"stage":"s0"},{"stage":"s1"}]}`:                "stage s1: emit: only Event and End can emit",
	} {
		f := &fusion{parts: []Part{{Stage: "s0"}, {Stage: "s1"}}, begins: []Begin{
			func(_ context.Context, emit Emit) (Handler, error) { return raw{emit}, nil },
			func(_ context.Context, emit Emit) (Handler, error) { emit(Output{}); return raw{emit}, nil },
		}}
		start := frame.Frame{Header: frame.Header{Type: frame.Start}, Payload: []byte(payload)}
		err := newStream(&replay{Reader: bytes.NewReader(start.Append(nil))}, f.begin).run()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", payload, err, want)
		}
	}
}

// BenchmarkFusedHop measures what each stage beyond the first costs an event.
func BenchmarkFusedHop(b *testing.B) {
	const stages = 101
	in := events(b.N, `{"w":[12345678901234,12345678901234,123456],"p":"abcdefghijklmnop"}`)
	b.ReportAllocs()
	b.ResetTimer()
	chained(b, stages, in)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(stages-1), "ns/hop")
}
