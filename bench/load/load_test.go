package load_test

import (
	"context"
	"testing"
	"time"

	"github.com/weft-stream/weft/bench/load"
)

func TestEveryEventIsStampedAndTaken(t *testing.T) {
	p := load.Plan{Payload: 8, Rate: 1e6, Warmup: 3, Events: 10, Limit: time.Minute}
	taken, n, done := load.NewTaken(p), 0, false
	err := p.Generate(t.Context(), func(b []byte) (err error) {
		if len(b) != load.HeaderSize {
			t.Errorf("%d bytes", len(b))
		}
		n++
		done, err = taken.Take(b)
		return err
	})
	if err != nil || n != 13 || !done {
		t.Fatalf("%d events, done %v: %v", n, done, err)
	}
	r := taken.Result()
	if r.Events != 10 || r.Sent == nil || load.P(r.Sent, 50) <= 0 || load.P(r.Due, 50) < load.P(r.Sent, 0) {
		t.Errorf("%+v", r)
	}
}

// A slow way hides nothing: the latency of an event counts from when it was due.
func TestNoCoordinatedOmission(t *testing.T) {
	p := load.Plan{Rate: 100, Events: 2, Limit: time.Minute}
	taken := load.NewTaken(p)
	for n, due := range []int64{0, 10e6} {
		const stuck = int64(500e6) // the first event held the generator up for so long
		if _, err := taken.Note(stuck+int64(n), due, stuck-1, uint64(n)); err != nil {
			t.Fatal(err)
		}
	}
	r := taken.Result()
	if sent, due := load.P(r.Sent, 100), load.P(r.Due, 0); sent > 10 || due < 480e6 {
		t.Errorf("from the send %v, from when it was due %v", sent, due)
	}
}

func TestLostEventsAreNoResult(t *testing.T) {
	taken := load.NewTaken(load.Plan{Events: 5})
	b := make([]byte, load.HeaderSize)
	for n, want := range map[uint64]bool{1: false, 0: true} {
		load.Stamp(b, 1, 1, n)
		if _, err := load.NewTaken(load.Plan{Events: 5}).Take(b); (err == nil) != want {
			t.Errorf("first event %d: %v", n, err)
		}
	}
	load.Stamp(b, 1, 1, 0)
	_, _ = taken.Take(b)
	if _, err := taken.Take(b); err == nil {
		t.Error("an event that came twice was taken")
	}
	if _, err := taken.Take(b[:4]); err == nil {
		t.Error("a cut event was taken")
	}
}

func TestGenerateEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (load.Plan{Events: 1000}).Generate(ctx, func([]byte) error { return nil }); err == nil {
		t.Error("it goes on")
	}
}

// A fresh event is none of the earlier ones, and a byte that changes is found.
func TestFreshEvents(t *testing.T) {
	p := load.Plan{Payload: 1000, Events: 3, Fresh: true}
	sums := map[string]bool{}
	err := p.GenerateIn(t.Context(), func() ([]byte, error) { return make([]byte, p.Payload), nil }, func(b []byte) error {
		sums[string(b[load.HeaderSize:])] = true
		if err := load.Check(b); err != nil {
			t.Error(err)
		}
		b[999]++
		if load.Check(b) == nil {
			t.Error("another byte was not found")
		}
		return nil
	})
	if err != nil || len(sums) != 3 {
		t.Errorf("%d different events, %v", len(sums), err)
	}
}
