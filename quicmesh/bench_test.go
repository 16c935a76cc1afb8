package quicmesh_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/quicnet"
)

// carriers is the transports to measure, by name.
var carriers = []struct {
	name   string
	listen func(testing.TB, *graph)
}{
	{"pipe", overPipes}, // the mesh alone
	{"memnet", func(testing.TB, *graph) {}},
	{"quic", overQUIC},
}

// overQUIC puts a graph's slots on real sockets.
func overQUIC(t testing.TB, g *graph) {
	ca, err := identity.NewCA("guest", "p", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g.listen = func(self transport.Identity, _ string) transport.Transport {
		tr, err := quicnet.New(quicnet.Config{Self: self, Cert: certificate(t, ca, self), CA: ca.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
}

func certificate(t testing.TB, ca *identity.CA, self transport.Identity) tls.Certificate {
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := ca.Sign(key.Request(), self, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := key.Certificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// BenchmarkEvents sends one way as fast as the receiver takes events.
func BenchmarkEvents(b *testing.B) {
	for _, carrier := range carriers {
		for _, size := range []int{100, 1000, 64 << 10} {
			b.Run(fmt.Sprint(carrier.name, "/", size), func(b *testing.B) {
				g := pair(b, 0)
				carrier.listen(b, g)
				defer g.close()
				g.startAll()
				from, to := g.node("a", 0), g.node("b", 0)
				ev := quicmesh.Event{ID: []byte("s[0]/123"), Payload: make([]byte, size)}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				go func() {
					for range b.N {
						if err := from.Send(context.Background(), 0, &ev); err != nil {
							b.Error(err)
							return
						}
					}
				}()
				for got := 0; got < b.N; {
					items, err := to.Receive(context.Background(), to.buf)
					if err != nil {
						b.Fatal(err)
					}
					got += len(items)
					for i := range items {
						items[i].Release()
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// asker sends an event there, waits for it to come back, and gives the time it took.
func asker(b *testing.B, carry func(testing.TB, *graph), size int) func() time.Duration {
	g := newGraph(b, 0, map[string]int{"a": 1, "b": 1}, edge{"a", "b", route.Forward}, edge{"b", "a", route.Forward})
	carry(b, g)
	g.startAll()
	b.Cleanup(g.close)
	near, far := g.node("a", 0), g.node("b", 0)
	ctx := context.Background()
	go func() {
		for {
			items, err := far.Receive(ctx, far.buf)
			if err != nil {
				return
			}
			for i := range items {
				if far.Send(ctx, 1, &quicmesh.Event{Payload: items[i].Frame.Payload}) != nil {
					return
				}
				items[i].Release()
			}
		}
	}()
	ev := quicmesh.Event{Payload: make([]byte, size)}
	return func() time.Duration {
		begin := time.Now()
		if err := near.Send(ctx, 0, &ev); err != nil {
			b.Fatal(err)
		}
		items, err := near.Receive(ctx, near.buf)
		if err != nil {
			b.Fatal(err)
		}
		items[0].Release()
		return time.Since(begin)
	}
}

func BenchmarkHop(b *testing.B) {
	for _, carrier := range carriers {
		b.Run(carrier.name, func(b *testing.B) {
			ask := asker(b, carrier.listen, 100)
			b.ReportAllocs()
			var sum time.Duration
			for b.Loop() {
				sum += ask()
			}
			b.ReportMetric(float64(sum.Nanoseconds())/float64(2*b.N), "ns/hop")
		})
	}
}

// BenchmarkBulk sends events of 1 MiB over a ring, and copies as many into and out of a buffer of 16: of-memcpy is
// how near the first comes to the second, which needs no second process.
func BenchmarkBulk(b *testing.B) {
	const size = 1 << 20
	g := pair(b, 0)
	overRings(b, g)
	inner := g.tune
	g.tune = func(c *quicmesh.Config) {
		if inner != nil {
			inner(c)
		}
		c.Window = 4 * size
	}
	defer g.close()
	g.startAll()
	from, to := g.node("a", 0), g.node("b", 0)
	ev := quicmesh.Event{Payload: make([]byte, size)}
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	began := time.Now()
	go func() {
		for range b.N {
			if err := from.Send(context.Background(), 0, &ev); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	for got := 0; got < b.N; {
		items, err := to.Receive(context.Background(), to.buf)
		if err != nil {
			b.Fatal(err)
		}
		for i := range items {
			items[i].Release()
		}
		got += len(items)
	}
	mesh := time.Since(began)
	b.StopTimer()
	ring, out := make([]byte, 16*size), make([]byte, size)
	clear(ring) // memory that is new costs more than a copy
	began = time.Now()
	for i := range b.N {
		at := ring[i%16*size:][:size]
		copy(at, ev.Payload)
		copy(out, at)
	}
	b.ReportMetric(float64(time.Since(began))/float64(mesh), "of-memcpy")
}

// BenchmarkHopQUIC compares an event there and back with the same bytes echoed over bare quic-go, by
// turns, so that both see the same machine.
func BenchmarkHopQUIC(b *testing.B) {
	for _, size := range []int{100, 4096} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			ask, askRaw := asker(b, overQUIC, size), rawAsker(b, size+56)
			var ours, raw time.Duration
			for b.Loop() {
				ours += ask()
				raw += askRaw()
			}
			b.ReportMetric(float64(ours.Nanoseconds())/float64(2*b.N), "ns/hop")
			b.ReportMetric(float64(raw.Nanoseconds())/float64(2*b.N), "raw-ns/hop")
			b.ReportMetric(float64(ours)/float64(raw), "mesh/raw")
		})
	}
}

// rawAsker echoes over a stream of quic-go's alone, with its defaults.
func rawAsker(b *testing.B, size int) func() time.Duration {
	ca, err := identity.NewCA("guest", "p", time.Now())
	if err != nil {
		b.Fatal(err)
	}
	cert := certificate(b, ca, identity0)
	server, err := quic.ListenAddr("127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"raw"}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		conn, err := server.Accept(context.Background())
		if err != nil {
			return
		}
		s, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		for buf := make([]byte, size); ; {
			if _, err := io.ReadFull(s, buf); err != nil {
				return
			}
			if _, err := s.Write(buf); err != nil {
				return
			}
		}
	}()
	conn, err := quic.DialAddr(b.Context(), server.Addr().String(),
		&tls.Config{RootCAs: ca.Pool(), ServerName: identity.ServerName, NextProtos: []string{"raw"}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.CloseWithError(0, ""); server.Close() })
	s, err := conn.OpenStreamSync(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, size)
	return func() time.Duration {
		begin := time.Now()
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, buf); err != nil {
			b.Fatal(err)
		}
		return time.Since(begin)
	}
}

var identity0 = slotIdentity(quicmesh.Slot{Stage: "a"}, 1)

// processorTime is what this process has used: others on the machine don't change it much.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkProgress passes events on as fast as they come, without a progress and with one: what a mesh pays
// for going on after its process's death.
func BenchmarkProgress(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(map[bool]string{false: "without", true: "with"}[with], func(b *testing.B) {
			g := newGraph(b, 0, map[string]int{"a": 1, "m": 1, "z": 1}, edge{"a", "m", route.Forward}, edge{"m", "z", route.Forward})
			overPipes(b, g)
			inner := g.tune
			g.tune = func(c *quicmesh.Config) {
				if inner != nil {
					inner(c)
				}
				if with {
					c.Progress = make([]byte, quicmesh.ProgressSize(4))
				}
			}
			defer g.close()
			g.startAll()
			a, m, z := g.node("a", 0), g.node("m", 0), g.node("z", 0)
			ev := quicmesh.Event{ID: []byte("s[0]/123"), Payload: make([]byte, 100)}
			b.ReportAllocs()
			b.ResetTimer()
			before := processorTime(b)
			go func() {
				for range b.N {
					if err := a.Send(context.Background(), 0, &ev); err != nil {
						b.Error(err)
						return
					}
				}
			}()
			pass := func(n *node, then func(*quicmesh.Item) error) {
				for got := 0; got < b.N; {
					items, err := n.Receive(context.Background(), n.buf)
					if err != nil {
						b.Error(err)
						return
					}
					got += len(items)
					for i := range items {
						if err := then(&items[i]); err != nil {
							b.Error(err)
							return
						}
						items[i].Release()
					}
				}
			}
			go pass(m, func(it *quicmesh.Item) error {
				return m.Send(context.Background(), 1, &quicmesh.Event{ID: it.Frame.ID, Payload: it.Frame.Payload})
			})
			pass(z, func(*quicmesh.Item) error { return nil })
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
