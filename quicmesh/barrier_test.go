package quicmesh_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/route"
)

// pump passes on what a slot receives on the edges out, until its end. A sink gives what it got.
func pump(g *graph, n *node, out ...uint16) (got []string) {
	for {
		it := g.next(n)
		var err error
		switch it.Kind {
		case quicmesh.KindEvent:
			for _, e := range out {
				if err == nil {
					err = n.Send(g.deadline(), e, &quicmesh.Event{
						ID: it.Frame.ID, Key: it.Frame.ID, HasKey: true, Payload: it.Frame.Payload, Attempt: it.Attempt,
					})
				}
			}
		case quicmesh.KindBarrier:
			err = n.BarrierOf(g.deadline(), it.Attempt, it.Barrier)
		case quicmesh.KindEnd:
			err = n.EndOf(g.deadline(), it.Attempt)
		}
		if err != nil {
			g.t.Errorf("%v: %v", n.peer.Slot(), err)
			return got
		}
		got = append(got, describe(&it))
		it.Release()
		if it.Kind == quicmesh.KindEnd {
			return got
		}
	}
}

// A diamond: every event sent before a barrier is at the sink before it, over both ways, and each
// barrier and the end come once.
func TestDiamond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { diamond(t, 9, func(*graph) {}) })
}

// The same while connections between random slots are lost all the time.
func TestDiamondUnderCuts(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			diamond(t, seed+1, func(g *graph) {
				go func() {
					defer close(done)
					cutSlots(ctx, g, rand.New(rand.NewPCG(seed, 4)))
				}()
			})
			stop()
			<-done
		})
	}
}

// cutSlots breaks what is between two slots for a moment, again and again.
func cutSlots(ctx context.Context, g *graph, random *rand.Rand) {
	var addrs []string
	for _, n := range g.nodes {
		addrs = append(addrs, n.peer.Addr)
	}
	slices.Sort(addrs)
	for _, a := range addrs {
		for _, b := range addrs {
			if a < b {
				g.net.Delay(a, b, time.Millisecond)
			}
		}
	}
	for ctx.Err() == nil {
		random.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
		g.net.Cut(addrs[0], addrs[1])
		time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond) // simulated
		g.net.Heal(addrs[0], addrs[1])
	}
}

func diamond(t *testing.T, seed uint64, disturb func(*graph)) {
	g := newGraph(t, seed, map[string]int{"source": 2, "left": 2, "right": 3, "sink": 1},
		edge{"source", "left", route.Balance}, edge{"source", "right", route.Key},
		edge{"left", "sink", route.Balance}, edge{"right", "sink", route.Key})
	defer g.close()
	g.startAll()
	disturb(g)
	for i := range 2 {
		go pump(g, g.node("left", i), 2)
	}
	for i := range 3 {
		go pump(g, g.node("right", i), 3)
	}
	go func() {
		for i := range 400 {
			source := g.node("source", i%2)
			g.send(source, 0, fmt.Sprintf("l%d", i))
			g.send(source, 1, fmt.Sprintf("r%d", i))
			if i%100 == 99 {
				g.node("source", 0).Barrier(g.deadline(), uint64(i/100+1))
				g.node("source", 1).Barrier(g.deadline(), uint64(i/100+1))
			}
		}
		g.node("source", 0).End(g.deadline())
		g.node("source", 1).End(g.deadline())
	}()
	got := pump(g, g.node("sink", 0))
	seen, barriers := map[string]int{}, 0
	for _, text := range got[:len(got)-1] {
		if text[0] != 'b' {
			seen[text]++
			continue
		}
		barriers++
		if text != fmt.Sprintf("barrier %d", barriers) {
			t.Errorf("%q comes as number %d", text, barriers)
		}
		for i := range barriers * 100 {
			if seen[fmt.Sprintf("l%d", i)] != 1 || seen[fmt.Sprintf("r%d", i)] != 1 {
				t.Fatalf("event %d was sent before %s and is not there", i, text)
			}
		}
	}
	if barriers != 4 || len(seen) != 800 || got[len(got)-1] != "end" {
		t.Errorf("%d barriers, %d events, then %q", barriers, len(seen), got[len(got)-1])
	}
}

func TestEndedInputCountsForLaterBarriers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGraph(t, 0, map[string]int{"a": 2, "b": 1}, edge{"a", "b", route.Balance})
		defer g.close()
		g.startAll()
		first, second, b := g.node("a", 0), g.node("a", 1), g.node("b", 0)
		first.Barrier(t.Context(), 1)
		synctest.Wait()
		g.send(first, 0, "not held back")
		g.expect(b, "not held back")
		second.End(t.Context())
		g.expect(b, "barrier 1")
		first.Barrier(t.Context(), 2)
		g.expect(b, "barrier 2")
		first.End(t.Context())
		g.expect(b, "end")
	})
}

// Slots start in any order, know each other at any time, and carry a few events: all streams end.
func TestShortStreamsAllEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(1000) {
			shortStream(t, seed)
		}
	})
}

func shortStream(t *testing.T, seed uint64) {
	g := newGraph(t, seed, map[string]int{"a": 1, "b": 2, "c": 1},
		edge{"a", "b", route.Balance}, edge{"b", "c", route.Balance})
	defer g.close()
	random := rand.New(rand.NewPCG(seed, 2))
	steps := []func(){
		func() { g.start("a", 0, 1) }, func() { g.start("b", 0, 1) },
		func() { g.start("b", 1, 1) }, func() { g.start("c", 0, 1) },
	}
	random.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	for _, start := range steps {
		start()
		if random.IntN(2) == 0 {
			g.tell()
		}
	}
	g.tell()
	accept := []*node{g.node("b", 0), g.node("b", 1), g.node("c", 0)}
	random.Shuffle(len(accept), func(i, j int) { accept[i], accept[j] = accept[j], accept[i] })
	for _, n := range accept {
		n.Accept()
		if random.IntN(2) == 0 {
			synctest.Wait()
		}
	}
	events := random.IntN(4)
	go pump(g, g.node("b", 0), 1)
	go pump(g, g.node("b", 1), 1)
	for i := range events {
		g.send(g.node("a", 0), 0, fmt.Sprint(i))
	}
	if err := g.node("a", 0).End(g.deadline()); err != nil {
		t.Fatal(err)
	}
	if got := pump(g, g.node("c", 0)); len(got) != events+1 {
		t.Fatalf("seed %d: got %v of %d events", seed, got, events)
	}
}
