package invokerhook

import (
	"fmt"
	"os"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// helloProxy accepts a proxy. One that comes back says what it holds; whether it may keep that, the
// brain decides.
func (p *peer) helloProxy(h control.Hello, reply func(control.Answer)) {
	w, file, err := p.attest(h)
	if file != nil {
		reply = withFile(reply, file)
	}
	if err != nil {
		p.hook.turnedAway(RefusedCaller, err, "proxy")
		p.put(outgoing{answer: reply, err: err})
		return
	}
	answer := control.HelloReply{Version: control.Version, Hook: p.hook.cfg.Host, Keep: true}
	if h.Inventory == nil {
		p.put(outgoing{answer: reply, body: answer})
		return
	}
	inv := *h.Inventory
	name := inv.Namespace + "/" + inv.Pipeline
	o := p.hook.owner(name)
	if o == nil {
		// It has ended, or runs under another hook, or the registry was lost with it: of what a worker has, no
		// pipeline can be made again.
		answer.Keep, answer.Reason = false, fmt.Sprintf("no pipeline %s is known here", name)
		p.hook.noisy.Warn().Str("pipeline", name).Stringer("slot", inv.Slot).Msg("worker of a pipeline that the registry does not have is sent away")
		p.put(outgoing{answer: reply, body: answer})
		return
	}
	if err = p.hook.serves(w, inv.Namespace, inv.Pipeline, inv.Slot.Stage); err == nil {
		inv.Addr, err = w.addr(inv.Addr)
	}
	if err != nil {
		p.hook.turnedAway(RefusedCaller, err, "inventory")
		answer.Keep, answer.Reason = false, err.Error()
		p.put(outgoing{answer: reply, body: answer})
		return
	}
	p.hook.touch(w, name)
	o.post(item{event: conductor.Returned{Worker: w.id, Inventory: inv}, peer: p, answer: reply})
}

// attest makes the connection that of the worker the caller is, whatever it says of itself.
// The file is its heartbeat's, to be handed over.
func (p *peer) attest(h control.Hello) (*worker, *os.File, error) {
	ctx, cancel := p.context()
	defer cancel()
	fact, err := p.hook.attestor.Attest(ctx, p.caller)
	if err != nil {
		return nil, nil, err
	}
	heart, file, err := newHeart(fact, time.Now())
	if err != nil {
		fact.Close()
		return nil, nil, err
	}
	w, err := p.hook.join(p, h.Worker, fact, heart)
	if err != nil {
		heart.close()
		fact.Close()
		return nil, file, err
	}
	p.mu.Lock()
	p.role, p.worker = control.RoleProxy, w
	p.mu.Unlock()
	select {
	case <-p.conn.Done(): // before it was known whose it is
		p.hook.away(p)
	default:
	}
	return w, file, nil
}

// withFile hands a file over with the answer, and closes it then.
func withFile(reply func(control.Answer), f *os.File) func(control.Answer) {
	return func(a control.Answer) {
		if a.Err == nil {
			a.Files = []*os.File{f}
		}
		reply(a)
		_ = f.Close() // only read and mapped
	}
}

// addr is what others are told of the address the worker claims.
func (w *worker) addr(claim string) (string, error) {
	addr, err := w.fact.Addr(claim)
	if err != nil {
		return "", &refusal{RefusedAddress, err}
	}
	return addr, nil
}

// fromProxy takes a proxy's messages. What speaks for a slot is heard only if the slot was given to
// this connection.
func (p *peer) fromProxy(m *control.Message, wants bool, reply func(control.Answer)) {
	switch m.Type {
	case control.TypeLease:
		p.lease(m, reply)
	case control.TypeStep:
		p.step(m, reply)
	case control.TypeRing:
		p.ring(m, reply)
	case control.TypeArena:
		p.arena(m, reply)
	case control.TypeEnter:
		p.enter(m, reply)
	case control.TypePull, control.TypeWrite, control.TypeDead:
		p.transfer(m, reply)
	case control.TypePulse:
		p.beat()
	case control.TypeStats:
		p.stats(m)
	case control.TypeLog:
		p.print(m)
	default:
		if wants {
			reply(control.Answer{Err: fmt.Errorf("the hook knows no call %q", m.Type)})
			return
		}
		p.slotEvent(m)
	}
}

// slotEvent makes an event of a worker's word on its slot.
func (p *peer) slotEvent(m *control.Message) {
	var b control.BarrierMark
	if err := m.Decode(&b); err != nil {
		p.hook.noisy.Warn().Err(err).Msg("message of a proxy not understood")
		return
	}
	o := p.speaksFor(b.Namespace, b.Pipeline, b.Slot, b.Incarnation)
	if o == nil {
		p.hook.log.Debug().Str("type", m.Type).Stringer("slot", b.Slot).Msg("message on a slot not given here dropped")
		return
	}
	s := conductor.Holder{Slot: b.Slot, Incarnation: b.Incarnation}
	var e conductor.Event
	switch m.Type {
	case control.TypeReady:
		e = conductor.Ready{Slot: s}
	case control.TypeFailed:
		e = conductor.Failed{Slot: s, Reason: b.Reason}
	case control.TypeRestarted:
		e = conductor.Restarted{Slot: s, Reason: b.Reason}
	case control.TypePrepared:
		e = conductor.Prepared{Slot: s, Version: b.Version}
	case control.TypeEnded:
		e = conductor.Ended{Slot: s, Attempt: b.Attempt}
	case control.TypeBarrierAt:
		e = conductor.BarrierAt{Slot: s, Attempt: b.Attempt, Barrier: b.Barrier, Position: b.Position}
	case control.TypeBarrierPassed:
		e = conductor.BarrierPassed{Slot: s, Attempt: b.Attempt, Barrier: b.Barrier}
	default:
		p.hook.noisy.Warn().Str("type", m.Type).Msg("unknown message of a proxy")
		return
	}
	o.post(item{event: e})
}

func (p *peer) stats(m *control.Message) {
	var s control.Stats
	if m.Decode(&s) != nil {
		return
	}
	if o := p.speaksFor(s.Namespace, s.Pipeline, s.Slot, s.Incarnation); o != nil {
		o.stats.put(s)
	}
}

func (p *peer) print(m *control.Message) {
	var l control.Log
	if m.Decode(&l) != nil {
		return
	}
	g := p.granted()
	if g == nil || g.name != l.Namespace+"/"+l.Pipeline || g.slot != l.Slot {
		return
	}
	if o := p.hook.owner(g.name); o != nil {
		o.journal.print(l)
	}
}

// speaksFor finds the owner of the slot if it was given to this connection; else nil.
func (p *peer) speaksFor(namespace, name string, slot pipeline.Slot, incarnation uint64) *owner {
	g := p.granted()
	if g == nil || *g != (grant{namespace + "/" + name, slot, incarnation}) {
		return nil
	}
	return p.hook.owner(g.name)
}

func (p *peer) granted() *grant {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.grant
}

func (p *peer) give(g *grant) {
	p.mu.Lock()
	before := p.grant
	p.grant = g
	p.mu.Unlock()
	if before != nil && *before != *g {
		p.hook.rings.releaseOf(*before)
	}
}
