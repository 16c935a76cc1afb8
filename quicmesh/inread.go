package quicmesh

import (
	"fmt"

	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/replay"
)

// readLoop gives what comes to the inbox, as much as one read brings at a time, until s ends.
func (l *inLink) readLoop(s *session, in *reader) {
	l.mu.Lock()
	l.up = true
	l.mu.Unlock()
	var err error
	for err == nil && !s.ended() {
		if err = l.cut(s, in); err == nil {
			err = in.fill()
		}
	}
	l.mu.Lock()
	l.up = false
	if err != nil && !isLost(err) {
		l.broken = err
	}
	l.mu.Unlock()
	if err != nil {
		s.endFor(err)
	}
}

// cut takes all whole frames that in has, and gives them to the inbox. Those before a bad one count.
func (l *inLink) cut(s *session, in *reader) error {
	l.batch = l.batch[:0]
	events, duplicates := 0, uint64(0)
	var ok bool
	var failure error
	for ok = true; ok && failure == nil; {
		l.batch = append(l.batch, Item{})
		it := &l.batch[len(l.batch)-1]
		verdict := replay.Duplicate
		if ok, failure = in.next(&it.Frame); ok {
			verdict, failure = l.judge(it)
		}
		if failure == nil && verdict == replay.New && it.Frame.Flags&frame.Refers != 0 && it.Kind == KindEvent {
			failure = s.resolve(it, l.maxBody-headRoom)
		}
		switch {
		case !ok || failure != nil:
			l.batch = l.batch[:len(l.batch)-1]
		case verdict == replay.Duplicate:
			l.batch = l.batch[:len(l.batch)-1]
			duplicates++
		case it.Kind == KindEvent:
			it.buf = in.buf
			events++
		}
	}
	// A sender's attempts only grow, so that the last one's coming makes older items of the batch void.
	if n := len(l.batch); n > 0 && !l.mesh.inbox.await(s, l.batch[n-1].Attempt) {
		unread(l.batch)
		return nil // none of it was taken: it will be sent again
	}
	if err := l.count(); err != nil {
		unread(l.batch)
		return err // nothing of a batch that is beyond the window is taken
	}
	if events > 0 {
		in.buf.Retain(events)
	}
	if len(l.batch) > 0 || duplicates > 0 {
		if err := l.mesh.inbox.push(l, l.batch, duplicates); err != nil {
			return err
		}
	}
	return failure
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
