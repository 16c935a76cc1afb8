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
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/route"
)

func TestRollbackEmptiesAndResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGraph(t, 0, map[string]int{"a": 2, "b": 1}, edge{"a", "b", route.Balance})
		defer g.close()
		g.startAll()
		first, second, b := g.node("a", 0), g.node("a", 1), g.node("b", 0)
		g.send(first, 0, "taken before")
		taken := g.next(b)
		g.send(first, 0, "not taken")
		first.Barrier(t.Context(), 1)
		second.End(t.Context())
		synctest.Wait()
		b.Rollback(2)
		b.Rollback(2)
		b.Rollback(1)
		g.send(first, 0, "of the old attempt")
		first.Rollback(2)
		second.Rollback(2)
		g.send(first, 0, "new")
		g.expect(b, "rollback 0.2")
		g.expect(b, "new")
		first.Barrier(t.Context(), 2) // the second input counts again
		g.send(first, 0, "newer")
		g.expect(b, "newer")
		second.Barrier(t.Context(), 2)
		g.expect(b, "barrier 2")
		if string(taken.Frame.Payload) != "taken before" {
			t.Errorf("an item in hand has changed to %q", taken.Frame.Payload)
		}
		taken.Release()
		time.Sleep(time.Second) // simulated: credit has returned
		for _, l := range append(first.Stats().Links, b.Stats().Links...) {
			if l.InFlight != 0 || l.Kept != 0 {
				t.Errorf("not everything was released: %+v", l)
			}
		}
	})
}

func TestStaleSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		defer g.close()
		a := g.start("a", 0, 1) // no peer, hence no credit
		waiting := make(chan error)
		go func() { waiting <- a.Send(t.Context(), 0, &quicmesh.Event{Attempt: 1}) }()
		go func() { waiting <- a.Send(t.Context(), 0, &quicmesh.Event{}) }()
		synctest.Wait()
		a.Rollback(frame.MakeAttempt(1, 0))
		for range 2 {
			if err := <-waiting; !errors.Is(err, quicmesh.ErrStale) {
				t.Errorf("a send that waited: %v", err)
			}
		}
		if err := a.Send(t.Context(), 0, &quicmesh.Event{Attempt: 1}); !errors.Is(err, quicmesh.ErrStale) {
			t.Errorf("a later send: %v", err)
		}
		if err := a.BarrierOf(t.Context(), 1, 1); !errors.Is(err, quicmesh.ErrStale) {
			t.Errorf("a barrier: %v", err)
		}
		if err := a.EndOf(t.Context(), 1); !errors.Is(err, quicmesh.ErrStale) {
			t.Errorf("an end: %v", err)
		}
		if a.Attempt() != frame.MakeAttempt(1, 0) {
			t.Errorf("in attempt %v", a.Attempt())
		}
	})
}

// A receiver that has not heard of a rollback takes nothing of the new attempt until then: it may not know
// yet who its own receivers are. It takes what other links bring of its own attempt.
func TestHigherAttemptWaitsForTheRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGraph(t, 0, map[string]int{"a": 2, "b": 1}, edge{"a", "b", route.Balance})
		defer g.close()
		g.startAll()
		first, second, b := g.node("a", 0), g.node("a", 1), g.node("b", 0)
		first.Rollback(7)
		g.send(first, 0, "new")
		synctest.Wait()
		if b.Attempt() != 1 {
			t.Fatalf("a frame has moved the receiver to attempt %v", b.Attempt())
		}
		g.send(second, 0, "old")
		g.expect(b, "old")
		g.net.Cut(first.peer.Addr, b.peer.Addr) // what waits is sent again
		g.net.Heal(first.peer.Addr, b.peer.Addr)
		g.send(first, 0, "newer")
		time.Sleep(time.Second) // simulated: the link is up again
		b.Rollback(7)
		g.expect(b, "rollback 0.7")
		g.expect(b, "new")
		g.expect(b, "newer")
	})
}

// Rollbacks at random times on both sides, with lost connections: after a rollback item nothing older
// comes, and of the last attempt everything comes.
func TestNothingOldAfterARollback(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { rollBackAtRandom(t, seed+1) })
		})
	}
}

func rollBackAtRandom(t *testing.T, seed uint64) {
	const attempts, events = 8, 300
	g := pair(t, seed)
	g.tune = func(c *quicmesh.Config) { c.Window = 8 << 10 }
	defer g.close()
	g.startAll()
	a, b := g.node("a", 0), g.node("b", 0)
	g.net.Delay(a.peer.Addr, b.peer.Addr, time.Millisecond)
	random := rand.New(rand.NewPCG(seed, 3))
	go func() {
		for attempt := frame.Attempt(2); attempt <= attempts; attempt++ {
			time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond) // simulated
			nodes := []*node{a, b}
			random.Shuffle(2, func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
			nodes[0].Rollback(attempt)
			if random.IntN(2) == 0 {
				g.net.Cut(a.peer.Addr, b.peer.Addr)
				g.net.Heal(a.peer.Addr, b.peer.Addr)
			}
			time.Sleep(time.Duration(random.IntN(5)) * time.Millisecond)
			nodes[1].Rollback(attempt)
		}
	}()
	go func() {
		for attempt := frame.Attempt(1); attempt <= attempts; attempt = a.Attempt() {
			var err error
			for i := 0; i < events && err == nil; i++ {
				err = a.Send(context.Background(), 0, &quicmesh.Event{ID: fmt.Append(nil, i), Attempt: attempt})
			}
			if err == nil {
				err = a.EndOf(context.Background(), attempt)
			}
			if err == nil && attempt == attempts {
				return
			}
			for a.Attempt() == attempt {
				time.Sleep(time.Millisecond) // simulated
			}
		}
	}()
	current, next := frame.Attempt(1), 0
	for {
		it := g.next(b)
		switch {
		case it.Kind == quicmesh.KindRollback:
			if it.Attempt <= current {
				t.Fatalf("rollback to %v in %v", it.Attempt, current)
			}
			current, next = it.Attempt, 0
		case it.Attempt != current:
			t.Fatalf("%s of attempt %v in %v", describe(&it), it.Attempt, current)
		case it.Kind == quicmesh.KindEvent:
			if string(it.Frame.ID) != fmt.Sprint(next) {
				t.Fatalf("event %s in attempt %v, want %d", it.Frame.ID, current, next)
			}
			next++
			it.Release()
		case it.Kind == quicmesh.KindEnd:
			if next != events {
				t.Fatalf("end of attempt %v after %d events", current, next)
			}
			if current == attempts {
				return
			}
		}
	}
}
