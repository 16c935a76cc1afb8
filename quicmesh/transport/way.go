package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	moveWait  = 5 * time.Second // for the stream that a link is to go over to
	takeWait  = 4 * time.Second // for the link to take it: less than the peer waits for its hello
	firstLook = time.Second     // after which a link that has not what its edge wants looks again
	lastLook  = time.Minute
)

// Wishes of an edge for what carries its links; "" and anything else is none.
const (
	WishSHM  = "shm"
	WishQUIC = "quic"
)

// NotNear is why two slots can't share memory. Later: they may when they ask again.
type NotNear struct {
	Reason string
	Later  bool
}

func (e NotNear) Error() string { return e.Reason }

// notNear is why there is no ring, and whether whoever makes them has said so.
func notNear(err error) (none NotNear, said bool) {
	if errors.As(err, &none) {
		return none, true
	}
	return NotNear{Reason: err.Error(), Later: true}, false
}

// Way opens the links of an edge: over shared memory where that can be had, else over QUIC, unless the edge
// wants one of the two. What it wants may change, and what can't be had now may be had later: then links move,
// each when the stream that it goes over to is there.
type Way struct {
	Wish       string // until Want
	Near, Far  Dialer
	Impossible func(error)                   // hears why an edge can't have the memory that it insists on
	Say        func(format string, a ...any) // hears of moves; may be nil
	Looks      *Looks                        // when to look for something better; nil: links stay where they are

	mu    sync.Mutex // of Wish, too
	lanes map[Identity]*lane
}

// lane is the way to one peer.
type lane struct {
	peer Identity
	turn chan struct{} // of one element: one opens a stream at a time
	next chan *carried // brings the link the stream that it goes over to

	// Of the way's mu.
	addr string
	up   *carried // nil: none
}

// carried is a link's stream.
type carried struct {
	Stream
	way    *Way
	lane   *lane
	far    bool
	reason string // why it isn't near; of the way's mu
	final  bool   // and never will be
}

// Unwrap is for LenderOf and RTTOf.
func (s *carried) Unwrap() Stream { return s.Stream }

// Close is Stream's.
func (s *carried) Close() error {
	s.way.mu.Lock()
	if s.lane.up == s {
		s.lane.up = nil
	}
	s.way.mu.Unlock()
	return s.Stream.Close()
}

// Carrier is that of the interface.
func (s *carried) Carrier() string {
	c, ok := s.Stream.(Carrier)
	if !ok {
		return ""
	}
	s.way.mu.Lock()
	defer s.way.mu.Unlock()
	switch {
	case s.reason == "":
		return c.Carrier()
	case s.way.Wish == WishSHM:
		return c.Carrier() + ": its edge wants transport: shm, which can't be had: " + s.reason
	}
	return c.Carrier() + ": " + s.reason
}

// Dial is Dialer's.
func (w *Way) Dial(ctx context.Context, addr string, peer Identity) (Stream, error) {
	l := w.lane(addr, peer)
	select {
	case s := <-l.next:
		return s, nil
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	wish := w.wish()
	s, err := w.open(ctx, addr, l, wish)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	l.up = s
	moved := w.Wish != wish
	w.mu.Unlock()
	switch {
	case moved:
		w.Looks.Now()
	case s.reason != "" && !s.final:
		w.Looks.later()
	}
	return s, nil
}

func (w *Way) open(ctx context.Context, addr string, l *lane, wish string) (*carried, error) {
	if wish == WishQUIC {
		return w.dial(ctx, true, addr, l)
	}
	s, err := w.dial(ctx, false, addr, l)
	if err == nil {
		return s, nil
	}
	none, said := notNear(err)
	switch {
	case ctx.Err() != nil:
		return nil, err
	case wish != WishSHM:
		if s, err = w.dial(ctx, true, addr, l); err == nil {
			s.reason, s.final = none.Reason, !none.Later
		}
		return s, err
	case said:
		err = fmt.Errorf("its edge wants transport: shm, which can't be had: %s", none.Reason)
		w.Impossible(fmt.Errorf("link to %s[%d]: %w", l.peer.Stage, l.peer.Index, err))
	}
	return nil, err
}

func (w *Way) dial(ctx context.Context, far bool, addr string, l *lane) (*carried, error) {
	by := w.Near
	if far {
		by = w.Far
	}
	s, err := by.Dial(ctx, addr, l.peer)
	if err != nil {
		return nil, err
	}
	return &carried{Stream: s, way: w, lane: l, far: far}, nil
}

// lane gives the one to a peer. Those to its past incarnations are forgotten.
func (w *Way) lane(addr string, peer Identity) *lane {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.lanes, func(p Identity, l *lane) bool {
		return l.up == nil && p.Stage == peer.Stage && p.Index == peer.Index && p.Incarnation < peer.Incarnation
	})
	l := w.lanes[peer]
	if l == nil {
		l = &lane{peer: peer, turn: make(chan struct{}, 1), next: make(chan *carried)}
		if w.lanes == nil {
			w.lanes = map[Identity]*lane{}
		}
		w.lanes[peer] = l
	}
	l.addr = addr
	return l
}

func (w *Way) wish() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Wish
}

// Want changes the edge's wish. Links that have something else move.
func (w *Way) Want(wish string) {
	w.mu.Lock()
	same := w.Wish == wish
	w.Wish = wish
	w.mu.Unlock()
	if !same {
		w.Looks.Now()
	}
}

// look moves the links that have not what the edge wants, if they can be moved. again: it is worth another
// look later.
func (w *Way) look(ctx context.Context) (again bool) {
	w.mu.Lock()
	lanes := slices.Collect(maps.Values(w.lanes))
	w.mu.Unlock()
	for _, l := range lanes {
		if s := w.misplaced(l); s != nil && ctx.Err() == nil {
			again = w.move(ctx, l, s) || again
		}
	}
	return again
}

// misplaced gives a link's stream if it isn't what the edge wants, and there may be another.
func (w *Way) misplaced(l *lane) *carried {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := l.up; s != nil && s.far != (w.Wish == WishQUIC) && !s.final {
		return s
	}
	return nil
}

// move opens another stream, ends the one that the link has, and gives it the other when it dials anew.
func (w *Way) move(ctx context.Context, l *lane, from *carried) (again bool) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return false
	}
	if w.misplaced(l) != from {
		return true
	}
	w.mu.Lock()
	addr := l.addr
	w.mu.Unlock()
	dial, cancel := context.WithTimeout(ctx, moveWait)
	defer cancel()
	s, err := w.dial(dial, !from.far, addr, l)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if from.far {
			none, _ := notNear(err)
			from.reason, from.final = none.Reason, !none.Later
		}
		return !from.final
	}
	if w.Say != nil {
		w.Say("link to %s[%d] goes over to %s", l.peer.Stage, l.peer.Index, s.Carrier())
	}
	_ = from.Close()
	w.mu.Lock()
	l.up = s
	w.mu.Unlock()
	late := time.NewTimer(takeWait)
	defer late.Stop()
	select {
	case l.next <- s:
		return false
	case <-late.C: // the link is over
	case <-ctx.Done():
	}
	_ = s.Close()
	return false
}

// Looks says when the links of some ways look for something better: at once when something has changed, else
// ever more rarely.
type Looks struct {
	ways []*Way
	wake chan struct{} // of one element: at has changed

	mu    sync.Mutex
	at    time.Time // zero: never
	pause time.Duration
}

// NewLooks makes what ways have in common. Loop has them look.
func NewLooks() *Looks { return &Looks{wake: make(chan struct{}, 1), pause: firstLook} }

// Add takes a way in, before Loop runs.
func (l *Looks) Add(w *Way) {
	w.Looks = l
	l.ways = append(l.ways, w)
}

// Now has them look at once: something has changed.
func (l *Looks) Now() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at, l.pause = time.Now(), firstLook
	l.signal()
}

// later has them look after a while, if they don't before.
func (l *Looks) later() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.IsZero() {
		l.at = time.Now().Add(l.pause/2 + rand.N(l.pause))
		l.pause = min(2*l.pause, lastLook)
		l.signal()
	}
}

func (l *Looks) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// due is when to look next, and false for never.
func (l *Looks) due() (wait time.Duration, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.at), !l.at.IsZero()
}

// Loop looks when it is time, until ctx ends.
func (l *Looks) Loop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if wait, due := l.due(); due {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-l.wake:
			continue
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		l.mu.Lock()
		l.at = time.Time{}
		l.mu.Unlock()
		again := false
		for _, w := range l.ways {
			again = w.look(ctx) || again
		}
		if again {
			l.later()
		}
	}
}
