package quicmesh_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/memnet"
)

// graph is stages on one network in memory: meshes of all slots, made from a list of edges.
type graph struct {
	t        testing.TB
	net      *memnet.Network
	replicas map[string]int
	edges    []edge
	tune     func(*quicmesh.Config) // optional
	listen   func(self transport.Identity, name string) transport.Transport
	nodes    map[quicmesh.Slot]*node
}

type edge struct {
	from, to string
	routing  quicmesh.Routing
}

// node is a slot's mesh with its transport.
type node struct {
	*quicmesh.Mesh
	transport transport.Transport
	near      transport.Transport // optional
	peer      quicmesh.Peer
	buf       []quicmesh.Item
	queue     []quicmesh.Item
}

func slotIdentity(slot quicmesh.Slot, incarnation uint64) transport.Identity {
	return transport.Identity{Namespace: "guest", Pipeline: "p", Stage: slot.Stage, Index: slot.Index, Incarnation: incarnation}
}

func newGraph(t testing.TB, seed uint64, replicas map[string]int, edges ...edge) *graph {
	net := memnet.New(memnet.Config{Seed: seed})
	return &graph{
		t: t, net: net, listen: net.Listen,
		replicas: replicas, edges: edges, nodes: map[quicmesh.Slot]*node{},
	}
}

// pair is the smallest graph: a to b on edge 0.
func pair(t testing.TB, seed uint64) *graph {
	return newGraph(t, seed, map[string]int{"a": 1, "b": 1}, edge{"a", "b", route.Forward})
}

func (g *graph) config(slot quicmesh.Slot, incarnation uint64) quicmesh.Config {
	c := quicmesh.Config{Self: slotIdentity(slot, incarnation), Attempt: 1, Seed: 42}
	for id, e := range g.edges {
		if e.from == slot.Stage {
			c.Out = append(c.Out, quicmesh.OutEdge{ID: uint16(id), To: e.to, Routing: e.routing, Replicas: g.replicas[e.to]})
		}
		if e.to == slot.Stage {
			c.In = append(c.In, quicmesh.InEdge{ID: uint16(id), From: e.from, Routing: e.routing, Replicas: g.replicas[e.from]})
		}
	}
	if g.tune != nil {
		g.tune(&c)
	}
	return c
}

// start opens a slot's mesh, which neither accepts nor knows anybody yet.
func (g *graph) start(stage string, index int, incarnation uint64) *node {
	g.t.Helper()
	slot := quicmesh.Slot{Stage: stage, Index: index}
	c := g.config(slot, incarnation)
	c.Transport = g.listen(c.Self, fmt.Sprintf("%v/%d", slot, incarnation))
	m, err := quicmesh.New(c)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := m.Open(context.Background()); err != nil {
		g.t.Fatal(err)
	}
	n := &node{Mesh: m, transport: c.Transport, near: c.Near, buf: make([]quicmesh.Item, 0, 100)}
	n.peer = quicmesh.Peer{Stage: stage, Index: index, Incarnation: incarnation, Addr: c.Transport.Addr()}
	g.nodes[slot] = n
	return n
}

// startAll starts every slot, tells all of all, lets them accept and waits for the links.
func (g *graph) startAll() {
	g.t.Helper()
	for stage, n := range g.replicas {
		for i := range n {
			g.start(stage, i, 1).Accept()
		}
	}
	g.tell()
	for _, n := range g.nodes {
		if err := n.WaitLinks(g.deadline()); err != nil {
			g.t.Fatal(err)
		}
	}
}

// tell gives the peers as they are now to all.
func (g *graph) tell() {
	var peers []quicmesh.Peer
	for _, n := range g.nodes {
		peers = append(peers, n.peer)
	}
	for _, n := range g.nodes {
		n.SetPeers(peers)
	}
}

func (g *graph) node(stage string, index int) *node {
	return g.nodes[quicmesh.Slot{Stage: stage, Index: index}]
}

func (g *graph) close() {
	for _, n := range g.nodes {
		n.close()
	}
}

func (n *node) close() {
	n.Mesh.Close()
	n.transport.Close()
	if n.near != nil { // else who dials it again waits at a mesh that is no more
		n.near.Close()
	}
}

// deadline is a context for what should take no time at all.
func (g *graph) deadline() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	if t, ok := g.t.(*testing.T); ok {
		t.Cleanup(cancel)
	} else {
		context.AfterFunc(ctx, cancel)
	}
	return ctx
}

// send sends an event whose id and payload are the text.
func (g *graph) send(n *node, edge uint16, text string) {
	g.t.Helper()
	err := n.Send(g.deadline(), edge, &quicmesh.Event{ID: []byte(text), Key: []byte(text), HasKey: true, Payload: []byte(text)})
	if err != nil {
		g.t.Fatal(err)
	}
}

// next is the next item, which the caller releases.
func (g *graph) next(n *node) quicmesh.Item {
	g.t.Helper()
	if len(n.queue) == 0 {
		items, err := n.Receive(g.deadline(), n.buf)
		if err != nil {
			g.t.Fatal(err)
		}
		n.queue = items
	}
	it := n.queue[0]
	n.queue = n.queue[1:]
	return it
}

// expect takes the next item and compares it, as describe writes it.
func (g *graph) expect(n *node, want string) {
	g.t.Helper()
	it := g.next(n)
	if got := describe(&it); got != want {
		g.t.Fatalf("%v received %q, want %q", n.peer.Slot(), got, want)
	}
	it.Release()
}

func describe(it *quicmesh.Item) string {
	switch it.Kind {
	case quicmesh.KindEvent:
		return string(it.Frame.Payload)
	case quicmesh.KindBarrier:
		return fmt.Sprintf("barrier %d", it.Barrier)
	case quicmesh.KindEnd:
		return "end"
	case quicmesh.KindRollback:
		return fmt.Sprintf("rollback %v", it.Attempt)
	}
	return "?"
}
