package quicmesh_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// circle is a source and a sink, and an edge that leads back from the sink to the source.
func circle(t *testing.T) *graph {
	g := newGraph(t, 1, map[string]int{"in": 1, "out": 1}, edge{"in", "out", route.Balance}, edge{"out", "in", route.Balance})
	g.tune = func(c *quicmesh.Config) {
		for i := range c.Out {
			c.Out[i].Return = c.Self.Stage == "out"
		}
		for i := range c.In {
			c.In[i].Return = c.Self.Stage == "in"
		}
	}
	return g
}

// Readiness runs from the sinks to the sources, and a return doesn't make it a circle.
func TestReturnIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := circle(t)
		defer g.close()
		in, out := g.start("in", 0, 1), g.start("out", 0, 1)
		g.tell()
		if err := out.WaitLinks(g.deadline()); err != nil {
			t.Fatal(err)
		}
		out.Accept()
		if err := in.WaitLinks(g.deadline()); err != nil {
			t.Fatal(err)
		}
		in.Accept()
		g.send(in, 0, "there")
		g.expect(out, "there")
		g.send(out, 1, "and back")
		g.expect(in, "and back")
	})
}

// A barrier and the end stop at the sink, and a rollback drops what is on its way back.
func TestReturnCarriesEventsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := circle(t)
		defer g.close()
		g.startAll()
		in, out := g.node("in", 0), g.node("out", 0)
		if err := in.Barrier(g.deadline(), 7); err != nil {
			t.Fatal(err)
		}
		g.expect(out, "barrier 7")
		if err := out.Barrier(g.deadline(), 7); err != nil {
			t.Fatal(err)
		}
		g.send(out, 1, "a")
		g.expect(in, "a")
		out.Rollback(2)
		g.expect(out, "rollback 0.2")
		g.send(out, 1, "b")
		synctest.Wait() // it is there, and waits for the rollback here
		in.Rollback(2)
		g.expect(in, "rollback 0.2")
		g.expect(in, "b")
		if err := in.End(g.deadline()); err != nil {
			t.Fatal(err)
		}
		g.expect(out, "end")
	})
}

// What no function is to see is told by its flag, on every link.
func TestBypassTravels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 1)
		defer g.close()
		g.startAll()
		a, b := g.node("a", 0), g.node("b", 0)
		for _, bypass := range []bool{true, false} {
			if err := a.Send(g.deadline(), 0, &quicmesh.Event{Payload: []byte("x"), Bypass: bypass}); err != nil {
				t.Fatal(err)
			}
			it := g.next(b)
			if got := it.Frame.Flags == frame.Bypass; got != bypass {
				t.Errorf("bypass %v: flags %b", bypass, it.Frame.Flags)
			}
			it.Release()
		}
	})
}

func TestCopies(t *testing.T) {
	g := newGraph(t, 1, map[string]int{"a": 1, "b": 3}, edge{"a", "b", route.Broadcast}, edge{"a", "b", route.Balance})
	defer g.close()
	a := g.start("a", 0, 1)
	if all, one := a.Copies(0), a.Copies(1); all != 3 || one != 1 {
		t.Errorf("%d and %d copies, want 3 and 1", all, one)
	}
}

// A guest is served after Accept, up to a number of them; by others, and as another stage, it is refused.
func TestGuests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 1)
		defer g.close()
		g.tune = func(c *quicmesh.Config) {
			if c.Self.Stage == "a" {
				c.Guests = &quicmesh.Guests{Stage: "guest", Most: 2, Serve: func(s transport.Stream) {
					line, err := bufio.NewReader(s).ReadString('\n')
					if err == nil {
						fmt.Fprintf(s, "%s: %s", s.Peer().Stage, line)
						_, _ = s.Read(make([]byte, 1)) // until one of us ends it
					}
				}}
			}
		}
		a, b := g.start("a", 0, 1), g.start("b", 0, 1)
		visit := func(stage string, incarnation uint64, at *node) (transport.Stream, error) {
			tr := g.net.Listen(slotIdentity(quicmesh.Slot{Stage: stage}, incarnation), fmt.Sprint(stage, incarnation))
			t.Cleanup(func() { tr.Close() })
			s, err := tr.Dial(g.deadline(), at.peer.Addr, slotIdentity(at.peer.Slot(), 1))
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.WriteString(s, "hello\n")
			return s, err
		}
		one, _ := visit("guest", 1, a)
		synctest.Wait()
		a.Accept()
		b.Accept()
		answer := func(s transport.Stream) string {
			line, err := bufio.NewReader(s).ReadString('\n')
			if err != nil {
				return "refused"
			}
			return line
		}
		two, _ := visit("guest", 2, a)
		if got := answer(one) + answer(two); got != "guest: hello\nguest: hello\n" {
			t.Errorf("answered %q", got)
		}
		for what, visited := range map[string]func() (transport.Stream, error){
			"one too many":  func() (transport.Stream, error) { return visit("guest", 3, a) },
			"another stage": func() (transport.Stream, error) { return visit("stranger", 4, a) },
			"another slot":  func() (transport.Stream, error) { return visit("guest", 5, b) },
		} {
			if s, err := visited(); err == nil && answer(s) == "guest: hello\n" {
				t.Errorf("%s was served", what)
			}
		}
		one.Close()
		synctest.Wait()
		again, _ := visit("guest", 6, a)
		if got := answer(again); got != "guest: hello\n" {
			t.Errorf("after one has left: %q", got)
		}
		a.Close()
		if _, err := two.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after the mesh's end: %v", err)
		}
	})
}
