package memnet_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/memnet"
)

func slot(stage string) transport.Identity {
	return transport.Identity{Namespace: "guest", Pipeline: "p", Stage: stage, Incarnation: 1}
}

// join gives both ends of a stream from "a" to "b".
func join(t *testing.T, n *memnet.Network) (near, far transport.Stream) {
	t.Helper()
	a, b := n.Listen(slot("a"), "a"), n.Listen(slot("b"), "b")
	t.Cleanup(func() { a.Close(); b.Close() })
	near, err := a.Dial(t.Context(), "b", slot("b"))
	if err != nil {
		t.Fatal(err)
	}
	far, err = b.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

func TestCutBreaksStreamsAndDialsUntilHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(memnet.Config{})
		a, b := n.Listen(slot("a"), "a"), n.Listen(slot("b"), "b")
		near, err := a.Dial(t.Context(), "b", slot("b"))
		if err != nil {
			t.Fatal(err)
		}
		far, err := b.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		near.Write([]byte("in flight"))
		n.Cut("b", "a")
		if _, err := far.Read(make([]byte, 9)); !errors.Is(err, memnet.ErrCut) {
			t.Errorf("read after a cut: %v", err)
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, memnet.ErrCut) {
			t.Errorf("write after a cut: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Dial(ctx, "b", slot("b")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial over a cut: %v", err)
		}
		time.AfterFunc(time.Minute, func() { n.Heal("a", "b") })
		if _, err := a.Dial(t.Context(), "b", slot("b")); err != nil {
			t.Errorf("dial that waits for the heal: %v", err)
		}
		a.Close()
		b.Close()
	})
}

func TestDelayKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(memnet.Config{Seed: 7})
		near, far := join(t, n)
		n.Delay("a", "b", time.Second)
		begin := time.Now()
		go func() {
			for i := range 100 {
				near.Write([]byte{byte(i)})
			}
			near.Close()
		}()
		got, err := io.ReadAll(far)
		if err != nil || len(got) != 100 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		for i, b := range got {
			if int(b) != i {
				t.Fatalf("byte %d is %d", i, b)
			}
		}
		if took := time.Since(begin); took < time.Second/2 || took > 2*time.Second {
			t.Errorf("simulated time %v for a delay of a second", took)
		}
	})
}

func TestSeedSplitsReads(t *testing.T) {
	near, far := join(t, memnet.New(memnet.Config{Seed: 1}))
	near.Write(make([]byte, 1000))
	near.Close()
	reads, total := 0, 0
	for buf := make([]byte, 1000); ; reads++ {
		n, err := far.Read(buf)
		total += n
		if err == io.EOF {
			break
		}
	}
	if total != 1000 || reads < 2 {
		t.Errorf("%d bytes in %d reads, want 1000 in several", total, reads)
	}
}
