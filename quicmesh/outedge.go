package quicmesh

import (
	"context"
	"sync"
	"time"

	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/replay"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// outEdge is the sending end of an edge: its links, one to each holder of a slot, under one lock, so
// that choosing and sending is one step.
type outEdge struct {
	mesh    *Mesh
	id      uint16
	to      string
	routing route.Routing
	back    bool // a return
	dialer  transport.Dialer
	largest int // payload, in bytes

	mu       sync.Mutex
	links    []*outLink          // to the holders in the valid version and in the next
	now      routes              // where events go
	next     *routes             // of the next version; nil: none is announced
	switched bool                // now is of the next version, which is not valid everywhere yet
	moved    *[route.Groups]bool // key groups that wait for that; nil: none
	up       []*outLink          // of now, those with a session that may take events
	picker   route.Picker
	ended    frame.Attempt // that an end was sent in; 0: none
	changed  chan struct{} // closed when a waiting send should look again; nil when nobody waits
	closed   bool
}

// routes are where events go in one version.
type routes struct {
	version uint64
	to      []*outLink // by the slots' indices; on forward edges at most one
	table   *route.Table
}

func newOutEdge(m *Mesh, c OutEdge) *outEdge {
	e := &outEdge{
		mesh:    m,
		id:      c.ID,
		to:      c.To,
		routing: c.Routing,
		back:    c.Return,
		dialer:  c.Dialer,
		largest: c.MaxPayload,
		picker:  route.NewPicker(route.KeyHash([]byte(m.cfg.Self.String()), m.cfg.Seed+uint64(c.ID))),
	}
	if e.dialer == nil {
		e.dialer = m.cfg.Transport
	}
	e.setVersions(c.Replicas, nil, nil, nil)
	return e
}

// send waits for credit and puts f on the link or links that the routing chooses. Its payload may lie in memory.
func (e *outEdge) send(ctx context.Context, f *frame.Frame, memory replay.Memory) error {
	e.mu.Lock()
	err := e.put(ctx, f, memory)
	e.mu.Unlock() // a defer would cost more than the rest of this
	return err
}

// put is send; the caller holds mu.
func (e *outEdge) put(ctx context.Context, f *frame.Frame, memory replay.Memory) error {
	size := f.Size()
	for {
		if err := e.refuses(f.Attempt); err != nil {
			return err
		}
		var short *outLink // the one that has no credit
		if e.routing == route.Broadcast {
			if short = e.withoutCredit(size); short == nil {
				for _, l := range e.now.to {
					l.push(f, memory)
				}
				return nil
			}
		} else if l := e.choose(f.KeyHash, size); l != nil && l.fits(size) && !e.waits(f.KeyHash) {
			l.push(f, memory)
			return nil
		} else {
			short = l
		}
		if err := e.waitBlocked(ctx, short); err != nil {
			return err
		}
	}
}

// waits tells whether a key's group has moved to a slot that must not have it yet. The caller holds mu.
func (e *outEdge) waits(hash uint64) bool {
	return e.moved != nil && e.moved[route.KeyGroup(hash)]
}

// choose gives the one link for a frame of size bytes and its key's hash; nil while there is none. The
// caller holds mu.
func (e *outEdge) choose(hash uint64, size int) *outLink {
	switch {
	case len(e.now.to) == 0:
		return nil // a slot that joins, on a forward edge to one that does
	case len(e.now.to) == 1:
		return e.now.to[0]
	case e.routing == route.Key:
		return e.now.to[e.now.table.Slot(hash)]
	}
	among := e.up
	if len(among) == 0 {
		among = e.now.to
	}
	i, j := e.picker.Two(len(among))
	if among[j].load() < among[i].load() {
		i = j
	}
	if among[i].fits(size) {
		return among[i]
	}
	for _, l := range among { // both are full; nobody waits while a third one is not
		if l.fits(size) {
			return l
		}
	}
	return among[i]
}

// withoutCredit is the first link without credit for size bytes. The caller holds mu.
func (e *outEdge) withoutCredit(size int) *outLink {
	for _, l := range e.now.to {
		if !l.fits(size) {
			return l
		}
	}
	return nil
}

// sendControl puts a barrier or an end on all links that it concerns. Nothing but their number bounds
// them. Behind a barrier with a version, events go as in that one.
func (e *outEdge) sendControl(ctx context.Context, f *frame.Frame, version uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		if err := e.refuses(f.Attempt); err != nil {
			return err
		}
		to := e.now.to
		if version != 0 || f.Type == frame.End {
			to = e.links
		}
		if !anyFull(to) {
			for _, l := range to {
				l.push(f, nil)
			}
			break
		}
		if err := e.wait(ctx); err != nil {
			return err
		}
	}
	if f.Type == frame.End {
		e.ended = f.Attempt
	}
	e.switchTo(version)
	return nil
}

func anyFull(links []*outLink) bool {
	for _, l := range links {
		if l.control.full() {
			return true
		}
	}
	return false
}

// refuses says why nothing of attempt a can be sent. The caller holds mu.
func (e *outEdge) refuses(a frame.Attempt) error {
	switch {
	case e.closed:
		return ErrClosed
	case a != e.mesh.Attempt():
		return ErrStale
	}
	return nil
}

// waitBlocked is wait, and counts the time for the link that has no credit, if there is one.
func (e *outEdge) waitBlocked(ctx context.Context, l *outLink) error {
	if l == nil {
		return e.wait(ctx)
	}
	if l.blocked.waiters == 0 {
		l.blocked.since = e.mesh.cfg.Now()
	}
	l.blocked.waiters++
	err := e.wait(ctx)
	l.blocked.waiters--
	if l.blocked.waiters == 0 {
		l.blocked.total += e.mesh.cfg.Now().Sub(l.blocked.since)
	}
	return err
}

// wait lets mu go until something has changed. The caller holds mu, before and after.
func (e *outEdge) wait(ctx context.Context) error {
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	changed := e.changed
	e.mu.Unlock()
	defer e.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wake lets those who wait look again. The caller holds mu.
func (e *outEdge) wake() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// rolledBack lets sends of the old attempt fail.
func (e *outEdge) rolledBack() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wake()
}

// enterRound has a round wait for the links that have something to write.
func (e *outEdge) enterRound(p *progress) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.links {
		if last := l.log.Last(); l.written < last {
			l.awaited, l.goal = true, last
			p.left.Add(1)
		}
	}
}

func (e *outEdge) flush() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		if e.closed {
			return ErrClosed
		}
		pending := false
		for _, l := range e.links {
			pending = pending || l.session != nil && (l.log.Unsent() || l.writing)
		}
		if !pending {
			return nil
		}
		if err := e.wait(context.Background()); err != nil {
			return err
		}
	}
}

// countUp and countLinks keep the numbers that WaitLinks goes by, where returns are none.
func (e *outEdge) countUp(by int) {
	if !e.back {
		e.mesh.linksChanged(by)
	}
}

func (e *outEdge) countLinks(by int) {
	if !e.back {
		e.mesh.linkCount(by)
	}
}

// relink notes that a link has, or has no longer, a session. The caller holds mu.
func (e *outEdge) relink() {
	e.refresh()
	e.wake()
}

// refresh lists the links that may take events. The caller holds mu.
func (e *outEdge) refresh() {
	e.up = e.up[:0]
	for _, l := range e.now.to {
		if l.session != nil && !l.held {
			e.up = append(e.up, l)
		}
	}
}

func (e *outEdge) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.wake()
}

// forget gives the kept frames' buffers back, after the loops have stopped.
func (e *outEdge) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.links {
		l.forget()
	}
}

// blocked is the time that sends have waited for a link's credit.
type blocked struct {
	waiters int
	since   time.Time // when waiters became 1
	total   time.Duration
}
