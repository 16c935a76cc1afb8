package quicmesh_test

import (
	"bytes"
	"errors"
	"runtime/pprof"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/route"
)

func TestCloseEndsBlockedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		defer g.close()
		a := g.start("a", 0, 1)
		errs := make(chan error)
		go func() { errs <- a.Send(t.Context(), 0, &quicmesh.Event{}) }()
		go func() { errs <- a.WaitLinks(t.Context()) }()
		go func() { _, err := a.Receive(t.Context(), nil); errs <- err }()
		synctest.Wait()
		a.Mesh.Close()
		a.Mesh.Close()
		for range 3 {
			if err := <-errs; !errors.Is(err, quicmesh.ErrClosed) {
				t.Error(err)
			}
		}
		if err := a.Flush(); !errors.Is(err, quicmesh.ErrClosed) {
			t.Error(err)
		}
		if err := a.Open(t.Context()); !errors.Is(err, quicmesh.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestCloseSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		defer g.close()
		g.startAll()
		g.send(g.node("a", 0), 0, "last words")
		if err := g.node("a", 0).Flush(); err != nil {
			t.Fatal(err)
		}
		g.node("a", 0).Mesh.Close()
		g.expect(g.node("b", 0), "last words")
		synctest.Wait()
		if s := g.node("b", 0).Stats().Links[0]; s.Up {
			t.Errorf("still up: %+v", s)
		}
	})
}

// A peer that reads nothing does not keep Close waiting for longer than the grace; nor does a stream
// without a hello.
func TestCloseDoesNotWaitForStuckPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		g.tune = func(c *quicmesh.Config) { c.Window = 8 << 20 }
		a := g.start("a", 0, 1)
		peer := quicmesh.Peer{Stage: "b", Incarnation: 1, Addr: "stuck"}
		own := g.net.Listen(slotIdentity(peer.Slot(), 1), peer.Addr)
		defer own.Close()
		a.SetPeers([]quicmesh.Peer{peer})
		s, err := own.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d := &dialled{s, t, own}
		d.read()
		d.write(frame.Frame{Header: frame.Header{Type: frame.Welcome}, Payload: []byte(`{"window":8000000,"credit":8000000}`)})
		for range 100 {
			if err := a.Send(t.Context(), 0, &quicmesh.Event{Payload: make([]byte, 60_000)}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		begin := time.Now()
		a.close()
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("Close took a simulated %v", took)
		}
	})
}

// After Close no goroutine of the mesh is left. (In a synctest bubble any left-over fails the test,
// too; this one is without.)
func TestCloseLeavesNoGoroutine(t *testing.T) {
	g := newGraph(t, 0, map[string]int{"a": 2, "b": 3}, edge{"a", "b", route.Broadcast})
	g.startAll()
	g.send(g.node("a", 0), 0, "x")
	g.expect(g.node("b", 2), "x")
	g.close()
	var left string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if left = ours(); left == "" {
			return
		}
	}
	t.Errorf("left over:\n%s", left)
}

// ours is the stacks of goroutines that run code of the mesh.
func ours() string {
	var all bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&all, 2)
	var found []string
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, "quicmesh.(*") {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
}
