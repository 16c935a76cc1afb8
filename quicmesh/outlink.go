package quicmesh

import (
	"context"
	"fmt"
	"slices"

	"github.com/weft-stream/weft/quicmesh/flow"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/replay"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// maxStamped is how many frames share one reading of the clock.
const maxStamped = 32

// outLink is the sending end of a link. Its fields, but wake, changed and index, belong to edge.mu.
type outLink struct {
	edge    *outEdge
	index   int                // slot
	wake    chan struct{}      // something to write for a writer that sleeps
	changed chan struct{}      // the peer is another one
	life    context.Context    // ends with the mesh, or when the link is of no version any more; set by launch
	leave   context.CancelFunc // ends life

	held    bool               // its first events wait until its version is settled
	peer    Peer               // Addr "": unknown
	drop    context.CancelFunc // ends the dial or session with peer; nil without
	log     replay.Log
	flow    flow.Sender
	control controlSeqs
	session *session // nil when down
	asleep  bool     // the writer waits for wake: everything is written
	writing bool     // the writer is in Write
	stamp   int64    // time of the batch being gathered, microseconds
	stamped int      // frames with that stamp
	blocked blocked
	stats   outStats

	referred []referred
	scratch  []byte // the writer's: a frame that refers to its payload

	begun   bool    // has had a session with this incarnation of the peer
	written uint64  // number of the last frame written, or known to have arrived
	behind  bool    // written is not the last one: the mesh's progress counts it
	record  *record // of that in the mesh's progress; nil: none is kept
	doubt   bool    // an earlier life may have written here, and there was no room for a record
	awaited bool    // a round waits until written is goal
	goal    uint64
}

// outStats are a link's counters, from its begin.
type outStats struct {
	events, bytes, resent uint64
	referred, sessions    uint64
	reason                string // why it went down last, or is not up
}

func newOutLink(e *outEdge, index int) *outLink {
	return &outLink{edge: e, index: index, wake: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
}

// load is what makes a link less attractive: bytes not acknowledged and bytes not released.
func (l *outLink) load() uint64 { return l.flow.InFlight() + uint64(l.log.Kept()) }

// fits tells whether an event of size bytes may go now. Beside the receiver's credit, what is kept is
// bounded by our own window: a receiver may grant much and acknowledge nothing.
func (l *outLink) fits(size int) bool {
	if l.held {
		return false
	}
	kept := l.log.Kept()
	return l.flow.Fits(size) && (kept <= controlRoom || kept+size <= l.edge.mesh.cfg.Window+controlRoom)
}

// push numbers f, keeps it and has it written; its payload stays where it is if that is in memory. The caller holds edge.mu and has looked for credit.
func (l *outLink) push(f *frame.Frame, memory replay.Memory) {
	// One stamp for what is gathered behind one write; it is the first one's, so that latency is never
	// understated, and not by much overstated where a busy writer never comes to an end.
	if l.session == nil || !l.log.Unsent() || l.stamped == maxStamped {
		l.stamp, l.stamped = l.edge.mesh.cfg.Now().UnixMicro(), 0
	}
	f.Sent = l.stamp
	l.stamped++
	size := l.log.Append(f, memory)
	if f.Type == frame.Data {
		l.flow.Take(size)
		l.stats.events++
		l.stats.bytes += uint64(size)
	} else {
		l.control.add(f.Seq)
	}
	if l.asleep && !l.writeNow(f, memory) {
		l.asleep = false
		signal(l.wake)
	}
	l.noteBehind()
}

// noteBehind tells the mesh's progress whether there is something to write. The caller holds edge.mu.
func (l *outLink) noteBehind() {
	if behind := l.written < l.log.Last(); behind != l.behind {
		l.behind = behind
		if p := l.edge.mesh.progress; p != nil && behind {
			p.behind.Add(1)
		} else if p != nil {
			p.behind.Add(-1)
		}
	}
}

// launch begins the link's loop. The mesh is open.
func (l *outLink) launch() {
	m := l.edge.mesh
	l.life, l.leave = context.WithCancel(m.ctx)
	m.loops.Go(func() {
		defer l.leave()
		l.dialLoop()
	})
}

// retire ends a link that is of no version any more. The caller holds edge.mu.
func (l *outLink) retire() {
	l.detach(l.session)
	if l.leave != nil {
		l.leave()
	}
	l.reset()
	l.edge.countLinks(-1)
}

// reset forgets what was kept for a peer that is no more. The caller holds edge.mu.
func (l *outLink) reset() {
	l.forget()
	l.flow, l.control = flow.Sender{}, controlSeqs{}
	l.begun, l.written, l.goal = false, 0, 0 // a round that waits sees it when the link's loop does
	l.noteBehind()
	if l.record != nil {
		l.edge.mesh.progress.release(l.record)
		l.record = nil
	}
}

// setPeer takes over who holds the slot; the zero Peer: nobody known. The caller holds edge.mu.
func (l *outLink) setPeer(p Peer) {
	if p == l.peer || p.Incarnation < l.peer.Incarnation && p.Addr != "" {
		return
	}
	if p.Addr == "" {
		p = Peer{Incarnation: l.peer.Incarnation} // comes back, perhaps, and resumes
	}
	if p.Incarnation > l.peer.Incarnation {
		first := l.peer.Incarnation == 0
		l.reset()
		if progress := l.edge.mesh.progress; progress != nil {
			l.record = progress.record(linkName(true, l.edge.id, l.index), p.Incarnation, l.edge.mesh.known[p.Slot()])
			l.doubt = l.record == nil && first && progress.life > 1
		}
	}
	l.peer = p
	l.detach(l.session)
	if l.drop != nil {
		l.drop()
	}
	signal(l.changed)
	l.edge.wake()
}

// begin resumes the link on a new session, as its peer's welcome says. lost frames were with the peer, and
// are nowhere now.
func (l *outLink) begin(s *session, peer Peer, hail hail) (lost uint64, err error) {
	e := l.edge
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.peer != peer || l.life.Err() != nil {
		return 0, fmt.Errorf("link to %v: the peer has changed", peer.Slot())
	}
	var again uint64
	var events int
	anew := e.mesh.progress != nil && (!l.begun || hail.Received < l.log.Acked())
	if anew {
		events, lost = l.goOn(hail)
	} else if again, events, err = l.log.Resume(hail.Received, hail.Done); err != nil {
		return 0, fmt.Errorf("link to %v: resume after %d: %w", peer.Slot(), hail.Received, err)
	}
	if err := l.flow.Begin(hail.Window, hail.Credit, hail.Taken+uint64(events)); err != nil {
		return lost, fmt.Errorf("link to %v: welcome: %w", peer.Slot(), err)
	}
	l.control.drop(hail.Done)
	l.settle(func(seq uint64) bool { return seq <= hail.Received && slices.Contains(hail.Held, seq) })
	if anew {
		l.inherit(hail)
	}
	if hail.Borrows {
		s.lender = transport.LenderOf(s.stream)
	}
	l.stats.resent += again
	l.begun = true
	l.stats.sessions++
	l.stats.reason = ""
	l.session, l.writing = s, false
	e.relink()
	e.countUp(1)
	return lost, nil
}

// goOn takes the numbers over from a peer that has received so many frames, which an earlier life of the mesh
// has sent: this one doesn't have them. The caller holds edge.mu.
func (l *outLink) goOn(hail hail) (events int, lost uint64) {
	had := l.log.Acked() // what is behind that is kept
	switch {
	case l.record != nil && !l.begun:
		had = l.record.upTo.Load()
	case l.doubt && hail.Taken == 0: // the peer, too, has begun anew: nobody knows what it had
		had = hail.Received + 1
	}
	l.doubt = false
	if l.record != nil {
		l.record.upTo.Store(hail.Received)
	}
	if had > hail.Received {
		lost = had - hail.Received
	}
	by, events := l.log.Begin(hail.Received)
	l.control.move(by)
	l.goal += by
	return events, lost
}

// noteWritten takes down that all frames handed out are written. true: a round waited for this link last, so
// that the caller calls progress.wrote, without the lock. The caller holds edge.mu.
func (l *outLink) noteWritten() (last bool) {
	l.written = l.log.Handed()
	if l.record != nil && l.written > l.record.upTo.Load() {
		l.record.upTo.Store(l.written)
	}
	l.noteBehind()
	return l.passes()
}

// passes is noteWritten's answer.
func (l *outLink) passes() (last bool) {
	if !l.awaited || l.written < l.goal {
		return false
	}
	l.awaited = false
	return l.edge.mesh.progress.left.Add(-1) == 0
}

// leaveRound is the end of a link that a round may wait for.
func (l *outLink) leaveRound() {
	l.edge.mu.Lock()
	l.goal = 0
	last := l.passes()
	l.edge.mu.Unlock()
	if last {
		l.edge.mesh.progress.wrote()
	}
}

// detach takes the link down, when s is still its session: from here on s neither writes nor is
// listened to. The caller holds edge.mu.
func (l *outLink) detach(s *session) {
	if s == nil || l.session != s {
		return
	}
	l.session, l.asleep = nil, false
	l.edge.relink()
	l.edge.countUp(-1)
}

// pushEnd tells a link that was made after the end that there is nothing to come. The caller holds
// edge.mu.
func (l *outLink) pushEnd() {
	l.push(&frame.Frame{Header: frame.Header{Type: frame.End, Edge: l.edge.id, Attempt: l.edge.ended}}, nil)
}
