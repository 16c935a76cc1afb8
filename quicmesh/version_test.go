package quicmesh_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/route"
)

// changes drives a graph source → mid → sink through versions while events flow: it is what the brain
// and the workers do, without them.
type changes struct {
	*graph
	random  *rand.Rand
	order   chan quicmesh.Version // to the source: the version of the next barrier
	passed  chan uint64           // barriers at the sink
	version uint64
	highest uint64 // incarnation
	pumps   sync.WaitGroup
	got     map[string][]int // numbers at the sink, by key
	barrier uint64
}

func newChanges(t *testing.T, seed uint64, in, out quicmesh.Routing) *changes {
	g := newGraph(t, seed, map[string]int{"source": 1, "mid": 1, "sink": 1}, edge{"source", "mid", in}, edge{"mid", "sink", out})
	g.tune = func(c *quicmesh.Config) { c.Window = 4 << 10 }
	c := &changes{graph: g, random: rand.New(rand.NewPCG(seed, 9)), order: make(chan quicmesh.Version),
		passed: make(chan uint64, 100), highest: 1, got: map[string][]int{}}
	g.startAll()
	c.pumpLoop(g.node("mid", 0))
	return c
}

// source sends numbered events of a few keys until it has been told of no more versions.
func (c *changes) source(n *node, random *rand.Rand) (sent int) {
	for {
		select {
		case v, more := <-c.order:
			if !more {
				if err := n.End(c.deadline()); err != nil {
					c.t.Error(err)
				}
				return sent
			}
			c.barrier++
			if err := n.SwitchOf(c.deadline(), n.Attempt(), c.barrier, v.Number); err != nil {
				c.t.Error(err)
				return sent
			}
		default:
		}
		key := fmt.Sprintf("k%d", random.IntN(20))
		err := n.Send(c.deadline(), 0, &quicmesh.Event{Key: []byte(key), HasKey: true, Payload: fmt.Appendf(nil, "%s %d", key, sent)})
		if err != nil {
			c.t.Error(err)
			return sent
		}
		sent++
		if sent%8 == 0 {
			time.Sleep(time.Millisecond) // simulated
		}
	}
}

// pumpLoop is a worker of mid, which is slow now and then.
func (c *changes) pumpLoop(n *node) {
	c.pumps.Go(func() {
		items := make([]quicmesh.Item, 0, 10)
		for events := 0; ; {
			var err error
			if items, err = n.Receive(context.Background(), items); err != nil {
				return // closed
			}
			for i := range items {
				it := &items[i]
				switch it.Kind {
				case quicmesh.KindEvent:
					if events++; events%50 == 0 {
						time.Sleep(3 * time.Millisecond) // simulated
					}
					err = n.Send(c.deadline(), 1, &quicmesh.Event{Key: it.Frame.Key, HasKey: true, Payload: it.Frame.Payload})
				case quicmesh.KindBarrier:
					err = n.SwitchOf(c.deadline(), it.Attempt, it.Barrier, it.Version)
				case quicmesh.KindEnd:
					err = n.EndOf(c.deadline(), it.Attempt)
				}
				it.Release()
				if err != nil && !errors.Is(err, quicmesh.ErrClosed) {
					c.t.Errorf("%v: %v", n.peer.Slot(), err)
				}
			}
		}
	})
}

// sink collects until the end.
func (c *changes) sink(n *node) {
	for {
		it := c.next(n)
		switch it.Kind {
		case quicmesh.KindEvent:
			var number int
			key, rest, _ := strings.Cut(string(it.Frame.Payload), " ")
			fmt.Sscan(rest, &number)
			c.got[key] = append(c.got[key], number)
		case quicmesh.KindBarrier:
			c.passed <- it.Barrier
		case quicmesh.KindEnd:
			return
		}
		it.Release()
	}
}

// now is the valid version.
func (c *changes) now() quicmesh.Version {
	v := quicmesh.Version{Number: c.version, Replicas: map[string]int{"mid": c.replicas["mid"]}}
	for _, n := range c.nodes {
		v.Peers = append(v.Peers, n.peer)
	}
	return v
}

// announce tells everybody, one after the other.
func (c *changes) announce(to []*node, now quicmesh.Version, next *quicmesh.Version) {
	c.random.Shuffle(len(to), func(i, j int) { to[i], to[j] = to[j], to[i] })
	for _, n := range to {
		n.SetVersions(now, next)
		time.Sleep(time.Duration(c.random.IntN(3)) * time.Millisecond) // simulated
	}
}

// change goes to count slots of mid, of which those in moved get another holder.
func (c *changes) change(count int, moved ...int) {
	now := c.now()
	old, to := map[quicmesh.Slot]*node{}, []*node{}
	for s, n := range c.nodes {
		old[s] = n
		to = append(to, n)
	}
	c.highest++
	c.tune = func(f *quicmesh.Config) { f.Window, f.Joins = 4<<10, true }
	fresh := moved
	for i := c.replicas["mid"]; i < count; i++ {
		fresh = append(fresh, i)
	}
	for _, i := range fresh {
		n := c.start("mid", i, c.highest)
		n.SetVersions(now, nil)
		n.Accept()
		c.pumpLoop(n)
		to = append(to, n)
	}
	for i := count; i < c.replicas["mid"]; i++ {
		delete(c.nodes, quicmesh.Slot{Stage: "mid", Index: i})
	}
	c.replicas["mid"] = count
	next := c.now()
	c.version++
	next.Number = c.version
	c.announce(to, now, &next)
	c.order <- next
	<-c.passed
	c.announce(to, next, nil)
	for s, n := range old {
		if c.nodes[s] != n {
			n.close()
		}
	}
}

// Slots come, go and change their holders while events flow: each event arrives once, those of a key in
// order, whatever the routing.
func TestVersions(t *testing.T) {
	for _, routings := range [][2]quicmesh.Routing{{route.Key, route.Key}, {route.Balance, route.Balance}, {route.Key, route.Balance}, {route.Balance, route.Broadcast}} {
		for seed := range uint64(6) {
			synctest.Test(t, func(t *testing.T) {
				c := newChanges(t, seed, routings[0], routings[1])
				defer c.close()
				var ends sync.WaitGroup
				sent := 0
				source, sink := c.node("source", 0), c.node("sink", 0)
				ends.Go(func() { sent = c.source(source, rand.New(rand.NewPCG(seed, 3))) })
				ends.Go(func() { c.sink(sink) })
				c.change(4)
				c.change(4, 0)
				c.change(2, 1)
				c.change(1)
				c.change(1, 0)
				for range 5 {
					n := 1 + c.random.IntN(5)
					c.change(n, c.random.IntN(min(n, c.replicas["mid"])))
				}
				close(c.order)
				ends.Wait()
				c.check(sent, routings[0] == route.Key)
				for _, n := range c.nodes {
					n.Mesh.Close()
				}
				c.pumps.Wait()
			})
		}
	}
}

func (c *changes) check(sent int, ordered bool) {
	c.t.Helper()
	seen := make([]int, sent)
	for key, numbers := range c.got {
		last := -1
		for _, n := range numbers {
			seen[n]++
			if n < last && ordered {
				c.t.Fatalf("event %d of %s comes after %d", n, key, last)
			}
			last = n
		}
	}
	for n, times := range seen {
		if times != 1 {
			c.t.Fatalf("event %d of %d came %d times", n, sent, times)
		}
	}
}

// A next version that is withdrawn changes nothing, even if its barrier is on its way.
func TestWithdrawnVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanges(t, 1, route.Key, route.Balance)
		defer c.close()
		source, sink := c.node("source", 0), c.node("sink", 0)
		now := c.now()
		c.tune = func(f *quicmesh.Config) { f.Joins = true }
		n := quicmesh.Peer{Stage: "mid", Index: 1, Incarnation: 7, Addr: "nowhere"}
		next := c.now()
		next.Number, next.Replicas["mid"], next.Peers = 1, 2, append(next.Peers, n)
		c.announce([]*node{source, c.node("mid", 0), sink}, now, &next)
		if err := source.SwitchOf(c.deadline(), 1, 1, 1); err != nil {
			t.Fatal(err)
		}
		sent := make(chan error)
		go func() { // some of the keys' groups have moved to a slot that nobody holds
			var err error
			for i := range 20 {
				if err == nil {
					err = source.Send(c.deadline(), 0, &quicmesh.Event{Key: fmt.Append(nil, i), HasKey: true, Payload: fmt.Appendf(nil, "k %d", i)})
				}
			}
			sent <- err
		}()
		synctest.Wait()
		c.announce([]*node{source, c.node("mid", 0), sink}, now, nil)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if err := source.End(c.deadline()); err != nil {
			t.Fatal(err)
		}
		c.sink(sink)
		c.check(20, true)
		for _, n := range c.nodes {
			n.Mesh.Close()
		}
		c.pumps.Wait()
	})
}
