package quicmesh

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-stream/weft/quicmesh/flow"
	"github.com/weft-stream/weft/quicmesh/replay"
)

const (
	// ackDelay is how long an acknowledgement or credit waits for more to go with it.
	ackDelay = 2 * time.Millisecond
	// ackFrames is how many frames are acknowledged at once, when they come faster than that.
	ackFrames = 512
)

// inLink is the receiving end of a link: what it remembers from one connection to the next.
type inLink struct {
	mesh        *Mesh
	edge        uint16
	from        Slot
	incarnation uint64
	number      int         // of the input
	fenced      atomic.Bool // a newer incarnation exists

	filter replay.Filter // the reader's
	batch  []Item        // the reader's
	stats  inStats       // belongs to inbox.mu

	wake  chan struct{} // acknowledgement or credit is due
	timer *time.Timer   // signals wake soon

	mu       sync.Mutex
	session  *session // the newest, perhaps not welcomed yet; nil before
	up       bool
	broken   error // how the peer broke the rules: this incarnation is not welcome any more
	flow     flow.Receiver
	received uint64 // what the filter has received and the inbox has
	acked    uint64 // what the sender was told of that
	armed    bool   // timer is running
	borrowed borrowed
}

func newInLink(m *Mesh, in *input, edge uint16, incarnation uint64) *inLink {
	l := &inLink{
		mesh:        m,
		edge:        edge,
		from:        in.from,
		incarnation: incarnation,
		number:      in.number,
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

// adopt makes s the link's session and returns the one before, to be ended.
func (l *inLink) adopt(s *session) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.session
	l.session = s
	return before
}

// resume welcomes s. The session before it has gone.
func (l *inLink) resume(s *session) error {
	l.filter = replay.NewFilter(l.received)
	l.mu.Lock()
	if l.broken != nil {
		defer l.mu.Unlock()
		return fmt.Errorf("this incarnation has broken the rules before: %w", l.broken)
	}
	l.acked = l.received
	w := hail{Window: l.flow.Window(), Credit: l.flow.Tell(), Received: l.received, Borrows: s.loans != nil, Held: l.borrowed.resume()}
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

// count takes the batch into account, and has it acknowledged in time.
func (l *inLink) count() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.batch {
		it := &l.batch[i]
		if it.size > 0 {
			if err := l.flow.Take(it.size); err != nil {
				return err
			}
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
	if l.received-l.acked >= ackFrames {
		signal(l.wake)
	} else {
		l.arm()
	}
}

// released returns the credit of an event, and its payload if that was read in place.
func (l *inLink) released(it *Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flow.Release(it.size)
	if it.loan != nil {
		l.borrowed.release(it.Frame.Seq)
	}
	if l.flow.Due() {
		signal(l.wake)
	} else {
		l.arm()
	}
}

// arm has the sender told soon. The caller holds mu.
func (l *inLink) arm() {
	if !l.armed {
		l.armed = true
		l.timer.Reset(ackDelay)
	}
}
