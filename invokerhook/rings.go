package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/invokerhook/attest"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// pipelineShare is the part of a hook's memory for rings that one pipeline may have: 1/pipelineShare.
const pipelineShare = 4

// lane is one ring's place: between two holders of slots, who get the same memory whenever they ask. An arena's is
// from a holder to itself.
type lane struct {
	from, to grant
	number   int
}

// share is one lane's memory.
type share struct {
	file  *os.File // watches it; nil while it is made
	arena bool
	size  int64
}

// rings is the memory that slots of this host share, which nobody else ever gets. It counts until one of
// the two doesn't hold its slot any more: what a living worker still has mapped then is its own container's.
// It counts no longer than somebody has it: a link may go over to QUIC, and each process of a function gets an arena
// of its own.
type rings struct {
	mu    sync.Mutex
	made  map[lane]share
	short map[*peer]struct{} // who was refused one since there was last reason to ask again
}

// errLater is why two slots have no ring, or one no arena, now; they may when they ask again.
type errLater struct{ reason string }

func (e errLater) Error() string { return e.reason }

// full says that there is no memory now, by what is in use.
func full(all, of use) error {
	return errLater{fmt.Sprintf("the hook has no memory left for it: %d rings are in use, %d of them by this pipeline; for payloads %d MiB, %d of them",
		all.rings, of.rings, all.arenas>>20, of.arenas>>20)}
}

// use is what rings, and arenas' bytes, there are.
type use struct {
	rings  int
	arenas int64
}

func (u use) bytes() int64 { return int64(u.rings)*shmring.Size + u.arenas }

func (u *use) add(s share) {
	if s.arena {
		u.arenas += s.size
	} else {
		u.rings++
	}
}

// used is what everybody has, and what a pipeline has of it. The caller holds mu.
func (r *rings) used(by grant) (all, of use) {
	for l, s := range r.made {
		all.add(s)
		if l.from.name == by.name {
			of.add(s)
		}
	}
	return all, of
}

// memory gives a lane's ring, as a descriptor of the caller's. most is in bytes.
func (r *rings) memory(l lane, most int64) (*os.File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.made[l]; ok {
		return shm.Watched(s.file)
	}
	all, of := r.used(l.from)
	if all.bytes()+shmring.Size > most || of.bytes()+shmring.Size > most/pipelineShare {
		return nil, full(all, of)
	}
	f, err := shmring.NewMemory()
	if err != nil {
		return nil, err
	}
	given, watch, err := shm.Watch(f)
	if err != nil {
		return nil, err
	}
	r.keep(l, share{file: watch})
	return given, nil
}

// keep notes a lane's memory. The caller holds mu.
func (r *rings) keep(l lane, s share) {
	if r.made == nil {
		r.made = map[lane]share{}
	}
	r.made[l] = s
}

// bytes is how much memory rings and arenas have.
func (r *rings) bytes() int64 {
	r.sweep()
	r.mu.Lock()
	defer r.mu.Unlock()
	all, _ := r.used(grant{})
	return all.bytes()
}

// refused remembers who is to hear when it is worth asking again.
func (r *rings) refused(p *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.short == nil {
		r.short = map[*peer]struct{}{}
	}
	r.short[p] = struct{}{}
}

// release forgets the memory of the lanes that match. Those for whom there was none may ask again.
func (r *rings) release(match func(lane) bool) {
	r.free(func(l lane, _ share) bool { return match(l) })
}

// sweep forgets what nobody has any more, as the kernel says.
func (r *rings) sweep() {
	r.free(func(_ lane, s share) bool { return s.file != nil && shm.Alone(s.file) })
}

func (r *rings) free(match func(lane, share) bool) {
	if r.forgetAll(match) {
		r.askAgain()
	}
}

func (r *rings) forgetAll(match func(lane, share) bool) (any bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l, s := range r.made {
		if match(l, s) {
			shm.CloseAll([]*os.File{s.file})
			delete(r.made, l)
			any = true
		}
	}
	return any
}

// askAgain tells those who were refused that something has changed: there is memory, or a holder is back.
func (r *rings) askAgain() {
	r.mu.Lock()
	tell := slices.Collect(maps.Keys(r.short))
	clear(r.short)
	r.mu.Unlock()
	for _, p := range tell {
		p.put(outgoing{typ: control.TypeRoom})
	}
}

// forget a peer whose connection has ended.
func (r *rings) forget(p *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.short, p)
}

// releaseOf forgets what a holder of a slot has shared with others.
func (r *rings) releaseOf(g grant) {
	r.release(func(l lane) bool { return l.from == g || l.to == g })
}

// ring answers a proxy that wants memory to share with another slot's.
func (p *peer) ring(m *control.Message, reply func(control.Answer)) {
	var r control.Ring
	if err := m.Decode(&r); err != nil {
		reply(control.Answer{Err: err})
		return
	}
	o := p.speaksFor(r.Namespace, r.Pipeline, r.From.Slot, r.From.Incarnation)
	if o == nil {
		reply(control.Answer{Err: fmt.Errorf("slot %v of %s/%s was not given to this worker", r.From.Slot, r.Namespace, r.Pipeline)})
		return
	}
	p.work(reply, func(context.Context) { // memory is zeroed: that takes a moment
		files, reason, err := p.share(o, r)
		var not errLater
		later := errors.As(err, &not)
		if later {
			p.hook.rings.refused(p)
			reason, err = not.reason, nil
		}
		p.put(outgoing{answer: reply, body: control.RingReply{Reason: reason, Later: later}, files: files, err: err})
	})
}

// share makes a ring and hands its other end to the peer. The reason is why the two can't have one.
func (p *peer) share(o *owner, r control.Ring) (files []*os.File, reason string, err error) {
	if edges := edgesBetween(o.spec, r.From.Slot.Stage, r.To.Slot.Stage); r.Lane < 0 || r.Lane >= edges {
		return nil, "", fmt.Errorf("%d edges lead from %s to %s, which lane %d is none of", edges, r.From.Slot.Stage, r.To.Slot.Stage, r.Lane)
	}
	l := lane{grant{o.name, r.From.Slot, r.From.Incarnation}, grant{o.name, r.To.Slot, r.To.Incarnation}, r.Lane}
	other, away := p.hook.holderOf(l.to)
	switch {
	case away:
		return nil, "", fmt.Errorf("the proxy of %v is away", r.To.Slot)
	case other == nil: // or this hook is new, and it hasn't come back yet
		return nil, "", errLater{fmt.Sprintf("%v is not on this host", r.To.Slot)}
	case !beside(p.fact()) || !beside(other.fact()):
		return nil, "one of the two reaches the hook over TCP", nil
	}
	p.hook.rings.sweep()
	near, far, err := p.hook.ends(l)
	if errors.As(err, new(errLater)) {
		return nil, "", err
	}
	if err != nil {
		return nil, err.Error(), nil
	}
	other.put(outgoing{typ: control.TypeOffer, body: control.Offer{Namespace: r.Namespace, Pipeline: r.Pipeline, From: r.From, To: r.To}, files: far})
	// Who has lost a slot meanwhile has not been found when its lanes were released.
	if p.hook.owner(o.name) != o || p.speaksFor(r.Namespace, r.Pipeline, r.From.Slot, r.From.Incarnation) == nil || ended(other) {
		p.hook.rings.release(func(x lane) bool { return x == l })
	}
	return near, "", nil
}

// ends makes both ends of a lane's ring.
func (h *Hook) ends(l lane) (near, far []*os.File, err error) {
	near, far = make([]*os.File, 2), make([]*os.File, 2)
	if near[0], err = h.rings.memory(l, h.cfg.RingMemory); err == nil {
		if far[0], err = shm.Duplicate(near[0]); err == nil {
			near[1], far[1], err = shm.Pair()
		}
	}
	if err != nil {
		shm.CloseAll(near)
		shm.CloseAll(far)
		return nil, nil, err
	}
	return near, far, nil
}

// holderOf finds the connection of who holds a slot; away: there may be one that is to come back.
func (h *Hook) holderOf(g grant) (other *peer, away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.workers {
		if _, ok := w.pipelines[g.name]; ok && w.peer == nil {
			away = true
		}
		if w.peer == nil {
			continue
		}
		if has := w.peer.granted(); has != nil && *has == g {
			return w.peer, false
		}
	}
	return nil, away
}

// fact is what is known of a greeted proxy.
func (p *peer) fact() *attest.Fact {
	p.hook.mu.Lock()
	defer p.hook.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.worker.fact
}

// beside tells whether a worker is on the hook's own host, as the kernel says.
func beside(f *attest.Fact) bool { return f.Process != nil && !f.Remote }

// edgesBetween counts the edges that lead from one stage to another.
func edgesBetween(p pipeline.Pipeline, from, to string) (n int) {
	for _, edges := range [][]pipeline.Edge{p.Edges, p.Returns()} {
		for _, e := range edges {
			if e.From == from && e.To == to {
				n++
			}
		}
	}
	return n
}
