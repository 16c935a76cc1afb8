package quicmesh_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// A peer that is authorised and does not keep the rules: its link is closed with a reason, and what
// was right before is delivered.
func TestHostileSender(t *testing.T) {
	frames := func(fs ...frame.Frame) []byte {
		var b []byte
		for i := range fs {
			b = fs[i].Append(b)
		}
		return b
	}
	of := func(t frame.Type, seq uint64, payload int) frame.Frame {
		return frame.Frame{Header: frame.Header{Type: t, Seq: seq, Attempt: 1}, Payload: make([]byte, payload)}
	}
	onEdge9 := event(2, "")
	onEdge9.Edge = 9
	liar := frames(event(2, ""))
	liar[4], liar[48] = 1, 200 // an id longer than the frame
	endless := frames(event(2, ""))
	endless[7] = 0x7f // two gigabytes
	overrun := frames()
	for seq := uint64(2); seq < 8; seq++ {
		overrun = append(overrun, frames(of(frame.Data, seq, 4<<10))...)
	}
	var barriers []byte
	for seq := uint64(2); seq < 200; seq++ {
		f := of(frame.Barrier, seq, 8)
		f.Payload[0] = byte(seq)
		barriers = append(barriers, frames(f)...)
	}
	for name, test := range map[string]struct {
		bytes []byte
		want  string
	}{
		"gap":             {frames(event(3, "")), "number 3 after 1"},
		"other edge":      {frames(onEdge9), "of edge 9"},
		"hello again":     {frames(of(frame.Hello, 2, 0)), "type 6 from a sender"},
		"unknown type":    {frames(of(99, 2, 0)), "type 99 from a sender"},
		"credit":          {frames(of(frame.Credit, 1<<60, 0)), "type 5 from a sender"},
		"start":           {frames(of(frame.Start, 2, 0)), "type 16 from a sender"},
		"short barrier":   {frames(of(frame.Barrier, 2, 7)), "number of a barrier"},
		"large barrier":   {frames(of(frame.Barrier, 2, 1<<20))[:100], "too many"},
		"lengths":         {liar, "lengths do not fit"},
		"two gigabytes":   {endless, "lengths do not fit"},
		"too large":       {frames(of(frame.Data, 2, 1<<20))[:100], "too many"},
		"overrun":         {overrun, "more bytes than were granted"},
		"event after end": {frames(of(frame.End, 2, 0), event(3, "")), "after the end"},
		"many barriers":   {barriers, "too many barriers"},
		"garbage":         {bytes.Repeat([]byte("garbage "), 100), "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := pair(t, 0)
				g.replicas["a"] = 2
				g.edges[0].routing = "balance"
				g.tune = func(c *quicmesh.Config) { c.Window, c.MaxPayload = 16<<10, 8<<10 }
				defer g.close()
				b := g.start("b", 0, 1)
				b.Accept()
				self := slotIdentity(quicmesh.Slot{Stage: "a"}, 1)
				d := g.dial(t, self, b)
				defer d.close()
				d.write(helloFrame(helloOf(self, 0, b)), event(1, "right"))
				g.expect(b, "right")
				if _, err := d.Write(test.bytes); err != nil {
					t.Fatal(err)
				}
				if got := d.bye(); !strings.Contains(got, test.want) {
					t.Errorf("closed with %q, want %q", got, test.want)
				}
				if s := b.Stats().Links[0]; s.Up || !strings.Contains(s.Reason, test.want) {
					t.Errorf("up %v, down for %q", s.Up, s.Reason)
				}
				again, err := d.own.Dial(g.deadline(), b.peer.Addr, slotIdentity(b.peer.Slot(), 1))
				if err != nil {
					t.Fatal(err)
				}
				second := &dialled{again, t, d.own}
				second.write(helloFrame(helloOf(self, 0, b)))
				if got := second.bye(); !strings.Contains(got, "broken the rules") {
					t.Errorf("welcome again: %q", got)
				}
			})
		})
	}
}

func TestHostileReceiver(t *testing.T) {
	welcome := frame.Frame{Header: frame.Header{Type: frame.Welcome}, Payload: []byte(`{"window":1000,"credit":1000}`)}
	number := func(t frame.Type, seq uint64) frame.Frame {
		return frame.Frame{Header: frame.Header{Type: t, Seq: seq}}
	}
	ahead := welcome
	ahead.Seq = 5
	for name, test := range map[string]struct {
		frames []frame.Frame
		want   string
	}{
		"no json":           {[]frame.Frame{{Header: frame.Header{Type: frame.Welcome}, Payload: []byte("{")}}, "read its welcome"},
		"no window":         {[]frame.Frame{{Header: frame.Header{Type: frame.Welcome}, Payload: []byte("{}")}}, "beyond the window"},
		"resume ahead":      {[]frame.Frame{ahead}, "acknowledges what was not sent"},
		"event":             {[]frame.Frame{event(1, "")}, "type 1 instead of a welcome"},
		"event later":       {[]frame.Frame{welcome, event(1, "")}, "type 1 from a receiver"},
		"barrier":           {[]frame.Frame{welcome, number(frame.Barrier, 1)}, "type 2 from a receiver"},
		"acknowledges":      {[]frame.Frame{welcome, number(frame.Ack, 1)}, "acknowledges what was not sent"},
		"credit for ever":   {[]frame.Frame{welcome, number(frame.Credit, 1<<62)}, "beyond the window"},
		"goodbye, no event": {[]frame.Frame{welcome, {Header: frame.Header{Type: frame.Bye}, Payload: []byte("out of order")}}, "out of order"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := pair(t, 0)
				defer g.close()
				a := g.start("a", 0, 1)
				peer := quicmesh.Peer{Stage: "b", Incarnation: 1, Addr: "hostile"}
				own := g.net.Listen(slotIdentity(peer.Slot(), 1), peer.Addr)
				defer own.Close()
				a.SetPeers([]quicmesh.Peer{peer})
				s, err := own.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				d := &dialled{s, t, own}
				defer d.Close()
				if f := d.read(); f.Type != frame.Hello {
					t.Fatalf("type %d instead of a hello", f.Type)
				}
				d.write(test.frames...)
				time.Sleep(time.Millisecond) // simulated: the redial has not begun
				if got := a.Stats().Links[0]; !strings.Contains(got.Reason, test.want) || got.Up {
					t.Errorf("up %v, down for %q, want %q", got.Up, got.Reason, test.want)
				}
			})
		})
	}
}

// A receiver that grants without end and acknowledges nothing: what is kept for it is bounded.
func TestSenderKeepsNoMoreThanItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		g.tune = func(c *quicmesh.Config) { c.Window = 64 << 10 }
		defer g.close()
		a := g.start("a", 0, 1)
		peer := quicmesh.Peer{Stage: "b", Incarnation: 1, Addr: "generous"}
		own := g.net.Listen(slotIdentity(peer.Slot(), 1), peer.Addr)
		defer own.Close()
		a.SetPeers([]quicmesh.Peer{peer})
		s, err := own.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d := &dialled{s, t, own}
		d.read()
		d.write(frame.Frame{Header: frame.Header{Type: frame.Welcome}, Payload: []byte(`{"window":1000000000,"credit":1000000000}`)})
		go io.Copy(io.Discard, d)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for err == nil {
			err = a.Send(ctx, 0, &quicmesh.Event{Payload: make([]byte, 1000)})
		}
		if kept := a.Stats().Links[0].Kept; kept < 60<<10 || kept > 70<<10 {
			t.Errorf("keeps %d bytes with a window of %d", kept, 64<<10)
		}
	})
}

// FuzzSender: whatever an authorised peer writes, the mesh goes on.
func FuzzSender(f *testing.F) {
	for _, seed := range []frame.Frame{
		event(1, "x"), event(2, "x"), {Header: frame.Header{Type: frame.End, Seq: 1, Attempt: 9}},
		{Header: frame.Header{Type: frame.Barrier, Seq: 1, Attempt: 1}, Payload: make([]byte, 8)},
		referring(1, arena.Reference{Length: 100}),
	} {
		f.Add(seed.Append(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g := pair(t, 1)
		g.tune = func(c *quicmesh.Config) { c.Window, c.MaxPayload = 4<<10, 1<<10 }
		defer g.close()
		b := g.start("b", 0, 1)
		b.Accept()
		self := slotIdentity(quicmesh.Slot{Stage: "a"}, 1)
		d := g.dial(t, self, b)
		d.write(helloFrame(helloOf(self, 0, b)))
		d.Write(data)
		d.close()
		after := g.start("a", 0, 2)
		after.SetPeers([]quicmesh.Peer{b.peer})
		after.Rollback(1<<64 - 1)
		b.Rollback(1<<64 - 1)
		g.send(after, 0, "goes on")
		for {
			if it := g.next(b); describe(&it) == "goes on" {
				return
			}
		}
	})
}

// Streams that never say hello are closed, and do not keep others out for long.
func TestSilentStreamsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		defer g.close()
		b := g.start("b", 0, 1)
		b.Accept()
		self := slotIdentity(quicmesh.Slot{Stage: "a"}, 1)
		d := g.dial(t, self, b)
		defer d.close()
		for range 100 {
			s, err := d.own.Dial(g.deadline(), b.peer.Addr, slotIdentity(b.peer.Slot(), 1))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
		}
		if _, err := d.Read(make([]byte, 1)); err == nil {
			t.Error("the silent stream was answered")
		}
		d.own.Close()
		g.start("a", 0, 1).SetPeers([]quicmesh.Peer{b.peer})
		g.send(g.node("a", 0), 0, "welcome")
		g.expect(b, "welcome")
	})
}
