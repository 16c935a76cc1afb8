package quicmesh

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// goodbyeWait is how long a reader has to find the reason why its peer has closed the stream.
const goodbyeWait = 100 * time.Millisecond

// session is one connection's part of a link's life: a stream, its reader and its writer. Anybody may
// end it; the writer then says goodbye and closes the stream, which ends the reader.
type session struct {
	stream transport.Stream
	done   chan struct{}        // closed by end
	loans  *arena.Loans         // what the peer has lent, of a receiver; nil: it can't
	lender transport.Lender     // of a sender's writer; nil: nothing is lent
	roomy  transport.Roomy      // of a sender; nil: only the writer writes
	failed chan error           // of one element: a write in the writer's place
	lent   int                  // files, of a sender; belongs to edge.mu, as mapped does
	mapped [arena.MaxFiles]bool // … that the peer can read
	gone   chan struct{}        // closed when reader and writer are gone; used by receivers

	once   sync.Once
	reason goodbye     // written before done is closed
	hard   *time.Timer // closes the stream when the writer is stuck
}

// goodbye is why a session ends.
type goodbye struct {
	text string
	lost bool // the stream is broken or the peer has gone: there is nobody to tell
}

func newSession(s transport.Stream) *session {
	return &session{stream: s, roomy: transport.RoomyOf(s), failed: make(chan error, 1), done: make(chan struct{}),
		gone: make(chan struct{})}
}

// carrier is what its stream goes over; "" when that does not tell.
func (s *session) carrier() string {
	if c, ok := s.stream.(transport.Carrier); ok {
		return c.Carrier()
	}
	return ""
}

// end begins the end of the session for the reason why, which the peer is told. The first reason counts.
func (s *session) end(why string) { s.stop(goodbye{text: why}) }

// endLost ends a session whose stream has failed, or whose peer has said goodbye.
func (s *session) endLost(err error) { s.stop(goodbye{text: err.Error(), lost: true}) }

// endUnwritable ends a session whose stream takes no more writes, if its reader hasn't found the stream's end
// within wait. That one may be about to find the peer's goodbye, which says more than the error does, and
// frames before it.
func (s *session) endUnwritable(err error, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
		s.endLost(err)
	}
}

// endFor ends the session for what its reader found: a broken stream, a goodbye, or a peer that does
// not keep the rules, who is told.
func (s *session) endFor(err error) { s.stop(goodbye{text: err.Error(), lost: isLost(err)}) }

// isLost tells a stream that has failed, or was ended by the peer, from a peer that breaks the rules.
func isLost(err error) bool {
	var bye errBye
	var broken *readError
	return errors.As(err, &bye) || errors.As(err, &broken)
}

func (s *session) stop(why goodbye) {
	s.once.Do(func() {
		s.reason = why
		s.hard = time.AfterFunc(closeGrace, func() { s.stream.Close() })
		close(s.done)
	})
}

// readOut waits until the session's stream has been read to its end, which an earlier life of the sender has
// left: what that one wrote nobody else has. Not longer than wait.
func (s *session) readOut(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.gone:
	case <-timer.C:
	}
}

func (s *session) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// finish is the writer's last act after the session has ended.
func (s *session) finish() {
	<-s.done
	if !s.reason.lost {
		f := frame.Frame{Header: frame.Header{Type: frame.Bye}, Payload: []byte(s.reason.text)}
		s.stream.Write(f.Append(nil)) // nobody is left to hear of an error
	}
	s.stream.Close()
	s.hard.Stop()
}

// why is the reason; the session has ended.
func (s *session) why() string { return s.reason.text }

// errBye is the reason a peer has given.
type errBye []byte

func (e errBye) Error() string { return fmt.Sprintf("the peer says: %.500s", []byte(e)) }

// signal wakes who waits on a channel with room for one token.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
