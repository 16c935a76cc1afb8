package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/shm"
)

const (
	// minArena and maxArena bound one arena, in bytes.
	minArena = 1 << 20
	maxArena = 1 << 30
	// ringsShare is what of a pipeline's part of the memory is not for arenas: 1/ringsShare. A link without a ring
	// costs more than a payload without an arena.
	ringsShare = 4
)

// arena answers a proxy that wants memory for payloads, which its peers are to read in place.
func (p *peer) arena(m *control.Message, reply func(control.Answer)) {
	var a control.Arena
	if err := m.Decode(&a); err != nil {
		reply(control.Answer{Err: err})
		return
	}
	o := p.speaksFor(a.Namespace, a.Pipeline, a.Of.Slot, a.Of.Incarnation)
	switch {
	case o == nil:
		reply(control.Answer{Err: fmt.Errorf("slot %v of %s/%s was not given to this worker", a.Of.Slot, a.Namespace, a.Pipeline)})
		return
	case a.Size < minArena || a.Size > maxArena:
		reply(control.Answer{Err: fmt.Errorf("an arena of %d bytes; they have %d to %d", a.Size, minArena, maxArena)})
		return
	}
	p.work(reply, func(context.Context) { // memory is zeroed: that takes a moment
		f, err := p.grantArena(o, a)
		answer := outgoing{answer: reply, body: control.ArenaReply{}, err: err}
		if later := (errLater{}); errors.As(err, &later) {
			answer.body, answer.err = control.ArenaReply{Reason: later.reason}, nil
		} else if err == nil {
			answer.files = []*os.File{f}
		}
		p.put(answer)
	})
}

// grantArena makes an arena. It counts as long as its slot is held and somebody has it: that a worker says it has given
// one back would not do.
func (p *peer) grantArena(o *owner, a control.Arena) (*os.File, error) {
	if !beside(p.fact()) {
		return nil, errors.New("this worker reaches the hook over TCP")
	}
	r := &p.hook.rings
	r.sweep()
	l, err := r.reserve(grant{o.name, a.Of.Slot, a.Of.Incarnation}, a.Size, p.hook.cfg.RingMemory)
	if err != nil {
		return nil, err
	}
	f, err := r.makeArena(l, int(a.Size))
	// Who has lost a slot meanwhile has not been found when its arenas were released.
	if err != nil || p.hook.owner(o.name) != o || p.speaksFor(a.Namespace, a.Pipeline, a.Of.Slot, a.Of.Incarnation) == nil {
		r.release(func(x lane) bool { return x == l })
	}
	return f, err
}

// makeArena makes what was reserved.
func (r *rings) makeArena(l lane, size int) (*os.File, error) {
	f, err := shm.CreateArena("weft-arena", size)
	if err != nil {
		return nil, err
	}
	f, watch, err := shm.Watch(f)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, reserved := r.made[l]; reserved {
		s.file = watch
		r.made[l] = s
	} else {
		_ = watch.Close() // the slot was lost
	}
	return f, nil
}

// reserve takes an arena's bytes out of the memory, of which there are most.
func (r *rings) reserve(g grant, size, most int64) (lane, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	part := most / pipelineShare
	all, of := r.used(g)
	if all.bytes()+size > most || of.bytes()+size > part || of.arenas+size > part-part/ringsShare {
		return lane{}, full(all, of)
	}
	l := lane{from: g, to: g}
	for _, taken := r.made[l]; taken; _, taken = r.made[l] {
		l.number++
	}
	r.keep(l, share{arena: true, size: size})
	return l, nil
}
