package quicmesh

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-stream/weft/quicmesh/barrier"
	"github.com/weft-stream/weft/quicmesh/flow"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/replay"
)

const (
	// ackDelay is how long an acknowledgement or credit waits for more to go with it: each wakes the sender. It
	// waits less, ackSoon, where a sender may wait for it, or chooses by it.
	ackDelay = 25 * time.Millisecond
	ackSoon  = 2 * time.Millisecond
	// ackFrames is how many frames are acknowledged at once, when they come faster than that.
	ackFrames = 512
	// mostAhead is how many barriers and ends may be behind an event that is in work, those of several lives of
	// the sender.
	mostAhead = 1024
)

// inLink is the receiving end of a link: what it remembers from one connection to the next.
type inLink struct {
	mesh        *Mesh
	edge        uint16
	from        Slot
	incarnation uint64
	number      int         // of the input
	chosen      bool        // by how much is in flight
	maxBody     int         // bytes after the header of an event
	fenced      atomic.Bool // a newer incarnation exists

	filter replay.Filter // the reader's
	stats  inStats       // belongs to inbox.mu

	wake  chan struct{} // acknowledgement or credit is due
	timer *time.Timer   // signals wake soon

	mu       sync.Mutex
	session  *session // the newest, perhaps not welcomed yet; nil before
	up       bool
	broken   error // how the peer broke the rules: this incarnation is not welcome any more
	flow     flow.Receiver
	life     uint64        // of the sender's mesh
	received uint64        // what the filter has received and the inbox has
	acked    uint64        // the number that the sender was told last
	armed    time.Duration // what timer was set to; 0: it isn't running
	large    bool          // it has brought an event for which its sender may have to wait until nothing is in flight
	came     time.Time     // when the last batch did, of a link that is chosen
	borrowed borrowed

	// Where the mesh has a progress.
	record   *record     // nil without, and when the link is fenced
	consumed replay.Done // released frames; barriers and ends that are noted
	fresh    bool        // some of these are in no round yet
	round    mark        // of consumed, when the round under way began
	done     mark        // of the rounds that are complete
}

// mark is how far a link has come.
type mark struct{ upTo, bytes uint64 }

func newInLink(m *Mesh, in *input, edge uint16, incarnation uint64) *inLink {
	l := &inLink{
		mesh:        m,
		edge:        edge,
		from:        in.from,
		incarnation: incarnation,
		number:      in.number,
		chosen:      in.chosen,
		maxBody:     in.maxPayload + headRoom,
		wake:        make(chan struct{}, 1),
		flow:        flow.NewReceiver(m.cfg.Window),
	}
	l.timer = time.AfterFunc(time.Hour, func() { signal(l.wake) })
	l.timer.Stop()
	return l
}

func (l *inLink) current() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session
}

// adopt makes s, of a life of the sender, the link's session, and returns the one before, to be ended. anew
// tells that this one is of an earlier life.
func (l *inLink) adopt(s *session, life uint64) (before *session, anew bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if life < l.life {
		return nil, false, fmt.Errorf("%v is in life %d by now, this is %d", l.from, l.life, life)
	}
	before, anew = l.session, life > l.life
	l.session, l.life = s, life
	return before, anew, nil
}

// goOn takes over what an earlier life of the mesh has noted.
func (l *inLink) goOn(r *record) {
	l.record = r
	l.received = r.upTo.Load()
	l.consumed = replay.NewDone(l.received)
	l.round.upTo, l.done.upTo = l.received, l.received
}

// leave gives up the record of a link that is fenced.
func (l *inLink) leave() {
	l.mu.Lock()
	r := l.record
	l.record = nil
	l.mu.Unlock()
	if r != nil {
		l.mesh.progress.release(r)
	}
}

// needless is the number up to which the sender has to keep nothing. The caller holds mu.
func (l *inLink) needless() uint64 {
	if l.mesh.progress == nil {
		return l.received
	}
	return l.done.upTo
}

// resume welcomes s. The session before it has gone.
func (l *inLink) resume(s *session) error {
	l.filter = replay.NewFilter(l.received)
	l.mu.Lock()
	if l.broken != nil {
		defer l.mu.Unlock()
		return fmt.Errorf("this incarnation has broken the rules before: %w", l.broken)
	}
	l.acked = l.needless()
	w := hail{Window: l.flow.Window(), Credit: l.flow.Tell(), Taken: l.flow.Taken(), Done: l.acked, Received: l.received,
		Borrows: s.loans != nil, Held: l.borrowed.resume()}
	l.mu.Unlock()
	b, err := appendWelcome(w, l.edge)
	if err != nil {
		return err
	}
	if _, err := s.stream.Write(b); err != nil {
		return &readError{fmt.Errorf("write welcome: %w", err)}
	}
	l.mesh.cfg.Log("input up", "edge", l.edge, "from", l.from.String(), "incarnation", l.incarnation)
	return nil
}

// count takes a batch into account.
func (l *inLink) count(batch []Item) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Barriers and ends need no credit, but are counted while something before them isn't consumed.
	if l.record != nil && l.filter.Received()-l.consumed.UpTo() > l.flow.Window()/frame.HeaderSize+mostAhead {
		return fmt.Errorf("%w: %d more than are done", errFrame, l.filter.Received()-l.consumed.UpTo())
	}
	for i := range batch {
		it := &batch[i]
		if it.size > 0 {
			if err := l.flow.Take(it.size); err != nil {
				return err
			}
			l.large = l.large || uint64(it.size) > l.flow.Window()/2
		}
		if it.loan != nil {
			if err := l.borrowed.hold(it.Frame.Seq); err != nil {
				return err
			}
		}
	}
	return nil
}

// arrived notes that the inbox has everything the filter has let through.
func (l *inLink) arrived() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received = l.filter.Received()
	if l.chosen {
		l.came = l.mesh.cfg.Now()
	}
	if l.mesh.progress == nil {
		l.tellSoon()
	}
}

// release notes that a frame is consumed: its credit, and its payload if that was read in place.
func (l *inLink) release(it *Item) {
	p := l.mesh.progress
	calm, begins := p.calm(), false
	l.mu.Lock()
	if it.loan != nil && !it.held {
		l.borrowed.release(it.Frame.Seq)
		l.arm(ackSoon) // its memory is the sender's again
	}
	if p == nil {
		l.flow.Release(it.size)
		l.tellSoon()
	} else {
		l.consumed.Note(it.Frame.Seq, it.size)
		begins = !l.fresh && l.consumed.UpTo() > l.round.upTo
	}
	if calm && begins {
		l.enter()
		l.moveDone()
		begins = false
	}
	l.fresh = l.fresh || begins
	l.mu.Unlock()
	if calm {
		p.mu.Unlock()
	}
	if begins {
		p.add(l)
	}
}

// giveBack notes that nobody reads the payload of an event any more that was held beyond its release.
func (l *inLink) giveBack(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.borrowed.release(seq)
	l.arm(ackSoon)
}

// brought notes a barrier or an end that the alignment has; then it is consumed.
func (l *inLink) brought(it *Item) {
	p := l.mesh.progress
	if p == nil {
		return
	}
	l.mu.Lock()
	if r := l.record; r != nil && it.Kind == KindEnd {
		r.end.Store(it.Frame.Seq)
	} else if r != nil {
		r.brought(it.Frame.Seq, barrier.Mark{Number: it.Barrier, Version: it.Version}, p.head.passed.Load())
	}
	l.mu.Unlock()
	l.release(it)
}

// enterRound takes what is consumed into a round.
func (l *inLink) enterRound() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enter()
}

// enter is enterRound; the caller holds mu.
func (l *inLink) enter() {
	l.round, l.fresh = mark{l.consumed.UpTo(), l.consumed.Bytes()}, false
}

// markDone ends the round: what was in it is done, for every life of the mesh.
func (l *inLink) markDone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moveDone()
}

// moveDone is markDone; the caller holds mu.
func (l *inLink) moveDone() {
	if l.record != nil {
		l.record.upTo.Store(l.round.upTo)
	}
	l.flow.Release(int(l.round.bytes - l.done.bytes))
	l.done = l.round
	l.tellSoon()
}

// tellSoon has the sender told of what it needn't keep and of credit: at once if it is much. The caller
// holds mu.
func (l *inLink) tellSoon() {
	if l.flow.Due() || l.needless()-l.acked >= ackFrames {
		signal(l.wake)
	} else {
		l.arm(l.patience())
	}
}

// patience is how long the sender may do without a word. One that chooses among slots is to know soon that this
// one has no work any more, after an event that has taken longer than that. The caller holds mu.
func (l *inLink) patience() time.Duration {
	if l.large || l.chosen && l.flow.InFlight() == 0 && l.mesh.cfg.Now().Sub(l.came) > ackSoon {
		return ackSoon
	}
	return ackDelay
}

// arm has the sender told within wait. The caller holds mu.
func (l *inLink) arm(wait time.Duration) {
	if l.armed == 0 || l.armed > wait {
		l.armed = wait
		l.timer.Reset(wait)
	}
}
