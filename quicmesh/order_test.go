package quicmesh_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-stream/weft/quicmesh"
)

func TestEventsBarrierAndEndArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 3)
		defer g.close()
		g.startAll()
		a, b := g.node("a", 0), g.node("b", 0)
		for i := range 1000 {
			g.send(a, 0, fmt.Sprint(i))
		}
		if err := a.Barrier(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		g.send(a, 0, "after")
		if err := a.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			g.expect(b, fmt.Sprint(i))
		}
		g.expect(b, "barrier 7")
		g.expect(b, "after")
		g.expect(b, "end")
	})
}

func TestEventArrivesAsItWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 5)
		g.tune = func(c *quicmesh.Config) { c.MaxPayload = 1 << 20 }
		defer g.close()
		g.startAll()
		payload := make([]byte, 1<<20) // is as large as the window: goes alone
		for i := range payload {
			payload[i] = byte(i % 251)
		}
		sent := quicmesh.Event{ID: []byte("s[0]/1"), Key: []byte("k"), HasKey: true, EventTime: 99, Headers: []byte("abcd"), Payload: payload}
		for range 3 {
			if err := g.node("a", 0).Send(t.Context(), 0, &sent); err != nil {
				t.Fatal(err)
			}
			it := g.next(g.node("b", 0))
			f := it.Frame
			if string(f.ID) != "s[0]/1" || string(f.Key) != "k" || f.EventTime != 99 || string(f.Headers) != "abcd" || string(f.Payload) != string(payload) {
				t.Error("the event has changed on its way")
			}
			if it.From != (quicmesh.Slot{Stage: "a"}) || it.Edge != 0 || it.Attempt != 1 || f.KeyHash == 0 {
				t.Errorf("item from %v on edge %d, attempt %v, hash %d", it.From, it.Edge, it.Attempt, f.KeyHash)
			}
			it.Release()
			it.Release() // has no effect
		}
	})
}

// Whatever connections are lost, and however the bytes are cut: every event once, in order.
func TestCutsLoseAndRepeatNothing(t *testing.T) {
	resent := uint64(0)
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { resent += cutAtRandom(t, seed+1) })
		})
	}
	if resent == 0 {
		t.Error("no frame was sent again: the cuts cut nothing")
	}
}

// cutAtRandom gives how many frames were sent again.
func cutAtRandom(t *testing.T, seed uint64) uint64 {
	const events = 1500
	g := pair(t, seed)
	g.tune = func(c *quicmesh.Config) { c.Window = 16 << 10 }
	defer g.close()
	g.startAll()
	a, b := g.node("a", 0), g.node("b", 0)
	g.net.Delay(a.peer.Addr, b.peer.Addr, 3*time.Millisecond)
	random := rand.New(rand.NewPCG(seed, 1))
	ctx, stop := context.WithCancel(t.Context())
	faults := make(chan struct{})
	go func() {
		defer close(faults)
		for ctx.Err() == nil {
			time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond) // simulated
			g.net.Cut(a.peer.Addr, b.peer.Addr)
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			g.net.Heal(a.peer.Addr, b.peer.Addr)
		}
	}()
	sent := make(chan error, 1)
	go func() {
		payload := make([]byte, 200)
		for i := range events {
			ev := quicmesh.Event{ID: fmt.Append(nil, i), Payload: payload[:i%200]}
			if err := a.Send(ctx, 0, &ev); err != nil {
				sent <- err
				return
			}
			if i%100 == 99 {
				a.Barrier(ctx, uint64(i/100+1))
			}
		}
		sent <- a.End(ctx)
	}()
	for i := range events {
		it := g.next(b)
		if string(it.Frame.ID) != fmt.Sprint(i) || len(it.Frame.Payload) != i%200 {
			t.Fatalf("event %q with %d bytes, want %d", it.Frame.ID, len(it.Frame.Payload), i)
		}
		it.Release()
		if i%100 == 99 {
			g.expect(b, fmt.Sprintf("barrier %d", i/100+1))
		}
	}
	g.expect(b, "end")
	stop()
	<-faults
	if err := <-sent; err != nil {
		t.Error(err)
	}
	return a.Stats().Links[0].Resent
}

// A receiver that takes nothing blocks the sender, and what is under way stays within the window.
func TestSlowReceiverBlocksTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window = 64 << 10
		g := pair(t, 0)
		g.tune = func(c *quicmesh.Config) { c.Window = window }
		defer g.close()
		g.startAll()
		a, b := g.node("a", 0), g.node("b", 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ev := quicmesh.Event{Payload: make([]byte, 1000)}
		sent := 0
		var err error
		for err == nil {
			if err = a.Send(ctx, 0, &ev); err == nil {
				sent++
			}
		}
		if size := 1000 + 56; sent != window/size {
			t.Errorf("%d events of %d bytes were sent against a window of %d", sent, size, window)
		}
		out, in := a.Stats().Links[0], b.Stats().Links[0]
		if out.InFlight > window || in.InFlight > window || out.Kept != 0 {
			t.Errorf("in flight: sender %d, receiver %d; kept %d, though all is acknowledged", out.InFlight, in.InFlight, out.Kept)
		}
		if out.NoCredit < 50*time.Second {
			t.Errorf("waited a simulated minute for credit, %v are counted", out.NoCredit)
		}
		// Barriers and ends need no credit, and one release lets the next event through.
		if err := a.Barrier(t.Context(), 1); err != nil {
			t.Error(err)
		}
		for range sent {
			it := g.next(b)
			it.Release()
		}
		g.expect(b, "barrier 1")
		g.send(a, 0, "goes on")
		g.expect(b, "goes on")
	})
}

func TestTooLargeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		g.tune = func(c *quicmesh.Config) { c.MaxPayload = 1000 }
		defer g.close()
		g.startAll()
		for name, ev := range map[string]quicmesh.Event{
			"payload": {Payload: make([]byte, 1001)},
			"id":      {ID: make([]byte, 1<<16)},
			"headers": {Headers: make([]byte, 1<<20)},
		} {
			if err := g.node("a", 0).Send(t.Context(), 0, &ev); !errors.Is(err, quicmesh.ErrTooLarge) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := g.node("a", 0).Send(t.Context(), 9, &quicmesh.Event{}); !errors.Is(err, quicmesh.ErrEdge) {
			t.Errorf("unknown edge: %v", err)
		}
	})
}
