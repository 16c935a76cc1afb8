package quicmesh_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring/ringtest"
)

func arenaMemory(_ context.Context, size int) (*os.File, error) { return shm.CreateArena("test", size) }

// lane is the way of a graph's links: over rings or the network, as it is told, with all bytes counted.
type lane struct {
	board    *ringtest.Board
	networks sync.Map    // identity → transport
	far      atomic.Bool // links go over the network
	copied   atomic.Int64
	mu       sync.Mutex
	streams  []transport.Stream // open, or closed since
}

// overRings has a graph's links go over rings, and its slots write payloads in memory that they lend.
func overRings(t testing.TB, g *graph) *lane {
	w := &lane{board: ringtest.NewBoard(t)}
	inner, listen := g.tune, g.listen
	g.listen = func(self transport.Identity, name string) transport.Transport {
		network := listen(self, name)
		w.networks.Store(self, network)
		return network
	}
	g.tune = func(c *quicmesh.Config) {
		place := w.board.Listen(c.Self)
		c.Near, c.Memory, c.Alone = place, arenaMemory, true
		for i := range c.Out {
			c.Out[i].Dialer = way{w, place, c.Self}
		}
		if inner != nil {
			inner(c)
		}
	}
	return w
}

type way struct {
	*lane
	near transport.Dialer
	self transport.Identity
}

func (w way) Dial(ctx context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	var s transport.Stream
	var err error
	if w.far.Load() {
		network, _ := w.networks.Load(w.self)
		s, err = network.(transport.Dialer).Dial(ctx, addr, peer)
	} else if s, err = w.near.Dial(ctx, peer.String(), peer); err == nil {
		s = counted{s, &w.copied}
	}
	if err == nil {
		w.mu.Lock()
		w.streams = append(w.streams, s)
		w.mu.Unlock()
	}
	return s, err
}

// move ends all streams; links come up again over the other carrier.
func (w *lane) move(far bool) {
	w.far.Store(far)
	w.mu.Lock()
	streams := w.streams
	w.streams = nil
	w.mu.Unlock()
	for _, s := range streams {
		s.Close()
	}
}

// counted is a stream whose written bytes are counted.
type counted struct {
	transport.Stream
	bytes *atomic.Int64
}

func (c counted) Unwrap() transport.Stream { return c.Stream }

func (c counted) Write(b []byte) (int, error) {
	c.bytes.Add(int64(len(b)))
	return c.Stream.Write(b)
}

// lends waits until a link's peer reads payloads in place: the first ones may be copied, until it has the memory.
func lends(g *graph, from, to *node) {
	g.t.Helper()
	for {
		r := from.Alloc(g.deadline(), 64<<10)
		sendRegion(g, from, r)
		it := g.next(to)
		it.Release()
		if from.Stats().Links[0].Referred > 0 {
			return
		}
	}
}

// sendRegion sends a region on edge 0 and gives it up.
func sendRegion(g *graph, from *node, r *arena.Region) {
	g.t.Helper()
	if err := from.Send(g.deadline(), 0, &quicmesh.Event{Payload: r.Bytes()}); err != nil {
		g.t.Fatal(err)
	}
	r.Release()
}

// free waits until all regions are free: the receivers' last releases are on their way.
func free(g *graph, n *node) {
	g.t.Helper()
	for ctx := g.deadline(); n.Memory().Regions > 0; {
		if ctx.Err() != nil {
			g.t.Fatalf("%v: %+v, when nobody reads any more", n.peer.Slot(), n.Memory())
		}
		runtime.Gosched()
	}
}

// TestPayloadIsReadInPlace: what the receiver gets is the memory that the sender has written, and no payload's byte
// was copied on its way.
func TestPayloadIsReadInPlace(t *testing.T) {
	for _, size := range []int{1 << 20, 64 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			g := pair(t, 0)
			g.tune = func(c *quicmesh.Config) { c.MaxPayload = size }
			w := overRings(t, g)
			defer g.close()
			g.startAll()
			a, b := g.node("a", 0), g.node("b", 0)
			first := a.Alloc(t.Context(), size) // so that the memory is lent
			first.Release()
			lends(g, a, b)
			before, links := w.copied.Load(), a.Stats().Links[0]
			const events = 5
			for i := range events {
				free(g, a) // else a large one gets further memory, which the receiver may not have yet
				r := a.Alloc(t.Context(), size)
				p := r.Bytes()
				p[0], p[size/2], p[size-1] = byte(i), byte(i+1), byte(i+2)
				if err := a.Send(t.Context(), 0, &quicmesh.Event{ID: []byte("id"), Payload: p}); err != nil {
					t.Fatal(err)
				}
				it := g.next(b)
				got := it.Frame.Payload
				if len(got) != size || string(it.Frame.ID) != "id" || got[0] != p[0] || got[size/2] != p[size/2] || got[size-1] != p[size-1] {
					t.Fatalf("event %d: %d bytes, id %q", i, len(got), it.Frame.ID)
				}
				if p[1]++; got[1] != p[1] { // against the rules, to see that it is the same memory
					t.Fatalf("event %d was copied", i)
				}
				r.Release()
				it.Release()
			}
			if n := w.copied.Load() - before; n > events*(200+arena.ReferenceSize) {
				t.Errorf("%d bytes were written for %d payloads", n, events)
			}
			after := a.Stats().Links[0]
			if got := after.Referred - links.Referred; got != events || after.Bytes-links.Bytes < uint64(events*size) {
				t.Errorf("%d of %d events by reference, %d bytes", got, events, after.Bytes-links.Bytes)
			}
			if got := b.Stats().Links[0].Referred; got != after.Referred {
				t.Errorf("the receiver counts %d, the sender %d", got, after.Referred)
			}
			free(g, a)
		})
	}
}

// TestWhatIsCopied: small payloads, plain memory, and where the carrier is no shared memory; it arrives all the same.
func TestWhatIsCopied(t *testing.T) {
	g := pair(t, 0)
	w := overRings(t, g)
	defer g.close()
	g.startAll()
	a, b := g.node("a", 0), g.node("b", 0)
	lends(g, a, b)
	referred := func() uint64 { return a.Stats().Links[0].Referred }
	before := referred()
	take := func(want []byte) {
		t.Helper()
		it := g.next(b)
		if !bytes.Equal(it.Frame.Payload, want) {
			t.Fatalf("%d bytes, want %d", len(it.Frame.Payload), len(want))
		}
		it.Release()
	}
	small := a.Alloc(t.Context(), 100)
	copy(small.Bytes(), "small")
	sendRegion(g, a, small)
	take(small.Bytes())
	plain := bytes.Repeat([]byte("plain"), 100_000)
	if err := a.Send(t.Context(), 0, &quicmesh.Event{Payload: plain}); err != nil {
		t.Fatal(err)
	}
	take(plain)
	sessions := a.Stats().Links[0].Sessions
	w.move(true)
	for ctx := g.deadline(); a.Stats().Links[0].Sessions == sessions && ctx.Err() == nil; {
		runtime.Gosched()
	}
	r := a.Alloc(t.Context(), 300_000)
	copy(r.Bytes(), plain)
	if err := a.Send(t.Context(), 0, &quicmesh.Event{Payload: r.Bytes()[5:]}); err != nil {
		t.Fatal(err)
	}
	take(r.Bytes()[5:])
	r.Release()
	if n := referred(); n != before {
		t.Errorf("%d by reference", n-before)
	}
	free(g, a)
	w.move(false)
	lends(g, a, b)
	free(g, a)
}

// TestRegionIsHeldForEachReceiver: a region is free when the last one has released it.
func TestRegionIsHeldForEachReceiver(t *testing.T) {
	g := newGraph(t, 0, map[string]int{"a": 1, "b": 3}, edge{"a", "b", route.Broadcast})
	overRings(t, g)
	defer g.close()
	g.startAll()
	a := g.node("a", 0)
	for everyone := false; !everyone; {
		sendRegion(g, a, a.Alloc(t.Context(), 100_000))
		everyone = true
		for i := range 3 {
			it := g.next(g.node("b", i))
			it.Release()
		}
		for _, l := range a.Stats().Links {
			everyone = everyone && l.Referred > 0
		}
	}
	free(g, a)
	r := a.Alloc(t.Context(), 100_000)
	copy(r.Bytes(), "to all")
	sendRegion(g, a, r)
	var items []quicmesh.Item
	for i := range 3 {
		items = append(items, g.next(g.node("b", i)))
	}
	for i := range items {
		for j := range 5 { // others' releases must not free it
			other := a.Alloc(t.Context(), 100_000)
			other.Bytes()[0] = byte(j)
			other.Release()
		}
		if got := string(items[i].Frame.Payload[:6]); got != "to all" {
			t.Fatalf("receiver %d reads %q", i, got)
		}
		if n := a.Memory().Regions; n != 1 {
			t.Fatalf("%d regions, held by %d receivers", n, 3-i)
		}
		items[i].Release()
	}
	free(g, a)
}

// TestReferencesInFlight: a rollback, a receiver's death and a stage that is left give all regions back.
func TestReferencesInFlight(t *testing.T) {
	fill := func(t *testing.T) (*graph, *node, *node, []quicmesh.Item) {
		g := pair(t, 0)
		g.tune = func(c *quicmesh.Config) { c.Window = 16 << 20 }
		overRings(t, g)
		g.startAll()
		a, b := g.node("a", 0), g.node("b", 0)
		lends(g, a, b)
		var taken []quicmesh.Item
		for i := range 20 {
			sendRegion(g, a, a.Alloc(t.Context(), 100_000))
			if i < 5 {
				taken = append(taken, g.next(b))
			}
		}
		return g, a, b, taken
	}
	t.Run("rollback", func(t *testing.T) {
		g, a, b, taken := fill(t)
		defer g.close()
		a.Rollback(2)
		b.Rollback(2)
		for i := range taken {
			taken[i].Release() // of the old attempt, and all the same held until now
		}
		sendRegion(g, a, a.Alloc(t.Context(), 100_000))
		for it := g.next(b); ; it = g.next(b) {
			if it.Release(); it.Attempt == 2 && it.Kind == quicmesh.KindEvent {
				break
			}
		}
		free(g, a)
	})
	t.Run("death", func(t *testing.T) {
		g, a, b, taken := fill(t)
		defer g.close()
		b.close()
		b = g.start("b", 0, 2)
		b.Accept()
		g.tell()
		free(g, a) // though the old one has released nothing
		for i := range taken {
			if taken[i].Frame.Payload[0] == 255 { // its mapping is its own until it releases
				t.Error("unexpected bytes")
			}
			taken[i].Release()
		}
		lends(g, a, b)
		free(g, a)
	})
	t.Run("close", func(t *testing.T) {
		g, a, _, taken := fill(t)
		a.close()
		for i := range taken {
			_ = taken[i].Frame.Payload[0]
			taken[i].Release()
		}
		free(g, a)
		g.close()
	})
}

// TestReceiverThatReleasesNothing: when the memory is full, payloads are copied, as far as credit goes.
func TestReceiverThatReleasesNothing(t *testing.T) {
	g := pair(t, 0)
	g.tune = func(c *quicmesh.Config) { c.Window, c.MaxMemory = 64<<20, arena.MinSize }
	overRings(t, g)
	defer g.close()
	g.startAll()
	a, b := g.node("a", 0), g.node("b", 0)
	lends(g, a, b)
	var taken []quicmesh.Item
	for i := range 30 {
		r := a.Alloc(t.Context(), 1<<20)
		binary.LittleEndian.PutUint32(r.Bytes(), uint32(i))
		sendRegion(g, a, r)
		taken = append(taken, g.next(b))
	}
	for i := range taken {
		if got := binary.LittleEndian.Uint32(taken[i].Frame.Payload); got != uint32(i) {
			t.Errorf("payload %d is that of %d by now", i, got)
		}
		taken[i].Release()
	}
	if n := a.Stats().Links[0].Referred; n < 5 || n > 10 {
		t.Errorf("%d by reference in %d bytes", n, arena.MinSize)
	}
	free(g, a)
}

// TestHeldBeyondRelease: a payload that is held stays what it is while the sender uses its memory for others, and
// gives back nothing but that memory later. Copied ones are held likewise.
func TestHeldBeyondRelease(t *testing.T) {
	for _, size := range []int{100, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			g := pair(t, 0)
			g.tune = func(c *quicmesh.Config) { c.MaxMemory = arena.MinSize }
			overRings(t, g)
			defer g.close()
			g.startAll()
			a, b := g.node("a", 0), g.node("b", 0)
			lends(g, a, b)
			free(g, a)
			var held [][]byte
			var frees []func()
			for i := range 50 {
				r := a.Alloc(t.Context(), size)
				for j := range r.Bytes() {
					r.Bytes()[j] = byte(i)
				}
				sendRegion(g, a, r)
				it := g.next(b)
				if i%10 == 0 {
					held, frees = append(held, it.Frame.Payload), append(frees, it.Hold())
				}
				it.Release()
			}
			for i, p := range held {
				if want := bytes.Repeat([]byte{byte(10 * i)}, size); !bytes.Equal(p, want) {
					t.Errorf("held payload %d is %d…, and was %d…", i, p[0], want[0])
				}
				frees[i]()
			}
			free(g, a)
		})
	}
}

// TestCarrierChangesUnderReferences: a link that moves between shared memory and a network, again and again while
// payloads are on their way, loses, repeats and leaks nothing.
func TestCarrierChangesUnderReferences(t *testing.T) {
	const events = 600
	g := pair(t, 7)
	g.tune = func(c *quicmesh.Config) { c.Window = 2 << 20 }
	w := overRings(t, g)
	defer g.close()
	g.startAll()
	a, b := g.node("a", 0), g.node("b", 0)
	stop := make(chan struct{})
	moved := make(chan struct{})
	received := make(chan int, events)
	go func() { // moves the link each time some more have come
		defer close(moved)
		for far, next := false, 20; ; {
			select {
			case n := <-received:
				if n >= next {
					far, next = !far, next+20
					w.move(far)
				}
			case <-stop:
				return
			}
		}
	}()
	sent := make(chan error, 1)
	go func() {
		random := rand.New(rand.NewPCG(1, 2))
		for i := range events {
			n := 100 + random.IntN(200_000)
			r := a.Alloc(context.Background(), n)
			p := r.Bytes()
			for j := 8; j < n; j += 1 + random.IntN(5000) {
				p[j] = byte(random.Uint32())
			}
			binary.LittleEndian.PutUint32(p, uint32(i))
			binary.LittleEndian.PutUint32(p[4:], crc32.ChecksumIEEE(p[8:]))
			if err := a.Send(g.deadline(), 0, &quicmesh.Event{Payload: p}); err != nil {
				sent <- err
				return
			}
			r.Release()
		}
		sent <- nil
	}()
	var late []quicmesh.Item // read over later sessions than they came by
	random := rand.New(rand.NewPCG(3, 4))
	check := func(it *quicmesh.Item) {
		if p := it.Frame.Payload; binary.LittleEndian.Uint32(p[4:]) != crc32.ChecksumIEEE(p[8:]) {
			t.Errorf("event %d has other bytes than were sent", it.Frame.Seq)
		}
		it.Release()
	}
	for i := range events {
		it := g.next(b)
		if got := binary.LittleEndian.Uint32(it.Frame.Payload); got != uint32(i) {
			t.Fatalf("event %d came, want %d", got, i)
		}
		received <- i
		if late = append(late, it); len(late) > 5 {
			j := random.IntN(len(late))
			check(&late[j])
			late = append(late[:j], late[j+1:]...)
		}
	}
	for i := range late {
		check(&late[i])
	}
	close(stop)
	<-moved
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	free(g, a)
	if s := a.Stats().Links[0]; s.Sessions < 10 || s.Referred == 0 || s.Referred == events {
		t.Errorf("%d sessions, %d of %d by reference: this has shown nothing", s.Sessions, s.Referred, events)
	}
}

// liar is an authorised peer under the test's hand, on a ring.
type liar struct {
	transport.Stream
	t     *testing.T
	place *ringtest.Place
}

func (l *liar) write(frames ...frame.Frame) {
	l.t.Helper()
	for i := range frames {
		if _, err := l.Write(frames[i].Append(nil)); err != nil {
			l.t.Fatal(err)
		}
	}
}

func referring(seq uint64, x arena.Reference) frame.Frame {
	return frame.Frame{Header: frame.Header{Type: frame.Data, Flags: frame.Refers, Seq: seq, Attempt: 1}, Payload: x.Append(nil)}
}

// TestHostileReferences: a peer that refers to what is not there loses its link, with a reason.
func TestHostileReferences(t *testing.T) {
	const size = arena.MinSize
	right := arena.Reference{At: 10, Length: 100}
	short := referring(2, right)
	short.Payload = short.Payload[:23]
	var flood []frame.Frame
	for seq := uint64(2); seq < 300; seq++ {
		flood = append(flood, referring(seq, right))
	}
	for name, test := range map[string]struct {
		frames []frame.Frame
		want   string
	}{
		"another file":   {[]frame.Frame{referring(2, arena.Reference{File: 1, Length: 1})}, "bad reference"},
		"file -1":        {[]frame.Frame{referring(2, arena.Reference{File: 1<<32 - 1, Length: 1})}, "bad reference"},
		"beyond the end": {[]frame.Frame{referring(2, arena.Reference{At: size - 99, Length: 100})}, "bad reference"},
		"overflow":       {[]frame.Frame{referring(2, arena.Reference{At: 1<<64 - 50, Length: 100})}, "bad reference"},
		"too large":      {[]frame.Frame{referring(2, arena.Reference{Length: 1<<20 + 1})}, "at most 1048576"},
		"endless":        {[]frame.Frame{referring(2, arena.Reference{Length: 1<<64 - 1})}, "at most 1048576"},
		"short":          {[]frame.Frame{short}, "bad reference"},
		"flood":          {flood, "more than 128"},
		"beyond credit": {[]frame.Frame{referring(2, arena.Reference{Length: 1 << 20}), referring(3, arena.Reference{Length: 1 << 20}),
			referring(4, arena.Reference{Length: 1 << 20})}, "more bytes than were granted"},
	} {
		t.Run(name, func(t *testing.T) {
			g := pair(t, 0)
			g.tune = func(c *quicmesh.Config) { c.Window, c.MaxPayload = 2<<20, 1<<20 }
			w := overRings(t, g)
			defer g.close()
			b := g.start("b", 0, 1)
			b.Accept()
			l := lie(t, w, b)
			l.write(referring(1, right))
			it := g.next(b)
			if len(it.Frame.Payload) != 100 || cap(it.Frame.Payload) != 100 {
				t.Fatalf("%d bytes", len(it.Frame.Payload))
			}
			for i := range test.frames {
				if _, err := l.Write(test.frames[i].Append(nil)); err != nil {
					break // it has been heard
				}
			}
			received := make(chan struct{})
			go func() { // nothing of it is released
				defer close(received)
				for err := error(nil); err == nil; {
					_, err = b.Receive(context.Background(), nil)
				}
			}()
			for ctx := g.deadline(); !strings.Contains(b.Stats().Links[0].Reason, test.want); {
				if ctx.Err() != nil {
					t.Fatalf("down for %q, want %q", b.Stats().Links[0].Reason, test.want)
				}
			}
			_ = it.Frame.Payload[99] // still there
			it.Release()
			_ = b.Close()
			<-received
		})
	}
}

// lie makes a liar that has lent one file, which the mesh has mapped.
func lie(t *testing.T, w *lane, b *node) *liar {
	self := slotIdentity(quicmesh.Slot{Stage: "a"}, 1)
	l := &liar{t: t, place: w.board.Listen(self)}
	t.Cleanup(func() { l.place.Close() })
	to := slotIdentity(b.peer.Slot(), 1)
	var err error
	if l.Stream, err = l.place.Dial(t.Context(), to.String(), to); err != nil {
		t.Fatal(err)
	}
	l.write(helloFrame(helloOf(self, 0, b)))
	from := frame.NewReader(l, 1<<20)
	if f, err := from.Next(); err != nil || f.Type != frame.Welcome || !strings.Contains(string(f.Payload), `"borrows":true`) {
		t.Fatalf("%v, %v instead of a welcome", f, err)
	}
	a := arena.New(arena.Config{Make: arenaMemory, Most: arena.MinSize})
	if _, err := a.Alloc(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	if err := l.Stream.(transport.Lender).Lend(0, a.Files()[0].File); err != nil {
		t.Fatal(err)
	}
	if f, err := from.Next(); err != nil || f.Type != frame.Mapped || f.Seq != 0 {
		t.Fatalf("%v, %v instead of a word that the memory is mapped", f, err)
	}
	return l
}

// TestReferenceOverANetwork: nothing is lent there, so that nothing can be referred to.
func TestReferenceOverANetwork(t *testing.T) {
	g := pair(t, 0)
	defer g.close()
	b := g.start("b", 0, 1)
	b.Accept()
	self := slotIdentity(quicmesh.Slot{Stage: "a"}, 1)
	d := g.dial(t, self, b)
	defer d.close()
	d.write(helloFrame(helloOf(self, 0, b)), referring(1, arena.Reference{Length: 1}))
	if got := d.bye(); !strings.Contains(got, "no memory is lent") {
		t.Errorf("closed with %q", got)
	}
}

// TestHostileReleases: a receiver that releases what it was not sent, or speaks of memory that it was not lent, loses
// its link; one that repeats itself frees nothing of others.
func TestHostileReleases(t *testing.T) {
	release := func(seqs ...uint64) frame.Frame {
		f := frame.Frame{Header: frame.Header{Type: frame.Release}}
		for _, seq := range seqs {
			f.Payload = binary.LittleEndian.AppendUint64(f.Payload, seq)
		}
		return f
	}
	odd := release(1)
	odd.Payload = odd.Payload[:7]
	for name, test := range map[string]struct {
		frame frame.Frame
		want  string
	}{
		"not sent":   {release(1, 1<<40), "was not sent"},
		"odd":        {odd, "release of 7 bytes"},
		"not lent":   {frame.Frame{Header: frame.Header{Type: frame.Mapped, Seq: 1}}, "mapped memory 1"},
		"never lent": {frame.Frame{Header: frame.Header{Type: frame.Mapped, Seq: 1 << 63}}, "mapped memory"},
	} {
		t.Run(name, func(t *testing.T) {
			g := pair(t, 0)
			w := overRings(t, g)
			defer g.close()
			a := g.start("a", 0, 1)
			self := slotIdentity(quicmesh.Slot{Stage: "b"}, 1)
			place := w.board.Listen(self)
			defer place.Close()
			r := a.Alloc(t.Context(), 100_000)
			a.SetPeers([]quicmesh.Peer{{Stage: "b", Incarnation: 1, Addr: "here"}})
			s, err := place.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			lent := make(chan uint32, 10)
			loans := new(arena.Loans)
			defer loans.Close()
			s.(transport.Lender).Borrow(func(number uint32, f *os.File) error {
				_, err := loans.Take(number, f)
				lent <- number
				return err
			})
			l := &liar{Stream: s, t: t}
			from := frame.NewReader(s, 1<<20)
			if _, err := from.Next(); err != nil {
				t.Fatal(err)
			}
			l.write(frame.Frame{Header: frame.Header{Type: frame.Welcome}, Payload: []byte(`{"window":1000000,"credit":1000000,"borrows":true}`)})
			if number := <-lent; number != 0 {
				t.Fatalf("number %d first", number)
			}
			l.write(frame.Frame{Header: frame.Header{Type: frame.Mapped}})
			for f := (frame.Frame{}); f.Flags&frame.Refers == 0; {
				if err := a.Send(t.Context(), 0, &quicmesh.Event{Payload: r.Bytes()}); err != nil {
					t.Fatal(err)
				}
				if f, err = from.Next(); err != nil {
					t.Fatal(err)
				}
				l.write(frame.Frame{Header: frame.Header{Type: frame.Credit, Seq: 1_000_000 + f.Seq*(100_000+frame.HeaderSize)}})
			}
			l.write(release(1, 1, 1), release(1))
			l.Write(test.frame.Append(nil)) // the link may be over before it returns
			for ctx := g.deadline(); !strings.Contains(a.Stats().Links[0].Reason, test.want); {
				if ctx.Err() != nil {
					t.Fatalf("down for %q, want %q", a.Stats().Links[0].Reason, test.want)
				}
			}
			r.Bytes()[0] = 1 // the writer's hold is nobody else's to give up
			r.Release()
		})
	}
}

// TestAllocWithoutMemory: where the broker has none, payloads are copied.
func TestAllocWithoutMemory(t *testing.T) {
	g := pair(t, 0)
	g.tune = func(c *quicmesh.Config) {
		c.Memory = func(context.Context, int) (*os.File, error) { return nil, errors.New("over the budget") }
	}
	overRings(t, g)
	defer g.close()
	g.startAll()
	a, b := g.node("a", 0), g.node("b", 0)
	r := a.Alloc(t.Context(), 100_000)
	copy(r.Bytes(), "plain")
	sendRegion(g, a, r)
	it := g.next(b)
	defer it.Release()
	if len(it.Frame.Payload) != 100_000 || !strings.HasPrefix(string(it.Frame.Payload), "plain") || a.Memory().Made != 0 {
		t.Errorf("%d bytes, %+v", len(it.Frame.Payload), a.Memory())
	}
}

// BenchmarkRefer is an event there, and the word that it was read back, over a ring: its payload copied, and read
// where it was written. ReferFrom is where the second begins to be the faster one.
func BenchmarkRefer(b *testing.B) {
	for _, size := range []int{4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10, 1 << 20} {
		for _, how := range []string{"copied", "referred"} {
			b.Run(fmt.Sprint(size, "/", how), func(b *testing.B) {
				g := pair(b, 0)
				overRings(b, g)
				defer g.close()
				g.startAll()
				from, to := g.node("a", 0), g.node("b", 0)
				lends(g, from, to)
				plain := make([]byte, size)
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					ev := quicmesh.Event{Payload: plain}
					var r *arena.Region
					if how == "referred" {
						r = from.Alloc(context.Background(), size)
						ev.Payload = r.Bytes()
					}
					if err := from.Send(context.Background(), 0, &ev); err != nil {
						b.Fatal(err)
					}
					if r != nil {
						r.Release()
					}
					items, err := to.Receive(context.Background(), to.buf)
					if err != nil {
						b.Fatal(err)
					}
					items[0].Release()
				}
			})
		}
	}
}

// TestReferencesInAnotherLife: what a receiver reads in place of a sender that has died stays readable, and counts
// for the next one; of a receiver that has died, the sender keeps all that wasn't done.
func TestReferencesInAnotherLife(t *testing.T) {
	const most = 128 // payloads by reference that one receiver holds
	g := pair(t, 0)
	progress := map[string][]byte{"a": make([]byte, quicmesh.ProgressSize(2)), "b": make([]byte, quicmesh.ProgressSize(2))}
	g.tune = func(c *quicmesh.Config) {
		c.Window, c.Progress = 32<<20, progress[c.Self.Stage]
		c.Lost = func(_ uint16, _ quicmesh.Slot, frames uint64) { t.Errorf("%d frames are lost", frames) }
	}
	overRings(t, g)
	defer g.close()
	g.startAll()
	again := func(stage string) *node {
		g.node(stage, 0).close()
		n := g.start(stage, 0, 1)
		n.Accept()
		g.tell()
		if err := g.node("a", 0).WaitLinks(g.deadline()); err != nil {
			t.Fatal(err)
		}
		return n
	}
	a, b := g.node("a", 0), g.node("b", 0)
	send := func(number int) {
		t.Helper()
		r := a.Alloc(t.Context(), 64<<10)
		binary.LittleEndian.PutUint64(r.Bytes(), uint64(number))
		sendRegion(g, a, r)
	}
	var taken []quicmesh.Item
	take := func(number int) {
		t.Helper()
		it := g.next(b)
		if got := binary.LittleEndian.Uint64(it.Frame.Payload); got != uint64(number) || len(it.Frame.Payload) != 64<<10 {
			t.Fatalf("event %d with %d bytes, want %d", got, len(it.Frame.Payload), number)
		}
		taken = append(taken, it)
	}
	lends(g, a, b)
	free(g, a) // a release may be on its way, and counts until it has come
	for i := range most {
		send(i)
		take(i)
	}
	a = again("a")
	for i := most; i < most+200; i++ { // the receiver has the new memory soon
		send(i)
		take(i)
		taken[most].Release()
		taken = taken[:most]
	}
	if n := a.Stats().Links[0].Referred; n != 0 || !a.LinksUp() {
		t.Errorf("%d more by reference, beyond %d", n, most)
	}
	for i := range taken {
		if got := binary.LittleEndian.Uint64(taken[i].Frame.Payload); got != uint64(i) {
			t.Errorf("event %d of the life before reads %d by now", i, got)
		}
		taken[i].Release()
	}
	taken = nil
	lends(g, a, b)
	for i := range 5 {
		send(i)
		take(i)
	}
	b = again("b")
	taken = nil // the last life's: it releases nothing
	for i := range 5 {
		take(i)
		taken[i].Release()
	}
	free(g, a)
}
