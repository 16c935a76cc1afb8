package quicmesh

import (
	"fmt"

	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/replay"
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
			case <-s.done:
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
	if l.session != s || s.ended() {
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
