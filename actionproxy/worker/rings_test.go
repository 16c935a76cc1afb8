package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring/ringtest"
)

// mover is an edge's carrier whose wish changes.
type mover struct {
	transport.Way
	mu     sync.Mutex
	stream transport.Stream
}

func (m *mover) Dial(ctx context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	m.mu.Lock()
	c := m.Way
	m.mu.Unlock()
	s, err := c.Dial(ctx, addr, peer)
	if err == nil {
		m.mu.Lock()
		m.stream = s
		m.mu.Unlock()
	}
	return s, err
}

// move changes the wish, and breaks the link.
func (m *mover) move(to pipeline.Transport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Wish = string(to)
	_ = m.stream.Close()
}

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
	way := &mover{Way: transport.Way{Wish: transport.WishSHM, Near: onBoard{nearA}, Far: farA}}
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

// awaitCarrier moves the link and waits until it is up there.
func awaitCarrier(ctx context.Context, t *testing.T, m *quicmesh.Mesh, way *mover, to pipeline.Transport) {
	t.Helper()
	way.move(to)
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
			d := transport.Way{Wish: string(c.wants), Near: stub{c.near}, Far: stub{}, Impossible: func(err error) { why = err.Error() }}
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
