package quicmesh_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
)

func TestDialWaitsForThePeerAndItsAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		defer g.close()
		a := g.start("a", 0, 1)
		g.tell()
		nowhere := quicmesh.Peer{Stage: "b", Incarnation: 1, Addr: "b[0]/1"}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a.SetPeers([]quicmesh.Peer{nowhere})
		if err := a.WaitLinks(ctx); !errors.Is(err, context.DeadlineExceeded) || a.LinksUp() {
			t.Fatalf("up without a peer: %v", err)
		}
		b := g.start("b", 0, 1)
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := a.WaitLinks(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("up before the peer accepts: %v", err)
		}
		b.Accept()
		if err := a.WaitLinks(g.deadline()); err != nil || !a.LinksUp() {
			t.Fatal(err)
		}
		if !b.LinksUp() {
			t.Error("a slot without outgoing links waits for some")
		}
	})
}

// A new holder of a receiving slot: the link begins anew, what was kept for the old one is dropped.
func TestNewIncarnationOfTheReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		g.tune = func(c *quicmesh.Config) { c.Window = 4 << 10 }
		defer g.close()
		g.startAll()
		a, old := g.node("a", 0), g.node("b", 0)
		g.send(a, 0, "to the old one")
		g.expect(old, "to the old one")
		g.net.Cut(a.peer.Addr, old.peer.Addr)
		sent := make(chan error)
		go func() { // more than the window: blocks until the new holder gives credit
			var err error
			for range 10 {
				if err == nil {
					err = a.Send(g.deadline(), 0, &quicmesh.Event{Payload: make([]byte, 1000)})
				}
			}
			sent <- err
		}()
		synctest.Wait()
		old.close()
		b := g.start("b", 0, 2)
		b.Accept()
		g.tell()
		if it := g.next(b); it.Frame.Seq != 1 {
			t.Errorf("the new link begins with number %d", it.Frame.Seq)
		} else {
			it.Release()
		}
		go func() {
			sent <- errors.Join(<-sent, a.End(g.deadline()))
		}()
		pump(g, b)
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// A new holder of a sending slot: its frames count, the older one's do not any more.
func TestNewIncarnationOfTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		defer g.close()
		g.startAll()
		old, b := g.node("a", 0), g.node("b", 0)
		g.send(old, 0, "old")
		g.expect(b, "old")
		b.SetPeers([]quicmesh.Peer{{Stage: "a", Incarnation: 2}})
		if err := old.Send(t.Context(), 0, &quicmesh.Event{Payload: []byte("from beyond")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		young := g.start("a", 0, 2)
		young.SetPeers([]quicmesh.Peer{b.peer})
		g.send(young, 0, "new")
		g.expect(b, "new")
		if old.LinksUp() || !strings.Contains(old.Stats().Links[0].Reason, "incarnation 2") {
			t.Errorf("the fenced slot's link: %+v", old.Stats().Links[0])
		}
		old.close()
	})
}

func TestPeerNoLongerKnownIsLeftAndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		defer g.close()
		g.startAll()
		a, b := g.node("a", 0), g.node("b", 0)
		g.send(a, 0, "1")
		a.SetPeers(nil)
		if a.LinksUp() {
			t.Error("up without a peer")
		}
		g.send(a, 0, "2")
		a.SetPeers([]quicmesh.Peer{b.peer})
		g.expect(b, "1")
		g.expect(b, "2")
	})
}

// dialled is a raw stream to a mesh, for peers that do what they like.
type dialled struct {
	transport.Stream
	t   *testing.T
	own transport.Transport
}

func (g *graph) dial(t *testing.T, self transport.Identity, to *node) *dialled {
	t.Helper()
	own := g.net.Listen(self, "raw "+self.String())
	s, err := own.Dial(g.deadline(), to.peer.Addr, slotIdentity(to.peer.Slot(), to.peer.Incarnation))
	if err != nil {
		t.Fatal(err)
	}
	return &dialled{s, t, own}
}

func (d *dialled) close() {
	d.Close()
	d.own.Close()
}

func (d *dialled) write(frames ...frame.Frame) {
	d.t.Helper()
	var b []byte
	for i := range frames {
		b = frames[i].Append(b)
	}
	if _, err := d.Write(b); err != nil {
		d.t.Fatal(err)
	}
}

// read is the next frame.
func (d *dialled) read() frame.Frame {
	d.t.Helper()
	b := make([]byte, frame.HeaderSize)
	if _, err := io.ReadFull(d, b); err != nil {
		d.t.Fatal(err)
	}
	h, err := frame.ParseHeader(b)
	if err != nil {
		d.t.Fatal(err)
	}
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(d, body); err != nil {
		d.t.Fatal(err)
	}
	return h.WithBody(body)
}

// bye reads until the goodbye, and the end of the stream behind it.
func (d *dialled) bye() string {
	d.t.Helper()
	f := d.read()
	for f.Type == frame.Welcome || f.Type == frame.Ack || f.Type == frame.Credit {
		f = d.read()
	}
	if f.Type != frame.Bye {
		d.t.Fatalf("frame of type %d instead of a goodbye", f.Type)
	}
	if _, err := d.Read(make([]byte, 1)); err == nil {
		d.t.Fatal("the stream is open after the goodbye")
	}
	return string(f.Payload)
}

type m = map[string]any

// helloOf is what self says to open edge to the node.
func helloOf(self transport.Identity, edge int, to *node) m {
	return m{
		"version": 2, "edge": edge,
		"from": m{"stage": self.Stage, "index": self.Index, "incarnation": self.Incarnation},
		"to":   m{"stage": to.peer.Stage, "index": to.peer.Index, "incarnation": to.peer.Incarnation},
	}
}

func helloFrame(h m) frame.Frame {
	payload, err := json.Marshal(h)
	if err != nil {
		panic(err)
	}
	return frame.Frame{Header: frame.Header{Type: frame.Hello}, Payload: payload}
}

func TestAuthorisation(t *testing.T) {
	slotOf := func(stage string, index int) quicmesh.Slot { return quicmesh.Slot{Stage: stage, Index: index} }
	for name, test := range map[string]struct {
		self   transport.Identity
		edge   int
		change func(m)
		want   string // in the goodbye; "": welcome
	}{
		"its input":           {self: slotIdentity(slotOf("a", 1), 3)},
		"a newer incarnation": {self: slotIdentity(slotOf("a", 1), 4)},
		"an older one":        {self: slotIdentity(slotOf("a", 1), 2), want: "incarnation 3 by now"},
		"index beyond":        {self: slotIdentity(slotOf("a", 2), 9), want: "does not lead from a[2]"},
		"other stage":         {self: slotIdentity(slotOf("c", 0), 9), want: "does not lead from c[0]"},
		"other direction":     {self: slotIdentity(slotOf("c", 0), 9), edge: 1, want: "does not lead"},
		"own stage's edge":    {self: slotIdentity(slotOf("b", 0), 9), edge: 1, want: "does not lead"},
		"unknown edge":        {self: slotIdentity(slotOf("a", 1), 3), edge: 7, want: "does not lead"},
		"forward, same index": {self: slotIdentity(slotOf("d", 0), 1), edge: 2},
		"forward, other one":  {self: slotIdentity(slotOf("d", 1), 1), edge: 2, want: "does not lead"},
		"false name":          {self: slotIdentity(slotOf("a", 1), 3), change: func(h m) { h["from"].(m)["index"] = 0 }, want: "it says it is"},
		"false incarnation":   {self: slotIdentity(slotOf("a", 1), 3), change: func(h m) { h["from"].(m)["incarnation"] = 5 }, want: "it says it is"},
		"wants another":       {self: slotIdentity(slotOf("a", 1), 3), change: func(h m) { h["to"].(m)["incarnation"] = 8 }, want: "it wants"},
		"other version":       {self: slotIdentity(slotOf("a", 1), 3), change: func(h m) { h["version"] = 1 }, want: "version 1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGraph(t, 0, map[string]int{"a": 2, "b": 2, "c": 1, "d": 2},
					edge{"a", "b", route.Balance}, edge{"b", "c", route.Balance}, edge{"d", "b", route.Forward})
				defer g.close()
				b := g.start("b", 0, 1)
				b.Accept()
				b.SetPeers([]quicmesh.Peer{{Stage: "a", Index: 1, Incarnation: 3, Addr: "a"}})
				h := helloOf(test.self, test.edge, b)
				if test.change != nil {
					test.change(h)
				}
				d := g.dial(t, test.self, b)
				defer d.close()
				d.write(helloFrame(h))
				if test.want == "" {
					if f := d.read(); f.Type != frame.Welcome {
						t.Errorf("type %d instead of a welcome: %s", f.Type, f.Payload)
					}
				} else if got := d.bye(); !strings.Contains(got, test.want) {
					t.Errorf("refused with %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestAcceptedIncarnationIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		defer g.close()
		b := g.start("b", 0, 1)
		b.Accept()
		slot := quicmesh.Slot{Stage: "a"}
		first, second := g.dial(t, slotIdentity(slot, 5), b), g.dial(t, slotIdentity(slot, 4), b)
		defer first.close()
		defer second.close()
		first.write(helloFrame(helloOf(slotIdentity(slot, 5), 0, b)))
		if f := first.read(); f.Type != frame.Welcome {
			t.Fatalf("type %d instead of a welcome", f.Type)
		}
		second.write(helloFrame(helloOf(slotIdentity(slot, 4), 0, b)))
		if got := second.bye(); !strings.Contains(got, "incarnation 5 by now") {
			t.Errorf("refused with %q", got)
		}
	})
}

// Two connections of one link: the newer one counts, and resumes where the older one was.
func TestNewerConnectionReplacesTheOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		defer g.close()
		b := g.start("b", 0, 1)
		b.Accept()
		self := slotIdentity(quicmesh.Slot{Stage: "a"}, 1)
		d := g.dial(t, self, b)
		defer d.close()
		d.write(helloFrame(helloOf(self, 0, b)), event(1, "one"))
		g.expect(b, "one")
		again, err := d.own.Dial(g.deadline(), b.peer.Addr, slotIdentity(b.peer.Slot(), 1))
		if err != nil {
			t.Fatal(err)
		}
		second := &dialled{again, t, d.own}
		second.write(helloFrame(helloOf(self, 0, b)))
		if f := second.read(); f.Type != frame.Welcome || f.Seq != 1 {
			t.Errorf("type %d, resume after %d", f.Type, f.Seq)
		}
		if got := d.bye(); !strings.Contains(got, "newer connection") {
			t.Errorf("the older one is told %q", got)
		}
		second.write(event(1, "one"), event(2, "two"))
		g.expect(b, "two")
		if s := b.Stats().Links[0]; s.Duplicates != 1 || s.Events != 2 || !s.Up {
			t.Errorf("stats %+v", s)
		}
	})
}

// event is a Data frame of attempt 1 on edge 0.
func event(seq uint64, payload string) frame.Frame {
	return frame.Frame{Header: frame.Header{Type: frame.Data, Seq: seq, Attempt: 1}, Payload: []byte(payload)}
}
