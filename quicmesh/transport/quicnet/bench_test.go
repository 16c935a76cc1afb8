package quicnet_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/quicnet"
)

// ends gives a stream from split to count over quicnet.
func ends(b *testing.B) (near, far transport.Stream) {
	ca := newCA(b, "guest", "words")
	from, to := listen(b, quicnet.Config{}, ca, split), listen(b, quicnet.Config{}, ca, count)
	b.Cleanup(func() { from.Close(); to.Close() })
	near, err := from.Dial(b.Context(), to.Addr(), count)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := near.Write([]byte{0}); err != nil {
		b.Fatal(err)
	}
	if far, err = to.Accept(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
	return near, far
}

// rawEnds gives a stream of quic-go's alone, with its defaults.
func rawEnds(b *testing.B) (near, far io.ReadWriter) {
	ca := newCA(b, "guest", "words")
	key, err := identity.NewKey()
	if err != nil {
		b.Fatal(err)
	}
	der, err := ca.Sign(key.Request(), count, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	certificate, err := key.Certificate(der)
	if err != nil {
		b.Fatal(err)
	}
	server, err := quic.ListenAddr("127.0.0.1:0",
		&tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"raw"}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	conn, err := quic.DialAddr(b.Context(), server.Addr().String(),
		&tls.Config{RootCAs: ca.Pool(), ServerName: identity.ServerName, NextProtos: []string{"raw"}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.CloseWithError(0, ""); server.Close() })
	dialled, err := conn.OpenStreamSync(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := dialled.Write([]byte{0}); err != nil {
		b.Fatal(err)
	}
	accepted, err := server.Accept(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	s, err := accepted.AcceptStream(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
	return dialled, s
}

// echo answers pieces until the stream ends.
func echo(s io.ReadWriter, size int) {
	for buf := make([]byte, size); ; {
		if _, err := io.ReadFull(s, buf); err != nil {
			return
		}
		if _, err := s.Write(buf); err != nil {
			return
		}
	}
}

// BenchmarkHop asks and answers over a stream that stays, by turns on quicnet and on bare quic-go, so
// that both see the same machine.
func BenchmarkHop(b *testing.B) {
	for _, size := range []int{64, 4096} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			near, far := ends(b)
			go echo(far, size)
			rawNear, rawFar := rawEnds(b)
			go echo(rawFar, size)
			buf := make([]byte, size)
			ask := func(s io.ReadWriter) time.Duration {
				begin := time.Now()
				if _, err := s.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(s, buf); err != nil {
					b.Fatal(err)
				}
				return time.Since(begin)
			}
			var ours, raw time.Duration
			for b.Loop() {
				ours += ask(near)
				raw += ask(rawNear)
			}
			b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N), "quicnet-ns/op")
			b.ReportMetric(float64(raw.Nanoseconds())/float64(b.N), "raw-ns/op")
			b.ReportMetric(float64(ours)/float64(raw), "quicnet/raw")
		})
	}
}

// BenchmarkThroughput writes one way as fast as the peer reads.
func BenchmarkThroughput(b *testing.B) {
	const size = 256 << 10
	run := func(b *testing.B, near io.Writer, far io.Reader) {
		go func() {
			for buf := make([]byte, size); ; {
				if _, err := near.Write(buf); err != nil {
					return
				}
			}
		}()
		buf := make([]byte, size)
		b.SetBytes(size)
		for b.Loop() {
			if _, err := io.ReadFull(far, buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("quicnet", func(b *testing.B) {
		near, far := ends(b)
		run(b, near, far)
	})
	b.Run("raw", func(b *testing.B) {
		near, far := rawEnds(b)
		run(b, near, far)
	})
}

// BenchmarkIdle is what it costs for a second to keep a connection on which nothing happens, both ends of it.
func BenchmarkIdle(b *testing.B) {
	const conns = 50
	ca := newCA(b, "guest", "words")
	to := listen(b, quicnet.Config{}, ca, count)
	b.Cleanup(func() { to.Close() })
	for i := range conns {
		self := split
		self.Index = i
		from := listen(b, quicnet.Config{}, ca, self)
		b.Cleanup(func() { from.Close() })
		if _, err := from.Dial(b.Context(), to.Addr(), count); err != nil {
			b.Fatal(err)
		}
	}
	began, used := time.Now(), cpuTime(b)
	for b.Loop() {
		time.Sleep(time.Second)
	}
	b.ReportMetric(float64(cpuTime(b)-used)/float64(time.Since(began))/conns, "cores/conn")
}

func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
