package quicmesh

import (
	"fmt"
	"sync"

	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/replay"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// reading is a session of an incoming link being read: by the link's goroutine or, where there is no other, by who
// receives. An event that comes alone then wakes one goroutine.
type reading struct {
	link     *inLink
	session  *session
	in       *reader
	rousable transport.Rousable // nil: only the goroutine reads
	turn     chan struct{}      // the goroutine's to read
	kept     bool               // for good; of inbox.mu

	mu         sync.Mutex // held by who reads
	batch      []Item     // cut and not taken by the inbox yet
	duplicates uint64     // beside it
	failure    error      // of the frame behind it
	err        error      // the end
}

// readLoop gives what comes to the inbox, as much as one read brings at a time, until s ends. It rests while who
// receives does that. That one may have other things to do for a long time, so that the end is the goroutine's.
func (l *inLink) readLoop(s *session, in *reader) {
	l.mu.Lock()
	l.up = true
	l.mu.Unlock()
	r := &reading{link: l, session: s, in: in, rousable: transport.RousableOf(s.stream), turn: make(chan struct{}, 1)}
	var over <-chan struct{}
	if r.rousable != nil {
		over = r.rousable.Over()
	}
	b := &l.mesh.inbox
	b.enter(r)
	for r.read() {
		signal(b.wake)
		select {
		case <-r.turn:
		case <-s.done:
			b.resign(r, true)
		case <-over:
			b.resign(r, true)
			over = nil
		}
	}
	l.mu.Lock()
	l.up = false
	if r.err != nil && !isLost(r.err) {
		l.broken = r.err
	}
	l.mu.Unlock()
	if r.err != nil {
		s.endFor(r.err)
	}
}

// read is the goroutine's part, until who receives goes on. false: the session has ended.
func (r *reading) read() bool {
	r.mu.Lock() // soon: who receives was roused
	defer r.mu.Unlock()
	for r.err == nil && !r.session.ended() {
		r.cut()
		if r.err = r.deliver(); r.err != nil {
			break
		}
		if r.link.mesh.inbox.direct.Load() == r {
			return true
		}
		r.err = r.in.fill()
	}
	unread(r.batch)
	r.link.mesh.inbox.exit(r) // before the reader is closed
	return false
}

// receive reads once, for who receives. What has him wait for anything but bytes is left to the goroutine, as is the
// end. false: the goroutine has not gone to rest yet; it signals inbox.wake.
func (r *reading) receive() bool {
	if !r.mu.TryLock() {
		return false
	}
	defer r.mu.Unlock()
	if r.link.mesh.inbox.direct.Load() != r {
		return true // it has gone back meanwhile, and may be over
	}
	if len(r.batch) > 0 {
		return false // of an attempt to come: the goroutine's, which has its turn already, and no more is read before
	}
	if r.err = r.in.fill(); r.err == nil {
		if r.cut(); !r.early() {
			r.err = r.deliver()
		}
	}
	if r.err != nil || r.early() {
		r.link.mesh.inbox.resign(r, r.err != nil)
	}
	return true
}

// cut takes all whole frames that in has.
func (r *reading) cut() {
	l := r.link
	for ok := true; ok && r.failure == nil; {
		r.batch = append(r.batch, Item{})
		it := &r.batch[len(r.batch)-1]
		verdict := replay.Duplicate
		if ok, r.failure = r.in.next(&it.Frame); ok {
			verdict, r.failure = l.judge(it)
		}
		if r.failure == nil && verdict == replay.New && it.Frame.Flags&frame.Refers != 0 && it.Kind == KindEvent {
			r.failure = r.session.resolve(it, l.maxBody-headRoom)
		}
		switch {
		case !ok || r.failure != nil:
			r.batch = r.batch[:len(r.batch)-1]
		case verdict == replay.Duplicate:
			r.batch = r.batch[:len(r.batch)-1]
			r.duplicates++
		case it.Kind == KindEvent:
			it.buf = r.in.buf
		}
	}
}

// early tells whether what was cut is of an attempt that has not begun here.
func (r *reading) early() bool {
	n := len(r.batch)
	return n > 0 && r.batch[n-1].Attempt > r.link.mesh.Attempt()
}

// deliver gives what was cut to the inbox, when its attempt has begun. What came before a bad frame counts.
func (r *reading) deliver() error {
	l, batch, duplicates := r.link, r.batch, r.duplicates
	r.batch, r.duplicates = r.batch[:0], 0
	// A sender's attempts only grow, so that the last one's coming makes older items of the batch void.
	if n := len(batch); n > 0 && !l.mesh.inbox.await(r.session, batch[n-1].Attempt) {
		unread(batch)
		return nil // none of it was taken: it will be sent again
	}
	if err := l.count(batch); err != nil {
		unread(batch)
		return err // nothing of a batch that is beyond the window is taken
	}
	events := 0
	for i := range batch {
		if batch[i].Kind == KindEvent {
			events++
		}
	}
	if events > 0 {
		r.in.buf.Retain(events)
	}
	if len(batch) > 0 || duplicates > 0 {
		var err error
		if r.batch, err = l.mesh.inbox.push(l, batch, duplicates); err != nil {
			return err
		}
	}
	return r.failure
}

// judge checks an item's frame, and fills in the rest when it is one that belongs on this link.
func (l *inLink) judge(it *Item) (replay.Verdict, error) {
	f := &it.Frame
	switch {
	case f.Type == frame.Bye:
		return 0, errBye(append([]byte(nil), f.Payload...))
	case f.Type != frame.Data && f.Type != frame.Barrier && f.Type != frame.End:
		return 0, fmt.Errorf("%w: type %d from a sender", errFrame, f.Type)
	case f.Edge != l.edge:
		return 0, fmt.Errorf("%w: of edge %d on a link of edge %d", errFrame, f.Edge, l.edge)
	}
	var err error
	switch f.Type {
	case frame.Data:
		it.Kind, it.size = KindEvent, frame.HeaderSize+int(f.Length)
	case frame.Barrier:
		it.Kind = KindBarrier
		if it.Barrier, it.Version, err = f.Barrier(); err != nil {
			return 0, fmt.Errorf("%w: number of a barrier: %w", errFrame, err)
		}
	case frame.End:
		it.Kind = KindEnd
	}
	verdict := l.filter.Judge(f.Seq)
	if verdict == replay.Gap {
		return verdict, fmt.Errorf("%w: number %d after %d", errFrame, f.Seq, l.filter.Received())
	}
	it.Edge, it.From, it.Attempt, it.link = l.edge, l.from, f.Attempt, l
	return verdict, nil
}
