// Package transporttest is the one conformance suite of transports. What the mesh relies on is tested
// here, and every implementation passes it.
package transporttest

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// Factory makes the transport of a slot, on an address of its own where slots of the same factory
// reach it. Run closes it.
type Factory func(self transport.Identity) transport.Transport

// patience is how long anything may take that is expected to happen.
const patience = 10 * time.Second

// Run tests the transports of factories; every test makes one.
func Run(t *testing.T, factory func(t *testing.T) Factory) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *bench)
	}{
		{"order", testOrder},
		{"large writes", testLargeWrites},
		{"concurrent streams", testConcurrentStreams},
		{"back-pressure", testBackPressure},
		{"close delivers what was written", testCloseDelivers},
		{"close ends the peer's writes", testCloseEndsPeer},
		{"close unblocks reads and writes", testCloseUnblocks},
		{"peer", testPeer},
		{"wrong identity", testWrongIdentity},
		{"nobody there", testNobodyThere},
		{"same address again", testSameAddressAgain},
		{"closed transport", testClosedTransport},
		{"closing unblocks", testClosingUnblocks},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			b := &bench{t: t, factory: factory(t)}
			b.ctx, b.cancel = context.WithTimeout(t.Context(), patience)
			c.test(t, b)
			b.tearDown(before)
		})
	}
}

// bench has the transports of one test.
type bench struct {
	t       *testing.T
	ctx     context.Context
	cancel  context.CancelFunc
	factory Factory
	made    []transport.Transport
}

// slot is the identity of a slot of the suite's pipeline.
func slot(stage string, index int) transport.Identity {
	return transport.Identity{Namespace: "guest", Pipeline: "words", Stage: stage, Index: index, Incarnation: 3}
}

func (b *bench) listen(self transport.Identity) transport.Transport {
	tr := b.factory(self)
	b.made = append(b.made, tr)
	return tr
}

// dial opens a stream and writes one byte, so that the acceptor sees it.
func (b *bench) dial(from, to transport.Transport, peer transport.Identity) transport.Stream {
	b.t.Helper()
	s, err := from.Dial(b.ctx, to.Addr(), peer)
	if err != nil {
		b.t.Fatalf("dial: %v", err)
	}
	if _, err := s.Write([]byte{'!'}); err != nil {
		b.t.Fatalf("first write: %v", err)
	}
	return s
}

// accept takes the stream that dial opened.
func (b *bench) accept(at transport.Transport) transport.Stream {
	b.t.Helper()
	s, err := at.Accept(b.ctx)
	if err != nil {
		b.t.Fatalf("accept: %v", err)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(s, first); err != nil || first[0] != '!' {
		b.t.Fatalf("first read: %q, %v", first, err)
	}
	return s
}

// pair gives both ends of a stream between two new slots.
func (b *bench) pair() (near, far transport.Stream) {
	b.t.Helper()
	from, to := b.listen(slot("split", 0)), b.listen(slot("count", 1))
	near = b.dial(from, to, slot("count", 1))
	return near, b.accept(to)
}

// within waits for what a goroutine reports.
func within[T any](b *bench, what string, c <-chan T) T {
	b.t.Helper()
	select {
	case v := <-c:
		return v
	case <-b.ctx.Done():
		b.t.Fatalf("%s: nothing within %v", what, patience)
		panic("unreachable")
	}
}

// wantErr fails the test unless err is want.
func (b *bench) wantErr(what string, err, want error) {
	b.t.Helper()
	if !errors.Is(err, want) {
		b.t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// tearDown closes all transports and waits until their goroutines are gone.
func (b *bench) tearDown(before int) {
	for _, tr := range b.made {
		if err := tr.Close(); err != nil {
			b.t.Errorf("close: %v", err)
		}
	}
	b.cancel()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			b.t.Fatalf("goroutines left:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
	}
}
