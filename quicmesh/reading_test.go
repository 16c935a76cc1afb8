package quicmesh_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/route"
)

// TestWhoReceivesHearsOfAllElse: who waits in the only link's ring himself hears of what comes another way.
func TestWhoReceivesHearsOfAllElse(t *testing.T) {
	g := newGraph(t, 0, map[string]int{"a": 2, "b": 1}, edge{"a", "b", route.Balance})
	overRings(t, g)
	defer g.close()
	b, a := g.start("b", 0, 1), g.start("a", 0, 1)
	b.Accept()
	g.tell()
	g.send(a, 0, "first")
	g.expect(b, "first")

	type received struct {
		items []quicmesh.Item
		err   error
	}
	got := make(chan received)
	receive := func(ctx context.Context) {
		go func() { // while the link is read by nobody else
			items, err := b.Receive(ctx, nil)
			got <- received{items, err}
		}()
	}
	ctx, cancel := context.WithCancel(context.Background())
	receive(ctx)
	cancel()
	if r := <-got; !errors.Is(r.err, context.Canceled) {
		t.Fatalf("received %d items, %v, when the context ended", len(r.items), r.err)
	}
	receive(ctx)
	if r := <-got; !errors.Is(r.err, context.Canceled) {
		t.Fatalf("received %d items, %v, after the context's end", len(r.items), r.err)
	}

	receive(context.Background())
	b.Rollback(frame.MakeAttempt(1, 2))
	if r := <-got; r.err != nil || len(r.items) != 1 || r.items[0].Kind != quicmesh.KindRollback {
		t.Fatalf("received %d items, %v, instead of the rollback", len(r.items), r.err)
	}
	// The sender hears of it first: who receives waits for his own.
	third := frame.MakeAttempt(1, 3)
	receive(context.Background())
	a.Rollback(third)
	g.send(a, 0, "third")
	b.Rollback(third)
	if r := <-got; r.err != nil || r.items[0].Kind != quicmesh.KindRollback || r.items[0].Attempt != third {
		t.Fatalf("received %d items, %v, instead of the second rollback", len(r.items), r.err)
	} else if len(r.items) == 1 {
		g.expect(b, "third")
	}

	receive(context.Background()) // another link, then the first again
	other := g.start("a", 1, 1)
	other.Rollback(third)
	g.tell()
	g.send(other, 0, "other")
	if r := <-got; r.err != nil || describe(&r.items[0]) != "other" {
		t.Fatalf("received %d items, %v, from the other link", len(r.items), r.err)
	}
	receive(context.Background())
	g.send(a, 0, "again")
	if r := <-got; r.err != nil || describe(&r.items[0]) != "again" {
		t.Fatalf("received %d items, %v, from the first link", len(r.items), r.err)
	}

	receive(context.Background())
	_ = b.Close()
	if r := <-got; !errors.Is(r.err, quicmesh.ErrClosed) {
		t.Fatalf("received %d items, %v, from a closed mesh", len(r.items), r.err)
	}
}

// TestEndIsSeenWhileNobodyReceives: who received last has other things to do, and the peer goes.
func TestEndIsSeenWhileNobodyReceives(t *testing.T) {
	g := pair(t, 0)
	overRings(t, g)
	defer g.close()
	g.startAll()
	a, b := g.node("a", 0), g.node("b", 0)
	g.send(a, 0, "first")
	g.expect(b, "first")
	g.send(a, 0, "last words")
	if err := a.Flush(); err != nil {
		t.Fatal(err)
	}
	_ = a.Mesh.Close()
	for ctx := g.deadline(); b.Stats().Links[0].Up; {
		if ctx.Err() != nil {
			t.Fatal("the link is still up")
		}
	}
	g.expect(b, "last words")
}

// TestAttemptToComeIsReadOnce: what came before its attempt has begun here stays as it came, however often somebody
// receives until then.
func TestAttemptToComeIsReadOnce(t *testing.T) {
	g := pair(t, 0)
	overRings(t, g)
	defer g.close()
	g.startAll()
	a, b := g.node("a", 0), g.node("b", 0)
	g.send(a, 0, "first")
	g.expect(b, "first")
	const events = 100
	for n := uint32(2); n < 12; n++ {
		next := frame.MakeAttempt(1, n)
		got := make(chan error)
		go func() {
			items, err := b.Receive(context.Background(), make([]quicmesh.Item, 0, 1))
			if err == nil && describe(&items[0]) != "rollback 1."+fmt.Sprint(n) {
				err = fmt.Errorf("received %q", describe(&items[0]))
			}
			got <- err
		}()
		a.Rollback(next)
		if it := g.next(a); it.Kind != quicmesh.KindRollback {
			t.Fatalf("received %q", describe(&it))
		}
		for i := range events {
			g.send(a, 0, fmt.Sprint("event ", n, " ", i))
			runtime.Gosched()
		}
		b.Rollback(next)
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		for i := range events {
			g.expect(b, fmt.Sprint("event ", n, " ", i))
		}
	}
}
