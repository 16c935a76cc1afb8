package quicmesh

import (
	"fmt"

	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/replay"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// writeLoop writes what is in the log, as much as there is with each write, until the session ends.
func (l *outLink) writeLoop(s *session) {
	for {
		l.lend(s)
		b, ok, last := l.next(s)
		if last {
			l.edge.mesh.progress.wrote()
		}
		if !ok {
			select {
			case <-l.wake:
			case err := <-s.failed:
				s.endUnwritable(err, goodbyeWait)
				return
			case <-s.done:
				l.rise() // the goodbye is the last thing that is written
				return
			}
			continue
		}
		_, err := s.stream.Write(b.Bytes)
		if err == nil && len(b.Payload) > 0 {
			_, err = s.stream.Write(b.Payload)
		}
		b.Release()
		if err != nil {
			s.endUnwritable(err, goodbyeWait)
			return
		}
	}
}

// next is what the session s writes next, after what it got before; false when it has to wait for wake or its
// end. last is noteWritten's.
func (l *outLink) next(s *session) (b replay.Batch, ok, last bool) {
	e := l.edge
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.session != s || s.ended() || len(s.failed) > 0 {
		return b, false, false
	}
	last = l.noteWritten()
	b, ok = l.log.Next()
	l.asleep, l.writing = !ok, ok
	switch {
	case !ok:
		e.wake() // for Flush
	case b.Memory != nil:
		l.refer(s, &b)
	}
	return b, ok, last
}

// writeNow writes the frame that has just been appended in the place of the writer, who sleeps: at a low rate an
// event's way is one goroutine shorter. It never waits. false: the writer is to be woken, since the stream has
// other things in it, or the frame is large. So events that come close behind one another are written together.
// The caller holds edge.mu.
func (l *outLink) writeNow(f *frame.Frame, memory replay.Memory) bool {
	s, size := l.session, f.Size()
	if memory != nil {
		if _, ok := l.reference(s, memory.(*arena.Region), f.Payload); !ok {
			return false
		}
		size += arena.ReferenceSize - len(f.Payload)
	}
	if s.roomy == nil || size > transport.AtOnce || !s.roomy.Drained() {
		return false
	}
	b, _ := l.log.Next()
	if b.Memory != nil {
		l.refer(s, &b)
	}
	_, err := s.stream.Write(b.Bytes)
	b.Release()
	if err != nil {
		l.asleep = false
		s.failed <- err
		return true
	}
	l.noteWritten() // no round waits for a link that had written everything
	return true
}

// rise ends the writer's sleep for good.
func (l *outLink) rise() {
	l.edge.mu.Lock()
	l.asleep = false
	l.edge.mu.Unlock()
}

// readLoop takes acknowledgements and credit, until the session ends.
func (l *outLink) readLoop(s *session, in *reader) {
	var f frame.Frame
	for {
		ok, err := in.next(&f)
		switch {
		case ok:
			err = l.take(s, &f)
		case err == nil:
			err = in.fill()
		}
		if err != nil {
			s.endFor(err)
			return
		}
	}
}

// take is one frame from the receiver.
func (l *outLink) take(s *session, f *frame.Frame) error {
	e := l.edge
	switch f.Type {
	case frame.Ack, frame.Credit, frame.Mapped, frame.Release:
	case frame.Bye:
		return errBye(append([]byte(nil), f.Payload...))
	default:
		return fmt.Errorf("frame of type %d from a receiver", f.Type)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.session != s {
		return nil
	}
	switch f.Type {
	case frame.Mapped, frame.Release:
		return l.taken(s, f)
	case frame.Credit:
		if err := l.flow.Grant(f.Seq); err != nil {
			return err
		}
		e.wake()
		return nil
	}
	if err := l.log.Ack(f.Seq); err != nil {
		return err
	}
	l.control.drop(f.Seq)
	e.wake()
	return nil
}
