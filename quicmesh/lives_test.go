package quicmesh_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// mortal is a transport whose process can die: all its streams end where they are, and what was written
// before can be read by the peers.
type mortal struct {
	transport.Transport
	dead chan struct{} // closed by die

	mu      sync.Mutex
	fuse    int // bytes that may still be written before it dies
	streams []transport.Stream
}

var errDead = errors.New("this process is dead")

func newMortal(t transport.Transport, fuse int) *mortal {
	return &mortal{Transport: t, fuse: fuse, dead: make(chan struct{})}
}

func (p *mortal) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isDead() {
		close(p.dead)
	}
	for _, s := range p.streams {
		s.Close()
	}
	p.streams = nil
}

func (p *mortal) isDead() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

func (p *mortal) keep(s transport.Stream, err error) (transport.Stream, error) {
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isDead() {
		s.Close()
		return nil, errDead
	}
	p.streams = append(p.streams, s)
	return &mortalStream{s, p}, nil
}

func (p *mortal) Dial(ctx context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	return p.keep(p.Transport.Dial(ctx, addr, peer))
}

func (p *mortal) Accept(ctx context.Context) (transport.Stream, error) {
	return p.keep(p.Transport.Accept(ctx))
}

type mortalStream struct {
	transport.Stream
	process *mortal
}

// Write writes what the process lives to write.
func (s *mortalStream) Write(b []byte) (int, error) {
	p := s.process
	p.mu.Lock()
	most := min(len(b), max(p.fuse, 0))
	p.fuse -= len(b)
	p.mu.Unlock()
	n, err := s.Stream.Write(b[:most])
	if most < len(b) {
		p.die()
		return n, errDead
	}
	return n, err
}

// lives is a chain of slots, one of which dies again and again and goes on with its progress.
type lives struct {
	*graph
	mortal   quicmesh.Slot
	random   *rand.Rand
	progress []byte
	life     int
	process  *mortal // the life now

	mu    sync.Mutex
	work  map[string]bool // events that a life had in work, or may have had, when it ended
	fresh []string        // of this life: not known to be done
}

// newLives makes the graph of two sources a, a stage m and a sink z.
func newLives(t *testing.T, mortal string, seed uint64) *lives {
	g := newGraph(t, seed, map[string]int{"a": 2, "m": 1, "z": 1}, edge{"a", "m", route.Balance}, edge{"m", "z", route.Balance})
	l := &lives{graph: g, mortal: quicmesh.Slot{Stage: mortal}, random: rand.New(rand.NewPCG(seed, 2)),
		progress: make([]byte, quicmesh.ProgressSize(4)), work: map[string]bool{}}
	g.tune = func(c *quicmesh.Config) {
		c.Window = 16 << 10
		if c.Self.Stage == mortal {
			c.Progress = l.progress
			c.Lost = func(_ uint16, to quicmesh.Slot, frames uint64) { t.Errorf("%d frames to %v are lost", frames, to) }
		}
	}
	listen := g.listen
	g.listen = func(self transport.Identity, name string) transport.Transport {
		if self.Stage != mortal {
			return listen(self, name)
		}
		l.life++
		fuse := l.random.IntN(30_000)
		if l.life == 1 {
			fuse += 2000 // so that the graph comes up
		}
		l.process = newMortal(listen(self, fmt.Sprint(name, "/", l.life)), fuse)
		for _, n := range g.nodes { // what a life wrote last arrives late, or not
			g.net.Delay(l.process.Addr(), n.peer.Addr, time.Duration(l.random.IntN(3))*4*time.Millisecond)
		}
		return l.process
	}
	return l
}

// took notes that an event is in work.
func (l *lives) took(event string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh = append(l.fresh, event)
}

// settle notes that everything taken is done.
func (l *lives) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh = l.fresh[:0]
}

// ends notes what was in work.
func (l *lives) ends() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, event := range l.fresh {
		l.work[event] = true
	}
	l.fresh = nil
}

// again lives once more, after the process has died.
func (l *lives) again() {
	l.node(l.mortal.Stage, 0).Mesh.Close() // what is left of it: it writes nothing and marks nothing
	l.ends()
	l.start(l.mortal.Stage, 0, 1).Accept()
	l.tell()
}

// pass is the function of a life: each event makes one of the same name. It returns when the mesh is closed.
// Events are taken one by one, or some at a time.
func (l *lives) pass(n *node, random *rand.Rand) {
	ctx := context.Background()
	var held []quicmesh.Item
	release := func() {
		for i := range held {
			held[i].Release()
		}
		held = held[:0]
		if random.IntN(4) == 0 && n.LinksUp() {
			time.Sleep(20 * time.Millisecond) // simulated: what can be written is written
			if n.LinksUp() {
				l.settle()
			}
		}
	}
	buf := make([]quicmesh.Item, 0, 16)
	for {
		items, err := n.Receive(ctx, buf)
		if err != nil {
			return
		}
		for i := range items {
			it := &items[i]
			switch it.Kind {
			case quicmesh.KindEvent:
				l.took(string(it.Frame.Payload))
				err = n.Send(ctx, 1, &quicmesh.Event{Payload: it.Frame.Payload, ID: it.Frame.ID})
				held = append(held, *it)
			case quicmesh.KindBarrier:
				release()
				err = n.SwitchOf(ctx, it.Attempt, it.Barrier, it.Version)
			case quicmesh.KindEnd:
				release()
				err = n.EndOf(ctx, it.Attempt)
			}
			if err != nil {
				return
			}
			if random.IntN(3) == 0 {
				release()
			}
			if random.IntN(10) == 0 {
				time.Sleep(time.Duration(random.IntN(5)) * time.Millisecond)
			}
		}
		release()
	}
}

// feed is a source: events, and after each 40 a barrier, when the one two before has come through.
func (l *lives) feed(n *node, events int, through <-chan uint64) {
	ctx := context.Background()
	passed := uint64(0)
	for i := range events {
		text := fmt.Sprintf("%d:%d:%s", n.peer.Index, i, strings.Repeat("x", i%300))
		if err := n.Send(ctx, 0, &quicmesh.Event{Payload: []byte(text)}); err != nil {
			l.t.Error(err)
			return
		}
		if i%40 != 39 {
			continue
		}
		number := uint64(i/40 + 1)
		for number > passed+2 {
			passed = <-through
		}
		if err := n.Barrier(ctx, number); err != nil {
			l.t.Error(err)
			return
		}
	}
	if err := n.End(ctx); err != nil {
		l.t.Error(err)
	}
}

// drain is the sink: it checks that everything comes, in order, and twice only what was in work.
func (l *lives) drain(n *node, events int, through []chan uint64) (twice int) {
	next := map[int]int{}
	barrier := uint64(0)
	buf := make([]quicmesh.Item, 0, 16)
	for {
		items, err := n.Receive(context.Background(), buf)
		if errors.Is(err, quicmesh.ErrClosed) {
			return twice
		}
		for i := range items {
			it := &items[i]
			switch it.Kind {
			case quicmesh.KindEvent:
				var source, number int
				text := string(it.Frame.Payload)
				if _, err := fmt.Sscanf(text, "%d:%d:", &source, &number); err != nil {
					l.t.Error(err)
				}
				l.mu.Lock()
				worked := l.work[text]
				l.mu.Unlock()
				switch {
				case number == next[source]:
					next[source]++
				case number > next[source]:
					l.t.Errorf("source %d: event %d comes after %d", source, number, next[source]-1)
					next[source] = number + 1
				case worked:
					twice++
				default:
					l.t.Errorf("source %d: event %d comes twice, and was not in work when a life ended", source, number)
				}
			case quicmesh.KindBarrier:
				if it.Barrier != barrier+1 {
					l.t.Errorf("barrier %d comes after %d", it.Barrier, barrier)
				}
				barrier = it.Barrier
				for source := range 2 {
					if next[source] < int(40*barrier) {
						l.t.Errorf("barrier %d overtakes event %d of source %d", barrier, next[source], source)
					}
					through[source] <- barrier
				}
			case quicmesh.KindEnd:
				for source := range 2 {
					if next[source] != events {
						l.t.Errorf("the end comes behind %d events of source %d, of %d", next[source], source, events)
					}
				}
				if barrier != uint64(events/40) {
					l.t.Errorf("the end comes behind barrier %d, of %d", barrier, events/40)
				}
				return twice
			}
			it.Release()
		}
	}
}

// A stage between two sources and a sink dies at random points: nothing is lost, nothing overtakes, and what
// comes twice was in work.
func TestLivesLoseNothing(t *testing.T) {
	const events = 600
	lived, twice := 0, 0
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLives(t, "m", seed+1)
				defer l.close()
				l.startAll()
				through := []chan uint64{make(chan uint64, events), make(chan uint64, events)}
				var sources, functions sync.WaitGroup
				for source := range 2 {
					sources.Go(func() { l.feed(l.node("a", source), events, through[source]) })
				}
				done := make(chan int)
				go func() { done <- l.drain(l.node("z", 0), events, through) }()
				for ended := false; !ended; {
					seed := l.random.Uint64()
					n, process := l.node("m", 0), l.process
					functions.Go(func() { l.pass(n, rand.New(rand.NewPCG(seed, 0))) })
					select {
					case n := <-done:
						twice += n
						ended = true
					case <-process.dead:
						if l.random.IntN(2) == 0 {
							time.Sleep(time.Duration(l.random.IntN(50)) * time.Millisecond)
						}
						l.again()
						lived++
					case <-time.After(10 * time.Minute):
						t.Error("nothing moves")
						l.node("z", 0).close()
						<-done
						ended = true
					}
				}
				if t.Failed() {
					for _, n := range l.nodes {
						n.close()
					}
				}
				sources.Wait()
				l.node("m", 0).Mesh.Close()
				functions.Wait()
			})
		})
	}
	t.Logf("%d lives ended, %d events came twice", lived, twice)
	if lived < 20 || twice == 0 {
		t.Errorf("%d lives ended, %d events came twice: that is no test", lived, twice)
	}
}

// chainOf gives a → m → z, of which m and z have a progress each. z's process is the second.
type chainOf struct {
	*graph
	progress map[string][]byte
	lifeOf   map[string]*mortal
	lost     atomic.Uint64
}

func newChain(t *testing.T, sources int) *chainOf {
	g := newGraph(t, 0, map[string]int{"a": sources, "m": 1, "z": 1}, edge{"a", "m", route.Balance}, edge{"m", "z", route.Balance})
	c := &chainOf{graph: g, lifeOf: map[string]*mortal{}, progress: map[string][]byte{
		"m": make([]byte, quicmesh.ProgressSize(4)), "z": make([]byte, quicmesh.ProgressSize(4))}}
	g.tune = func(config *quicmesh.Config) {
		config.Progress = c.progress[config.Self.Stage]
		config.Lost = func(_ uint16, _ quicmesh.Slot, frames uint64) { c.lost.Add(frames) }
	}
	lives := 0
	g.listen = func(self transport.Identity, name string) transport.Transport {
		lives++
		p := newMortal(g.net.Listen(self, fmt.Sprint(name, "/", lives)), 1<<30)
		c.lifeOf[self.Stage] = p
		return p
	}
	return c
}

// again has a stage's process die, when all have come to rest, and live once more.
func (c *chainOf) again(stage string) *node {
	synctest.Wait()
	c.lifeOf[stage].die()
	c.node(stage, 0).Mesh.Close()
	n := c.start(stage, 0, 1)
	n.Accept()
	c.tell()
	return n
}

// pass passes the next item on, as it is.
func (c *chainOf) pass(n *node) {
	it := c.next(n)
	var err error
	switch it.Kind {
	case quicmesh.KindEvent:
		c.send(n, 1, string(it.Frame.Payload))
	case quicmesh.KindBarrier:
		err = n.SwitchOf(c.deadline(), it.Attempt, it.Barrier, it.Version)
	case quicmesh.KindEnd:
		err = n.EndOf(c.deadline(), it.Attempt)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	it.Release()
}

// What a receiver has, but is not done with, its sender keeps: also over a lost connection.
func TestNotDoneIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1)
		defer c.close()
		c.startAll()
		a, m := c.node("a", 0), c.node("m", 0)
		for i := range 4 {
			c.send(a, 0, fmt.Sprint(i))
		}
		c.pass(m)
		first, second := c.next(m), c.next(m)
		second.Release() // behind one that isn't done
		synctest.Wait()
		c.net.Cut(a.peer.Addr, m.peer.Addr)
		c.net.Heal(a.peer.Addr, m.peer.Addr)
		time.Sleep(time.Second) // simulated
		c.send(a, 0, "4")
		if l := a.Stats().Links[0]; l.Sessions != 2 || l.Resent != 0 || l.Kept == 0 {
			t.Errorf("after a cut: %+v", l)
		}
		m = c.again("m")
		first.Release() // of another life: nothing
		for i := 1; i < 5; i++ {
			c.expect(m, fmt.Sprint(i))
		}
		c.expect(c.node("z", 0), "0")
		time.Sleep(time.Second) // simulated
		for _, l := range append(a.Stats().Links, m.Stats().Links...) {
			if l.InFlight != 0 || l.Kept != 0 || !l.Up {
				t.Errorf("in the end: %+v", l)
			}
		}
		if c.lost.Load() != 0 {
			t.Errorf("%d frames are lost", c.lost.Load())
		}
	})
}

// A link's window is that of the receiver: what an earlier life of the sender has filled it with counts until
// it is released.
func TestWindowOutlivesTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1)
		tune := c.tune
		c.tune = func(config *quicmesh.Config) { tune(config); config.Window = 1000 }
		defer c.close()
		c.startAll()
		a, z := c.node("a", 0), c.node("z", 0)
		c.send(a, 0, strings.Repeat("x", 150))
		c.send(a, 0, "small")
		c.pass(c.node("m", 0))
		c.pass(c.node("m", 0))
		m := c.again("m")
		synctest.Wait()
		c.send(a, 0, strings.Repeat("y", 150))
		sent := make(chan struct{})
		go func() { defer close(sent); c.pass(m) }()
		synctest.Wait()
		select {
		case <-sent:
			t.Error("more is on its way than the window")
		default:
		}
		held := c.next(z)
		held.Release()
		<-sent
		c.expect(z, "small")
		c.expect(z, strings.Repeat("y", 150))
	})
}

// Both processes of a link die: what the sender's last life has written, and the receiver's has not done, is
// lost, and told.
func TestLossIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1)
		defer c.close()
		c.startAll()
		a := c.node("a", 0)
		for i := range 3 {
			c.send(a, 0, fmt.Sprint(i))
			c.pass(c.node("m", 0))
		}
		c.expect(c.node("z", 0), "0")
		m := c.again("m")
		synctest.Wait()
		if c.lost.Load() != 0 {
			t.Errorf("%d frames are lost to a receiver that lives", c.lost.Load())
		}
		c.send(a, 0, "3")
		c.pass(m)
		z := c.again("z")
		c.expect(z, "3")
		if c.lost.Load() != 2 {
			t.Errorf("%d frames are said to be lost, 2 are", c.lost.Load())
		}
		synctest.Wait() // both at once
		c.send(a, 0, "4")
		c.pass(m)
		synctest.Wait()
		c.lifeOf["z"].die()
		z.Mesh.Close()
		c.again("m")
		z = c.start("z", 0, 1)
		z.Accept()
		c.tell()
		if err := c.node("m", 0).WaitLinks(c.deadline()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it is told when the link is up
		if c.lost.Load() != 3 {
			t.Errorf("%d frames are said to be lost, 3 are", c.lost.Load())
		}
	})
}

// A link for which the progress has no room: when both processes die, nobody knows what was written, and a loss is told.
func TestLossOnALinkWithoutARecord(t *testing.T) {
	for name, both := range map[string]bool{"the sender dies": false, "both die": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newChain(t, 1)
				defer c.close()
				c.progress["m"] = make([]byte, quicmesh.ProgressSize(1))
				m, a := c.start("m", 0, 1), c.start("a", 0, 1)
				m.Accept()
				c.tell()
				if err := a.WaitLinks(c.deadline()); err != nil { // it has the record
					t.Fatal(err)
				}
				z := c.start("z", 0, 1)
				z.Accept()
				c.tell()
				for i := range 3 {
					c.send(a, 0, fmt.Sprint(i))
					c.pass(m)
				}
				c.expect(z, "0")
				synctest.Wait()
				if both {
					c.lifeOf["z"].die()
					z.Mesh.Close()
				}
				m = c.again("m")
				if both {
					z = c.start("z", 0, 1)
					z.Accept()
					c.tell()
				}
				if err := m.WaitLinks(c.deadline()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if told := c.lost.Load() > 0; told != both {
					t.Errorf("a loss is told: %v", told)
				}
			})
		})
	}
}

func TestOlderLifeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pair(t, 0)
		defer g.close()
		b := g.start("b", 0, 1)
		b.Accept()
		self := slotIdentity(quicmesh.Slot{Stage: "a"}, 1)
		d := g.dial(t, self, b)
		defer d.close()
		h := helloOf(self, 0, b)
		h["life"] = 3
		d.write(helloFrame(h))
		if f := d.read(); f.Type != frame.Welcome {
			t.Fatalf("type %d instead of a welcome", f.Type)
		}
		late, err := d.own.Dial(g.deadline(), b.peer.Addr, slotIdentity(b.peer.Slot(), 1))
		if err != nil {
			t.Fatal(err)
		}
		h["life"] = 2
		older := &dialled{late, t, d.own}
		older.write(helloFrame(h))
		if got := older.bye(); !strings.Contains(got, "life 3 by now") {
			t.Errorf("refused with %q", got)
		}
		d.write(event(1, "the newer one goes on"))
		g.expect(b, "the newer one goes on")
	})
}

// What waited for other inputs in one life waits for them in the next, and of a sender that has gone nothing
// comes again.
func TestBarrierAndEndWaitInTheNextLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 2)
		defer c.close()
		c.startAll()
		first, second, z := c.node("a", 0), c.node("a", 1), c.node("z", 0)
		if err := errors.Join(first.Barrier(t.Context(), 1), first.Barrier(t.Context(), 2)); err != nil {
			t.Fatal(err)
		}
		c.send(first, 0, "behind it")
		c.pass(c.node("m", 0))
		if err := first.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Second) // simulated: all of it is acknowledged
		if l := first.Stats().Links[0]; l.Kept != 0 {
			t.Errorf("an input waits for others, and its sender keeps %d bytes", l.Kept)
		}
		first.Mesh.Close()
		c.again("m")
		if err := second.Barrier(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		c.pass(c.node("m", 0))
		c.again("m")
		if err := errors.Join(second.Barrier(t.Context(), 2), second.End(t.Context())); err != nil {
			t.Fatal(err)
		}
		c.pass(c.node("m", 0))
		c.again("m")
		c.pass(c.node("m", 0)) // the end, to each life
		for _, want := range []string{"behind it", "barrier 1", "barrier 2", "end"} {
			c.expect(z, want)
		}
	})
}

// A barrier of an attempt that was rolled back is of no use to the next life.
func TestRollbackForgetsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, died := range []bool{false, true} { // before the rollback
			c := newChain(t, 2)
			c.startAll()
			first, second := c.node("a", 0), c.node("a", 1)
			if err := errors.Join(first.Barrier(t.Context(), 1), first.End(t.Context())); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if died {
				tune := c.tune
				c.tune = func(config *quicmesh.Config) { tune(config); config.Attempt = 2 }
			} else {
				c.node("m", 0).Rollback(2)
				c.tune, c.progress["z"] = func(config *quicmesh.Config) { config.Attempt, config.Progress = 2, c.progress["m"] }, nil
			}
			m := c.again("m")
			for _, n := range []*node{first, second, c.node("z", 0)} {
				n.Rollback(2)
			}
			c.expect(c.node("z", 0), "rollback 0.2")
			if err := second.Barrier(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			c.send(second, 0, "before the other has brought it")
			c.expect(m, "before the other has brought it")
			if err := first.Barrier(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			c.expect(m, "barrier 1")
			c.close()
		}
	})
}

// A barrier that makes a version valid was passed on, and the process died before the version was valid: the
// next life sends as in the next version.
func TestNextLifeSendsAsAfterTheBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1)
		c.edges[1].routing = route.Key
		defer c.close()
		c.startAll()
		a := c.node("a", 0)
		next := &quicmesh.Version{Number: 2, Replicas: map[string]int{"z": 2}}
		added := quicmesh.Slot{Stage: "z", Index: 1}
		keys := c.replicas
		keys["z"] = 2
		tune := c.tune
		c.tune = func(config *quicmesh.Config) {
			tune(config)
			if config.Self.Index == 1 {
				config.Progress, config.Joins = nil, true
			}
		}
		z := c.start("z", 1, 2)
		z.Accept()
		delete(c.nodes, added)
		defer z.close()
		var peers []quicmesh.Peer
		tell := func() {
			peers = nil
			for _, n := range c.nodes {
				peers = append(peers, n.peer)
			}
			next.Peers = append(peers, z.peer)
			for _, n := range append([]*node{z}, c.node("a", 0), c.node("m", 0), c.node("z", 0)) {
				n.SetVersions(quicmesh.Version{Number: 1, Peers: peers, Replicas: map[string]int{"z": 1}}, next)
			}
		}
		tell()
		if err := c.node("m", 0).WaitLinks(c.deadline()); err != nil {
			t.Fatal(err)
		}
		if err := a.SwitchOf(t.Context(), 1, 1, 2); err != nil {
			t.Fatal(err)
		}
		c.pass(c.node("m", 0))
		c.replicas["z"] = 1 // as the valid version has it
		m := c.again("m")
		tell()
		if err := m.WaitLinks(c.deadline()); err != nil {
			t.Fatal(err)
		}
		moved := ""
		for i := 0; moved == ""; i++ {
			if key := fmt.Sprint("k", i); route.NewTable(2).Slot(route.KeyHash([]byte(key), 42)) == 1 {
				moved = key
			}
		}
		sent := make(chan struct{})
		go func() { defer close(sent); c.send(m, 1, moved) }()
		synctest.Wait() // it waits until the version is valid
		select {
		case <-sent:
			t.Error("an event has gone to a slot that must not have it yet, or to the one before")
		default:
		}
		m.SetVersions(*next, nil)
		<-sent
		c.expect(z, "barrier 1")
		c.expect(z, moved)
	})
}

func TestProgressThatCannotBe(t *testing.T) {
	g := pair(t, 0)
	good := make([]byte, quicmesh.ProgressSize(2))
	foreign := make([]byte, len(good))
	foreign[0] = 1
	for name, test := range map[string]struct {
		progress []byte
		want     string
	}{
		"small":       {make([]byte, 100), "make them of ProgressSize"},
		"not aligned": {make([]byte, 1000)[1:], "aligned"},
		"foreign":     {foreign, "something else"},
		"good":        {good, ""},
		"again":       {good, ""},
	} {
		c := g.config(quicmesh.Slot{Stage: "b"}, 1)
		c.Transport, c.Progress = g.net.Listen(c.Self, name), test.progress
		if _, err := quicmesh.New(c); (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// More links than the progress has room for: they are refused, and say why.
func TestFullProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGraph(t, 0, map[string]int{"a": 2, "b": 1}, edge{"a", "b", route.Balance})
		g.tune = func(c *quicmesh.Config) {
			if c.Self.Stage == "b" {
				c.Progress = make([]byte, quicmesh.ProgressSize(1))
			}
		}
		defer g.close()
		b := g.start("b", 0, 1)
		b.Accept()
		for i := range 2 {
			g.start("a", i, 1)
			g.tell()
			synctest.Wait()
		}
		if s := g.node("a", 1).Stats().Links[0]; s.Up || !strings.Contains(s.Reason, "no room for the progress") {
			t.Errorf("the second link: %+v", s)
		}
		// The first one's holder has changed: its record is for the new one.
		g.node("a", 0).close()
		young := g.start("a", 0, 2)
		g.tell()
		if err := young.WaitLinks(g.deadline()); err != nil {
			t.Error(err)
		}
	})
}
