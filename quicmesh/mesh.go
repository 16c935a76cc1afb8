package quicmesh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// Errors of a Mesh's methods, wrapped.
var (
	// ErrStale: the event, barrier or end belongs to an attempt that has been rolled back. Forget it.
	ErrStale = errors.New("quicmesh: of an attempt that was rolled back")
	// ErrTooLarge: the event is beyond the edge's MaxPayload, or its id, key and headers beyond their room.
	ErrTooLarge = errors.New("quicmesh: event too large")
	// ErrEdge: there is no such edge out of this slot.
	ErrEdge = errors.New("quicmesh: no such edge")
	// ErrClosed: the mesh is closed.
	ErrClosed = errors.New("quicmesh: closed")
)

// closeGrace is how long Close waits for goodbyes to be written.
const closeGrace = time.Second

// Mesh is one slot's place among its neighbours. Its methods are safe for concurrent use, but Receive
// belongs to one goroutine.
type Mesh struct {
	cfg   Config
	arena *arena.Arena // nil: payloads are copied

	ctx    context.Context // of all goroutines; nil before Open
	cancel context.CancelFunc
	loops  sync.WaitGroup

	attempt  atomic.Uint64 // changed under inbox.mu only
	out      []*outEdge
	joins    atomic.Bool // our place is one of a version to come
	inbox    inbox
	progress *progress     // nil: nothing outlives the mesh
	accepted chan struct{} // closed by Accept
	accept   sync.Once
	greeting chan struct{} // one token for each stream that has not become a link yet
	guests   chan struct{} // one token for each guest

	// mu is taken before any other lock of the mesh, and around none of its waits.
	mu      sync.Mutex
	known   map[Slot]uint64 // newest incarnation heard of that holds the slot
	in      map[inputKey]*input
	joining map[inputKey]*input // of a version to come, beside those of older incarnations
	version uint64              // of the assignment that is valid
	counts  map[string]int      // slots of the stages that edges join with ours, in that version
	closed  bool

	links struct {
		mu      sync.Mutex // taken last
		up      int        // out links welcomed now
		all     int
		changed chan struct{} // closed when up changes; nil when nobody waits
	}
}

// New checks c and makes a mesh that does nothing yet.
func New(c Config) (*Mesh, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Mesh{
		cfg:      c,
		in:       map[inputKey]*input{},
		joining:  map[inputKey]*input{},
		counts:   map[string]int{},
		accepted: make(chan struct{}),
		known:    map[Slot]uint64{},
	}
	if c.Memory != nil {
		m.arena = arena.New(arena.Config{Make: c.Memory, Most: c.MaxMemory, Grown: m.lendAll})
	}
	m.attempt.Store(uint64(c.Attempt))
	m.joins.Store(c.Joins)
	if c.Progress != nil {
		if m.progress, err = openProgress(m, c.Progress); err != nil {
			return nil, err
		}
	}
	for _, e := range c.Out {
		m.counts[e.To] = e.Replicas
		m.out = append(m.out, newOutEdge(m, e))
	}
	aligned := 0
	for _, e := range c.In {
		m.counts[e.From] = e.Replicas
		for i := range e.Replicas {
			if !e.leadsTo(i, c.Self.Index) {
				continue
			}
			in := e.input(unaligned, Slot{e.From, i})
			if !e.Return {
				in.number = aligned
				aligned++
			}
			m.in[inputKey{e.ID, i}] = in
		}
	}
	m.inbox.init(m, aligned)
	m.greeting = make(chan struct{}, 2*len(m.in)+64)
	if c.Guests != nil {
		m.guests = make(chan struct{}, c.Guests.Most)
	}
	return m, nil
}

// Open starts the mesh's goroutines; only Close stops them, not the end of ctx. Links wait for
// SetPeers, and for the peers.
func (m *Mesh) Open(ctx context.Context) error {
	if err := m.launch(ctx); err != nil {
		return err
	}
	if m.progress != nil {
		m.progress.open()
	}
	return nil
}

func (m *Mesh) launch(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.ctx != nil {
		return fmt.Errorf("open a second time: %w", ErrClosed)
	}
	m.ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	m.loops.Go(func() { m.acceptLoop(m.cfg.Transport) })
	if m.cfg.Near != nil {
		m.loops.Go(func() { m.acceptLoop(m.cfg.Near) })
	}
	for _, e := range m.out {
		for _, l := range e.links {
			l.launch()
		}
	}
	return nil
}

// Accept lets peers' links come up: until then those who dial wait. Called when what the events are
// for is ready, so that readiness runs from the sinks to the sources.
func (m *Mesh) Accept() { m.accept.Do(func() { close(m.accepted) }) }

// Close says goodbye on every link and stops all goroutines. Blocked calls return ErrClosed. What
// peers have not acknowledged is lost. The transport stays open.
func (m *Mesh) Close() error {
	m.mu.Lock()
	opened := m.ctx != nil
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.mu.Unlock()
	m.progress.close() // what the inbox drops now isn't done
	if opened {
		m.cancel()
	}
	m.inbox.close()
	for _, e := range m.out {
		e.close()
	}
	m.linksChanged(0)
	m.loops.Wait()
	for _, e := range m.out {
		e.forget()
	}
	if m.arena != nil {
		m.arena.Close()
	}
	return nil
}

// LinksUp tells whether every outgoing link is up.
func (m *Mesh) LinksUp() bool {
	m.links.mu.Lock()
	defer m.links.mu.Unlock()
	return m.links.up == m.links.all
}

// WaitLinks waits until every outgoing link is up: welcomed by its peer.
func (m *Mesh) WaitLinks(ctx context.Context) error {
	for {
		m.links.mu.Lock()
		if m.links.changed == nil {
			m.links.changed = make(chan struct{})
		}
		up, all, changed := m.links.up, m.links.all, m.links.changed
		m.links.mu.Unlock()
		if m.isClosed() {
			return fmt.Errorf("wait for links: %w", ErrClosed)
		}
		if up == all {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for links, %d of %d are up: %w", up, all, ctx.Err())
		}
	}
}

// linksChanged notes links that came up or went down.
func (m *Mesh) linksChanged(by int) {
	m.links.mu.Lock()
	defer m.links.mu.Unlock()
	m.links.up += by
	if m.links.changed != nil {
		close(m.links.changed)
		m.links.changed = nil
	}
}

// linkCount notes links that were made or are of no version any more.
func (m *Mesh) linkCount(by int) {
	m.links.mu.Lock()
	m.links.all += by
	m.links.mu.Unlock()
	m.linksChanged(0)
}

func (m *Mesh) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// life counts the meshes that go on with one another.
func (m *Mesh) life() uint64 {
	if m.progress == nil {
		return 0
	}
	return m.progress.life
}

// lost tells of frames that an earlier life has written to a peer which has lost them, with its process.
func (m *Mesh) lost(l *outLink, frames uint64) {
	to := Slot{l.edge.to, l.index}
	m.cfg.Log("frames lost", "edge", l.edge.id, "to", to.String(), "frames", frames)
	if m.cfg.Lost != nil {
		m.cfg.Lost(l.edge.id, to, frames)
	}
}

// Attempt is the attempt the mesh is in.
func (m *Mesh) Attempt() frame.Attempt { return frame.Attempt(m.attempt.Load()) }

// Rollback begins attempt a, if it is higher than the current one. Sends that wait fail with ErrStale,
// what was received and not taken is dropped, barriers and ends of inputs are forgotten, and the next
// item received is a KindRollback. Events in hand are still to be released, or their links run dry.
func (m *Mesh) Rollback(a frame.Attempt) {
	m.inbox.mu.Lock()
	defer m.inbox.mu.Unlock()
	m.inbox.rollback(a)
}
