package quicmesh

import (
	"github.com/weft-stream/weft/quicmesh/frame"
)

// ackLoop writes acknowledgements and credit until s ends.
func (l *inLink) ackLoop(s *session) {
	defer s.finish()
	b := make([]byte, 0, 2*frame.HeaderSize)
	for {
		select {
		case <-l.wake:
		case <-s.done:
			return
		}
		b = l.tell(b[:0])
		if len(b) == 0 {
			continue
		}
		if _, err := s.stream.Write(b); err != nil {
			s.endUnwritable(err, lastWords)
			return
		}
	}
}

// tell encodes what the sender does not know yet. The acknowledgement is first, so that the sender
// never keeps more than the window.
func (l *inLink) tell(b []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = 0
	l.timer.Stop()
	if l.acked != l.needless() {
		l.acked = l.needless()
		f := frame.Frame{Header: frame.Header{Type: frame.Ack, Edge: l.edge, Seq: l.acked}}
		b = f.Append(b)
	}
	if l.flow.Untold() {
		f := frame.Frame{Header: frame.Header{Type: frame.Credit, Edge: l.edge, Seq: l.flow.Tell()}}
		b = f.Append(b)
	}
	return l.borrowed.tell(l.edge, b)
}
