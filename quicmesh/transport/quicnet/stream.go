package quicnet

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// stream is one link.
type stream struct {
	quic    *quic.Stream
	conn    *quic.Conn
	peer    transport.Identity
	left    func() // called once, by Close
	closed  atomic.Bool
	writing sync.Mutex // held during a Write: QUIC's Close must not meet it
}

// Carrier is what streams like this are called.
func (s *stream) Carrier() string { return "quic" }

// RTT is that of its connection; see transport.Timed.
func (s *stream) RTT() time.Duration { return s.conn.ConnectionStats().SmoothedRTT }

func (s *stream) Peer() transport.Identity { return s.peer }

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.quic.Read(b)
	if err == nil || err == io.EOF && !s.closed.Load() {
		return n, err
	}
	return n, s.fault("read from", err)
}

func (s *stream) Write(b []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed.Load() {
		return 0, s.fault("write to", nil)
	}
	n, err := s.quic.Write(b)
	if err != nil {
		return n, s.fault("write to", err)
	}
	return n, nil
}

// Close ends both directions: the peer's writes are refused from now on, and what we have written ends
// with the stream's end.
func (s *stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.left()
	s.quic.CancelRead(0)
	s.quic.SetWriteDeadline(time.Unix(1, 0)) // a Write that is blocked returns and lets go of writing
	s.writing.Lock()
	defer s.writing.Unlock()
	s.quic.Close() // fails only when the stream or the connection has already ended
	return nil
}

// fault says what failed, and that it was our own doing if so.
func (s *stream) fault(what string, err error) error {
	var ended *quic.ApplicationError
	if s.closed.Load() || errors.As(err, &ended) && !ended.Remote {
		err = transport.ErrClosed
	}
	return fmt.Errorf("quicnet: %s %v: %w", what, s.peer, err)
}
