package quicmesh_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/route"
)

func TestRoutings(t *testing.T) {
	const events, slots = 300, 3
	for _, routing := range []quicmesh.Routing{route.Balance, route.Key, route.Broadcast, route.Forward} {
		t.Run(string(routing), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGraph(t, 1, map[string]int{"a": slots, "b": slots}, edge{"a", "b", routing})
				defer g.close()
				g.startAll()
				for i := range events {
					g.send(g.node("a", i%slots), 0, fmt.Sprint(i))
				}
				for i := range slots {
					if err := g.node("a", i).End(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				check(t, routing, collect(g, "b", slots), events)
			})
		})
	}
}

// collect receives until the end at each slot, and gives where each event went.
func collect(g *graph, stage string, slots int) map[string][]int {
	where := map[string][]int{}
	for i := range slots {
		for {
			it := g.next(g.node(stage, i))
			if it.Kind == quicmesh.KindEnd {
				break
			}
			where[describe(&it)] = append(where[describe(&it)], i)
			it.Release()
		}
	}
	return where
}

func check(t *testing.T, routing quicmesh.Routing, where map[string][]int, events int) {
	table := route.NewTable(3)
	var perSlot [3]int
	for i := range events {
		text := fmt.Sprint(i)
		at := where[text]
		copies := 1
		if routing == route.Broadcast {
			copies = 3
		}
		if len(at) != copies {
			t.Errorf("event %d came to slots %v", i, at)
			continue
		}
		perSlot[at[0]]++
		if want := table.Slot(route.KeyHash([]byte(text), 42)); routing == route.Key && at[0] != want {
			t.Errorf("event %d came to slot %d, want %d", i, at[0], want)
		}
		if routing == route.Forward && at[0] != i%3 {
			t.Errorf("event %d of slot %d came to slot %d", i, i%3, at[0])
		}
	}
	for i, n := range perSlot {
		if routing == route.Balance && n < events/10 {
			t.Errorf("slot %d got %d of %d events", i, n, events)
		}
	}
}

// Nobody waits for slow slots while another one takes events, and for slots that are not there.
func TestBalanceGoesAroundSlowAndMissingSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGraph(t, 0, map[string]int{"a": 1, "b": 4}, edge{"a", "b", route.Balance})
		g.tune = func(c *quicmesh.Config) { c.Window = 4 << 10 }
		defer g.close()
		a := g.start("a", 0, 1)
		for i := range 3 { // slot 3 does not exist
			g.start("b", i, 1).Accept()
		}
		g.tell()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			for { // only slot 2 takes anything
				items, err := g.node("b", 2).Receive(ctx, nil)
				for i := range items {
					items[i].Release()
				}
				if err != nil {
					return
				}
			}
		}()
		for i := range 1000 {
			g.send(a, 0, fmt.Sprint(i))
		}
		for _, l := range a.Stats().Links {
			if l.Peer.Index == 2 && l.Events < 800 || l.Peer.Index == 3 && l.Events > 0 {
				t.Errorf("slot %d got %d events", l.Peer.Index, l.Events)
			}
		}
		cancel()
	})
}
