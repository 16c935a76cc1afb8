package quicmesh

import (
	"github.com/weft-stream/weft/quicmesh/barrier"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// A frame is done when its Item is released and what its user has sent before that is written: bytes in a
// stream outlive the process, those in a link's log don't. Nobody knows which outputs came of which event, so
// that a release waits for all that was sent before it, and many releases wait together, in rounds: a round
// takes what is released until then and the numbers of the last frames in the logs, and is complete when the
// writers have passed these. Then the marks move, and the next round begins if there is something for it. No
// round has a goroutine or a wake of its own: it begins in a release, or where one ends, and completes in the
// writer that is last.

// add has a link's frames in the next round. Its mark follows.
func (p *progress) add(l *inLink) {
	p.mu.Lock()
	p.fresh = append(p.fresh, l)
	begins := p.begins()
	p.mu.Unlock()
	if begins {
		p.rounds()
	}
}

// passOn has a barrier, which all links of all edges have got in attempt a, in the next round.
func (p *progress) passOn(a frame.Attempt, m barrier.Mark) {
	p.mu.Lock()
	begins := false
	if a == p.attempt && m.Number > p.passed.Number {
		p.passed = m
		begins = p.begins()
	}
	p.mu.Unlock()
	if begins {
		p.rounds()
	}
}

// begins tells whether the caller is to begin rounds. It holds mu.
func (p *progress) begins() bool {
	if p.running || p.closed {
		return false
	}
	p.running = true
	return true
}

// rounds begins a round, and further ones as long as nothing has to be waited for. The caller has no lock
// behind Mesh.mu and inbox.mu.
func (p *progress) rounds() {
	for p.enter() {
		p.left.Store(1)
		for _, e := range p.mesh.out {
			e.enterRound(p)
		}
		if p.left.Add(-1) != 0 {
			return
		}
		p.complete()
	}
}

// wrote is called by the link that a round waited for last.
func (p *progress) wrote() {
	p.complete()
	p.rounds()
}

// enter takes what is done into a new round. false: there is nothing.
func (p *progress) enter() bool {
	p.mu.Lock()
	if p.running = !p.closed && (len(p.fresh) > 0 || p.passed != p.roundHas); !p.running {
		p.mu.Unlock()
		return false
	}
	p.fresh, p.round = p.round[:0], p.fresh
	p.roundHas = p.passed
	p.mu.Unlock()
	for _, l := range p.round {
		l.enterRound()
	}
	return true
}

// complete moves the marks of the round.
func (p *progress) complete() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if m := p.roundHas; m.Number > p.head.passed.Load() {
		if m.Version != 0 {
			p.head.switched.Store(m.Version)
		}
		p.head.passed.Store(m.Number)
	}
	for _, l := range p.round {
		l.markDone()
	}
}

// close stops all marks where they are: the memory isn't touched any more.
func (p *progress) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}
