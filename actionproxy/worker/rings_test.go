package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring/ringtest"
)

// onBoard dials a slot by its identity, which is its address there.
type onBoard struct{ *ringtest.Place }

func (o onBoard) Dial(ctx context.Context, _ string, peer transport.Identity) (transport.Stream, error) {
	return o.Place.Dial(ctx, peer.String(), peer)
}

// TestLinkMovesUnderLoad: a link goes from shared memory to QUIC and back while events flow, and loses and
// repeats none.
func TestLinkMovesUnderLoad(t *testing.T) {
	const events, moves = 60_000, 6
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	board := ringtest.NewBoard(t)
	ca, err := identity.NewCA("guest", "p", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, b := transport.Identity{Namespace: "guest", Pipeline: "p", Stage: "a", Incarnation: 1}, transport.Identity{Namespace: "guest", Pipeline: "p", Stage: "b", Incarnation: 1}
	farA, farB, nearA, nearB := overQUIC(t, ca, a), overQUIC(t, ca, b), board.Listen(a), board.Listen(b)
	way := newWay(t, pipeline.SHM, onBoard{nearA}, farA)
	sender := meshOf(t, quicmesh.Config{Self: a, Transport: farA, Near: nearA,
		Out: []quicmesh.OutEdge{{To: "b", Routing: route.Balance, Replicas: 1, Dialer: way}}})
	receiver := meshOf(t, quicmesh.Config{Self: b, Transport: farB, Near: nearB,
		In: []quicmesh.InEdge{{From: "a", Routing: route.Balance, Replicas: 1}}})
	receiver.Accept()
	sender.SetPeers([]quicmesh.Peer{{Stage: "b", Incarnation: 1, Addr: farB.Addr()}})
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < events && err == nil; i++ {
			err = sender.Send(ctx, 0, &quicmesh.Event{Payload: fmt.Append(nil, i)})
		}
		sent <- errors.Join(err, sender.End(ctx))
	}()
	over := map[string]int{} // moves that ended there
	wants := pipeline.SHM
	got := 0
	for items := []quicmesh.Item(nil); ; {
		if items, err = receiver.Receive(ctx, items[:0]); err != nil {
			t.Fatalf("after %d events: %v", got, err)
		}
		for _, it := range items {
			if it.Kind == quicmesh.KindEnd {
				if err := <-sent; err != nil || got != events {
					t.Errorf("%d of %d events, %v", got, events, err)
				}
				if n := sender.Stats().Links[0].Sessions; over["shm"] < moves/2 || over["quic"] < moves/2 || n <= moves {
					t.Errorf("links: %v, %d sessions", over, n)
				}
				return
			}
			if it.Kind != quicmesh.KindEvent {
				continue
			}
			if string(it.Frame.Payload) != fmt.Sprint(got) {
				t.Fatalf("event %q came after %d", it.Frame.Payload, got-1)
			}
			it.Release()
			if got++; got%(events/(moves+1)) == 0 && over["shm"]+over["quic"] < moves {
				if wants == pipeline.SHM {
					wants = pipeline.QUIC
				} else {
					wants = pipeline.SHM
				}
				// The sender has a window's worth of events before it needs us again.
				awaitCarrier(ctx, t, sender, way, wants)
				over[string(wants)]++
			}
		}
	}
}

// newWay makes an edge's, whose links look for something better until the test ends.
func newWay(t *testing.T, wants pipeline.Transport, near, far transport.Dialer) *transport.Way {
	t.Helper()
	w := &transport.Way{Wish: string(wants), Near: near, Far: far, Impossible: func(err error) { t.Error(err) }, Say: t.Logf}
	transport.NewLooks().Add(w)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		w.Looks.Loop(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-over
	})
	return w
}

// awaitCarrier moves the link and waits until it is up there.
func awaitCarrier(ctx context.Context, t *testing.T, m *quicmesh.Mesh, way *transport.Way, to pipeline.Transport) {
	t.Helper()
	way.Want(string(to))
	for tick := time.NewTicker(time.Millisecond); m.Stats().Links[0].Carrier != string(to); <-tick.C {
		if ctx.Err() != nil {
			t.Fatalf("the link is never up over %s: %+v", to, m.Stats().Links[0])
		}
	}
}

func overQUIC(t *testing.T, ca *identity.CA, self transport.Identity) transport.Transport {
	t.Helper()
	e, err := listenQUIC("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := ca.Sign(key.Request(), self, time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := key.Certificate(der)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := e.Transport(self, cert, ca.Pool())
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// meshOf opens a mesh, which the test's end closes with its transports.
func meshOf(t *testing.T, c quicmesh.Config) *quicmesh.Mesh {
	t.Helper()
	m, err := quicmesh.New(c)
	if err == nil {
		err = m.Open(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.Close()
		_ = c.Near.Close()
		_ = c.Transport.Close()
	})
	return m
}

// stub is a dialer with one answer.
type stub struct{ err error }

func (s stub) Dial(context.Context, string, transport.Identity) (transport.Stream, error) {
	if s.err != nil {
		return nil, s.err
	}
	return named{}, nil
}

type named struct{ transport.Stream }

func (named) Carrier() string { return "quic" }

func TestCarrierChooses(t *testing.T) {
	elsewhere, away := transport.NotNear{Reason: "b[0] is not on this host"}, errors.New("the hook is away")
	for name, c := range map[string]struct {
		wants            pipeline.Transport
		near             error
		over, fails, why string // the stream's carrier, the error, why the edge can never have what it wants
	}{
		"what it says is quic":   {pipeline.QUIC, nil, "quic", "", ""},
		"beside each other":      {pipeline.Auto, nil, "quic", "", ""}, // the stub's word
		"on two hosts":           {pipeline.Auto, elsewhere, "quic: b[0] is not on this host", "", ""},
		"an old pipeline":        {"", elsewhere, "quic: b[0] is not on this host", "", ""},
		"without the hook":       {pipeline.Auto, away, "quic: the hook is away", "", ""},
		"shm on two hosts":       {pipeline.SHM, elsewhere, "", "transport: shm, which can't be had: b[0] is not", "link to b[0]: its edge wants transport: shm"},
		"shm without the hook":   {pipeline.SHM, away, "", "the hook is away", ""},
		"shm, the peer is wrong": {pipeline.SHM, transport.ErrRefused, "", "refused", ""},
	} {
		t.Run(name, func(t *testing.T) {
			why := ""
			d := &transport.Way{Wish: string(c.wants), Near: stub{c.near}, Far: stub{}, Impossible: func(err error) { why = err.Error() }}
			s, err := d.Dial(t.Context(), "", transport.Identity{Stage: "b"})
			switch {
			case c.over != "" && (err != nil || s.(transport.Carrier).Carrier() != c.over):
				t.Errorf("got %v, %v", s, err)
			case c.over == "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
				t.Errorf("got %v", err)
			}
			if (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("impossible: %q", why)
			}
		})
	}
}

// gateway is a dialer that is closed until it is opened.
type gateway struct {
	transport.Dialer
	closed atomic.Pointer[error]
	tried  atomic.Int64
}

func (g *gateway) Dial(ctx context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	g.tried.Add(1)
	if err := g.closed.Load(); err != nil {
		return nil, *err
	}
	return g.Dialer.Dial(ctx, addr, peer)
}

// TestLinkMovesUp: a link that had to go over QUIC goes over to shared memory when that can be had, under load, and
// one that can't ever have it doesn't ask again.
func TestLinkMovesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	board := ringtest.NewBoard(t)
	ca, err := identity.NewCA("guest", "p", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, b := transport.Identity{Namespace: "guest", Pipeline: "p", Stage: "a", Incarnation: 1}, transport.Identity{Namespace: "guest", Pipeline: "p", Stage: "b", Incarnation: 1}
	farA, farB, nearA, nearB := overQUIC(t, ca, a), overQUIC(t, ca, b), board.Listen(a), board.Listen(b)
	full, never := error(transport.NotNear{Reason: "the hook has no memory left", Later: true}), error(transport.NotNear{Reason: "another host"})
	gate, wall := &gateway{Dialer: onBoard{nearA}}, &gateway{Dialer: onBoard{nearA}}
	gate.closed.Store(&full)
	wall.closed.Store(&never)
	moves, stays := newWay(t, pipeline.Auto, gate, farA), newWay(t, pipeline.Auto, wall, farA)
	sender := meshOf(t, quicmesh.Config{Self: a, Transport: farA, Near: nearA, Out: []quicmesh.OutEdge{
		{ID: 0, To: "b", Routing: route.Balance, Replicas: 1, Dialer: moves}, {ID: 1, To: "b", Routing: route.Balance, Replicas: 1, Dialer: stays}}})
	receiver := meshOf(t, quicmesh.Config{Self: b, Transport: farB, Near: nearB, In: []quicmesh.InEdge{
		{ID: 0, From: "a", Routing: route.Balance, Replicas: 1}, {ID: 1, From: "a", Routing: route.Balance, Replicas: 1}}})
	receiver.Accept()
	sender.SetPeers([]quicmesh.Peer{{Stage: "b", Incarnation: 1, Addr: farB.Addr()}})
	if err := sender.WaitLinks(ctx); err != nil {
		t.Fatal(err)
	}
	over := func(link int) string { return sender.Stats().Links[link].Carrier }
	if over(0) != "quic: the hook has no memory left" || over(1) != "quic: another host" {
		t.Fatalf("links over %q and %q", over(0), over(1))
	}
	sent := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				sent <- sender.End(ctx)
				return
			default:
			}
			err = sender.Send(ctx, 0, &quicmesh.Event{Payload: fmt.Append(nil, i)})
		}
		sent <- err
	}()
	opened, got := false, 0
	for items := []quicmesh.Item(nil); ; {
		if items, err = receiver.Receive(ctx, items[:0]); err != nil {
			t.Fatalf("after %d events over %q: %v", got, over(0), err)
		}
		for _, it := range items {
			switch {
			case it.Kind == quicmesh.KindEnd && it.Edge == 0:
				if err := <-sent; err != nil || over(0) != "shm" || over(1) != "quic: another host" || wall.tried.Load() != 1 {
					t.Errorf("links over %q and %q, the second after %d tries; %v", over(0), over(1), wall.tried.Load(), err)
				}
				if l := sender.Stats().Links; l[0].RTT != 0 || l[1].RTT == 0 || l[0].Bytes == 0 {
					t.Errorf("links %+v", l)
				}
				return
			case it.Kind != quicmesh.KindEvent:
				continue
			case string(it.Frame.Payload) != fmt.Sprint(got):
				t.Fatalf("event %q came after %d", it.Frame.Payload, got-1)
			}
			it.Release()
			if got++; got == 1000 {
				gate.closed.Store(nil)
				moves.Looks.Now() // as when the hook says that it has room
				opened = true
			}
			if opened && over(0) == "shm" {
				opened = false
				close(stop)
			}
		}
	}
}

// TestLinkLooksAgain: without a word of anybody a link tries again by itself, more and more rarely.
func TestLinkLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := error(transport.NotNear{Reason: "full", Later: true})
		gate := &gateway{Dialer: stub{}}
		gate.closed.Store(&full)
		c := newWay(t, pipeline.Auto, gate, stub{})
		if _, err := c.Dial(t.Context(), "", transport.Identity{Stage: "b"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n := gate.tried.Load(); n < 60 || n > 180 {
			t.Errorf("%d tries in an hour", n)
		}
	})
}
