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
// writer that is last. Where nothing is left to be written and no round under way, as in a stage that sends little,
// a release is done at once.

// open lets rounds begin: the mesh is open.
func (p *progress) open() {
	p.mu.Lock()
	p.running = false
	begins := p.begin()
	p.mu.Unlock()
	if begins {
		p.rounds()
	}
}

// add has a link's frames in the next round. Its mark follows.
func (p *progress) add(l *inLink) {
	p.mu.Lock()
	p.fresh = append(p.fresh, l)
	begins := p.begin()
	p.mu.Unlock()
	if begins {
		p.rounds()
	}
}

// calm tells whether what is released now is done at once: nothing of what was sent is still to be written, and no
// earlier mark is still to be moved. Then the caller unlocks mu when it has moved its own.
func (p *progress) calm() bool {
	if p == nil || p.behind.Load() != 0 {
		return false
	}
	p.mu.Lock()
	if p.running || p.closed || len(p.fresh) > 0 || p.passed != p.roundHas || p.behind.Load() != 0 {
		p.mu.Unlock()
		return false
	}
	return true
}

// passOn has a barrier, which all links of all edges have got in attempt a, in the next round.
func (p *progress) passOn(a frame.Attempt, m barrier.Mark) {
	p.mu.Lock()
	if a == p.attempt && m.Number > p.passed.Number {
		p.passed = m
	}
	begins := p.begin()
	p.mu.Unlock()
	if begins {
		p.rounds()
	}
}

// begin takes what is done into a new round. false: there is nothing, or a round is under way. The caller holds mu.
func (p *progress) begin() bool {
	if p.running || p.closed || len(p.fresh) == 0 && p.passed == p.roundHas {
		return false
	}
	p.running = true
	p.fresh, p.round = p.round[:0], p.fresh
	p.roundHas = p.passed
	for _, l := range p.round {
		l.enterRound()
	}
	return true
}

// rounds has the round that has begun, and further ones as long as nothing has to be waited for, wait for the
// links' writers. The caller has no lock behind Mesh.mu and inbox.mu.
func (p *progress) rounds() {
	for more := true; more; {
		p.left.Store(1)
		for _, e := range p.mesh.out {
			e.enterRound(p)
		}
		if p.left.Add(-1) != 0 {
			return
		}
		more = p.complete()
	}
}

// wrote is called by the link that a round waited for last.
func (p *progress) wrote() {
	if p.complete() {
		p.rounds()
	}
}

// complete moves the marks of the round, and begins the next one, if there is one.
func (p *progress) complete() (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
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
	p.running = false
	return p.begin()
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
