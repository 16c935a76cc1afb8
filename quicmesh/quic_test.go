package quicmesh_test

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// A diamond on real sockets, every event through two links.
func TestDiamondOverQUIC(t *testing.T) {
	const events = 3000
	g := newGraph(t, 0, map[string]int{"source": 1, "left": 2, "right": 2, "sink": 1},
		edge{"source", "left", route.Balance}, edge{"source", "right", route.Key},
		edge{"left", "sink", route.Balance}, edge{"right", "sink", route.Key})
	overQUIC(t, g)
	defer g.close()
	g.startAll()
	var pumps sync.WaitGroup
	for i := range 2 {
		pumps.Go(func() { pump(g, g.node("left", i), 2) })
		pumps.Go(func() { pump(g, g.node("right", i), 3) })
	}
	pumps.Go(func() {
		source := g.node("source", 0)
		for i := range events {
			g.send(source, 0, fmt.Sprintf("l%d", i))
			g.send(source, 1, fmt.Sprintf("r%d", i))
		}
		if err := errors.Join(source.Barrier(g.deadline(), 1), source.End(g.deadline())); err != nil {
			t.Error(err)
		}
	})
	got := pump(g, g.node("sink", 0))
	pumps.Wait()
	seen := map[string]int{}
	for _, text := range got {
		seen[text]++
	}
	if len(got) != 2*events+2 || len(seen) != 2*events+2 || got[len(got)-2] != "barrier 1" || got[len(got)-1] != "end" {
		t.Errorf("%d items, %d different ones, the last are %q", len(got), len(seen), got[max(0, len(got)-2):])
	}
	for _, l := range g.node("sink", 0).Stats().Links {
		if l.Hops.Count() != l.Events || l.Events == 0 {
			t.Errorf("%d hops of %d events were measured on edge %d", l.Hops.Count(), l.Events, l.Edge)
		}
	}
}

// The way to a slot breaks again and again: its address is a gateway's, and the gateway is replaced
// by one at another address. Links resume, nothing is lost or repeated.
func TestResumeOverQUICAtAnotherAddress(t *testing.T) {
	const events, moves = 4000, 3
	g := pair(t, 0)
	g.tune = func(c *quicmesh.Config) { c.Window = 16 << 10 } // hundreds of events, so that more are to come behind a move
	overQUIC(t, g)
	defer g.close()
	a, b := g.start("a", 0, 1), g.start("b", 0, 1)
	b.Accept()
	way := relay(t, b.transport)
	peer := b.peer
	peer.Addr = way.addr
	a.SetPeers([]quicmesh.Peer{peer})
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < events && err == nil; i++ {
			err = a.Send(g.deadline(), 0, &quicmesh.Event{Payload: fmt.Append(nil, i)})
		}
		sent <- errors.Join(err, a.End(g.deadline()))
	}()
	for i := range events {
		g.expect(b, fmt.Sprint(i))
		if i%(events/moves) == events/moves-1 {
			way.close()
			way = relay(t, b.transport)
			peer.Addr = way.addr
			a.SetPeers([]quicmesh.Peer{peer})
		}
	}
	g.expect(b, "end")
	way.close()
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if s := a.Stats().Links[0]; s.Sessions < moves { // the last move has no event behind it
		t.Errorf("%d sessions over %d addresses", s.Sessions, moves+1)
	}
}

// gateway forwards packets between one client and a slot.
type gateway struct {
	addr        string
	near, far   net.PacketConn
	forwarding  sync.WaitGroup
	mu          sync.Mutex
	client      net.Addr
	destination net.Addr
}

func relay(t *testing.T, to transport.Transport) *gateway {
	t.Helper()
	destination, err := net.ResolveUDPAddr("udp", to.Addr())
	if err != nil {
		t.Fatal(err)
	}
	w := &gateway{destination: destination}
	for _, conn := range []*net.PacketConn{&w.near, &w.far} {
		if *conn, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	w.addr = w.near.LocalAddr().String()
	w.forwarding.Go(func() { w.forwardLoop(w.near, w.far, true) })
	w.forwarding.Go(func() { w.forwardLoop(w.far, w.near, false) })
	return w
}

func (w *gateway) forwardLoop(from, to net.PacketConn, forth bool) {
	for b := make([]byte, 2048); ; {
		n, sender, err := from.ReadFrom(b)
		if err != nil {
			return
		}
		w.mu.Lock()
		if forth {
			w.client = sender
		}
		target := w.destination
		if !forth {
			target = w.client
		}
		w.mu.Unlock()
		to.WriteTo(b[:n], target) // a lost packet is a lost packet
	}
}

func (w *gateway) close() {
	w.near.Close()
	w.far.Close()
	w.forwarding.Wait()
}
