package quicnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/quicnet"
)

// Links have connections of their own as long as there are few, and one that is closed leaves its to the next.
func TestFewConnectionsForAllLinks(t *testing.T) {
	ca := newCA(t, "guest", "words")
	var handshakes atomic.Int64
	to := listen(t, quicnet.Config{Authorize: func(transport.Identity) error {
		handshakes.Add(1)
		return nil
	}}, ca, count)
	defer to.Close()
	from := listen(t, quicnet.Config{}, ca, split)
	defer from.Close()
	dial := func() transport.Stream {
		s, err := from.Dial(t.Context(), to.Addr(), count)
		if err != nil {
			t.Error(err)
		}
		return s
	}
	for range 3 {
		dial().Close()
	}
	if n := handshakes.Load(); n != 1 {
		t.Errorf("%d connections for one link after the other", n)
	}
	var dials sync.WaitGroup
	for range 10 {
		dials.Go(func() { dial() })
	}
	dials.Wait()
	if n := handshakes.Load(); n != 4 {
		t.Errorf("%d connections for 10 links", n)
	}
}

// TestSharedDialOutlivesItsFirstCaller has one caller give up while others wait for its handshake.
func TestSharedDialOutlivesItsFirstCaller(t *testing.T) {
	ca := newCA(t, "guest", "words")
	given := make(chan struct{})
	to := listen(t, quicnet.Config{Authorize: func(transport.Identity) error {
		<-given
		return nil
	}}, ca, count)
	defer to.Close()
	from := listen(t, quicnet.Config{}, ca, split)
	defer from.Close()
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 2)
	go func() {
		_, err := from.Dial(ctx, to.Addr(), count)
		results <- err
	}()
	second := make(chan error, 1)
	go func() {
		_, err := from.Dial(t.Context(), to.Addr(), count)
		second <- err
	}()
	cancel()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that gave up: %v", err)
	}
	close(given)
	if err := <-second; err != nil {
		t.Errorf("the other: %v", err)
	}
}

// TestLinksAreLimited opens as many as a peer allows; closing one on both sides makes room.
func TestLinksAreLimited(t *testing.T) {
	const limit = 64
	ca := newCA(t, "guest", "words")
	from, to := listen(t, quicnet.Config{}, ca, split), listen(t, quicnet.Config{}, ca, count)
	defer from.Close()
	defer to.Close()
	var near, far [limit]transport.Stream
	for i := range limit {
		var err error
		if near[i], err = from.Dial(t.Context(), to.Addr(), count); err != nil {
			t.Fatal(err)
		}
		near[i].Write([]byte{0})
		if far[i], err = to.Accept(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := from.Dial(ctx, to.Addr(), count); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("link %d: %v", limit+1, err)
	}
	near[3].Close()
	if _, err := io.ReadAll(far[3]); err != nil {
		t.Error(err)
	}
	far[3].Close()
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := from.Dial(ctx, to.Addr(), count); err != nil {
		t.Errorf("after a link was closed: %v", err)
	}
}

// Packets that are none of QUIC's, empty and oversized ones among them, come between those that are.
func TestStrayPackets(t *testing.T) {
	ca := newCA(t, "guest", "words")
	from, to := listen(t, quicnet.Config{}, ca, split), listen(t, quicnet.Config{}, ca, count)
	defer from.Close()
	defer to.Close()
	stray, err := net.Dial("udp", to.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer stray.Close()
	near, err := from.Dial(t.Context(), to.Addr(), count)
	if err != nil {
		t.Fatal(err)
	}
	const total = 4 << 20
	go func() {
		b := make([]byte, total)
		for i := range b {
			b[i] = byte(i * i >> 8)
		}
		for len(b) > 0 {
			for _, n := range []int{0, 1, 1400, 3000, 0} {
				stray.Write(make([]byte, n))
			}
			if _, err := near.Write(b[:64<<10]); err != nil {
				t.Error(err)
				return
			}
			b = b[64<<10:]
		}
	}()
	far, err := to.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, total)
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != byte(i*i>>8) {
			t.Fatalf("byte %d is wrong", i)
		}
	}
}

// TestAddresses: links between sockets of both families, and of one that has both.
func TestAddresses(t *testing.T) {
	for _, c := range []struct{ from, to, at string }{
		{"127.0.0.1", "127.0.0.1", "127.0.0.1"}, {"::1", "::1", "::1"}, {"::", "::1", "::1"}, {"::", "127.0.0.1", "127.0.0.1"},
		{"127.0.0.1", "::", "127.0.0.1"}, {"0.0.0.0", "0.0.0.0", "127.0.0.1"},
	} {
		if s, err := net.ListenPacket("udp", net.JoinHostPort(c.from, "0")); err != nil {
			t.Logf("%s: %v", c.from, err)
			continue
		} else {
			_ = s.Close()
		}
		ca := newCA(t, "guest", "words")
		to := listen(t, quicnet.Config{ListenIP: c.to}, ca, count)
		from := listen(t, quicnet.Config{ListenIP: c.from}, ca, split)
		_, port, _ := net.SplitHostPort(to.Addr())
		near, err := from.Dial(t.Context(), net.JoinHostPort(c.at, port), count)
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		if _, err := near.Write([]byte("weft")); err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		far, err := to.Accept(t.Context())
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		b := make([]byte, 4)
		if _, err := io.ReadFull(far, b); err != nil || string(b) != "weft" {
			t.Errorf("%v: %q, %v", c, b, err)
		}
		_ = from.Close()
		_ = to.Close()
	}
}
