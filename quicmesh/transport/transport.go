// Package transport is the seam between the mesh and what carries its bytes. A Transport gives
// ordered, reliable, two-way byte streams between two authenticated slots, one stream a link; the
// mesh puts frames on them. Implementations: quicnet (QUIC), shmring (memory that two processes of one
// host share), memnet (in memory, with faults). All of them pass the suite in transporttest.
package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Errors that every implementation gives for the same causes, wrapped.
var (
	// ErrClosed: this side has closed the stream or the transport.
	ErrClosed = errors.New("transport: closed")
	// ErrRefused: whoever answers is not the peer that was wanted, or one side does not accept the
	// other. Dialling again soon is of no use unless the peer's address or incarnation has changed.
	ErrRefused = errors.New("transport: peer refused")
)

// Identity is who a peer is, proven by the transport: its certificate, or the process itself in memory.
type Identity struct {
	Namespace   string
	Pipeline    string
	Stage       string
	Index       int
	Incarnation uint64
}

// String is the identity as written in logs: weft://NAMESPACE/PIPELINE/STAGE/INDEX/INCARNATION. In
// certificates it is the same, with all unusual characters escaped.
func (i Identity) String() string {
	return fmt.Sprintf("weft://%s/%s/%s/%d/%d", i.Namespace, i.Pipeline, i.Stage, i.Index, i.Incarnation)
}

// Stream is one link's channel. Reads and writes each belong to one goroutine at a time. A dialled stream may
// stay unseen by the acceptor until the dialler writes to it.
type Stream interface {
	// Read and Write fail when the peer is out of reach: at once, or after a silence of less than a second. Write
	// blocks while the peer does not read and the transport's bounded buffers are full.
	io.ReadWriter
	// Close may be called from any goroutine, and again. It ends both directions, on both sides: here
	// reads and writes return ErrClosed from now on, the blocked ones too; the peer's writes fail; the
	// peer can still read what was written before, then has io.EOF.
	io.Closer
	// Peer is the authenticated other side.
	Peer() Identity
}

// Carrier is a Stream that says what carries it: a word, such as "quic", and perhaps a colon and why it is not
// something better.
type Carrier interface{ Carrier() string }

// Lender is a Stream between two processes of one host, which can lend each other memory.
type Lender interface {
	// Lend gives the peer a memory file under a number. The file stays the caller's. It fails within a second
	// when the peer does not take it.
	Lend(number uint32, f *os.File) error
	// Borrow has take called for each file that the peer lends, which is take's to close, one at a time. An error
	// ends the stream. It must be called before the peer may lend.
	Borrow(take func(number uint32, f *os.File) error)
}

// LenderOf gives s, or what it wraps and tells of by Unwrap, as a Lender; nil: it is none.
func LenderOf(s Stream) Lender { return as[Lender](s) }

// Roomy is a Stream that knows whether the peer has read everything: then a Write of AtOnce bytes does not wait, and
// any goroutine may do it while no other writes.
type Roomy interface{ Drained() bool }

// AtOnce is how many bytes a Roomy stream has room for, drained.
const AtOnce = 32 << 10

// RoomyOf gives s, or what it wraps, as a Roomy; nil: it is none.
func RoomyOf(s Stream) Roomy { return as[Roomy](s) }

// Rousable is a Stream whose reader may have something else to do: who waits for other things, too, can read it.
type Rousable interface {
	// Rouse has the Read that waits, or the next one that would, return no bytes and no error.
	Rouse()
	// Alone tells whether the reader's process has nothing better to do than to wait for the stream's bytes: then it may
	// wait in a way that keeps a processor from its other goroutines, for some milliseconds at most.
	Alone(yes bool)
	// Over is closed when the peer has ended the stream, or is gone. What it wrote before is still to be read.
	Over() <-chan struct{}
}

// RousableOf gives s, or what it wraps, as a Rousable; nil: it is none.
func RousableOf(s Stream) Rousable { return as[Rousable](s) }

// Timed is a Stream that knows how long it takes to the peer and back, lately; 0 before it does.
type Timed interface{ RTT() time.Duration }

// RTTOf is a stream's, where that is Timed or wraps one that is; else 0.
func RTTOf(s Stream) time.Duration {
	if t := as[Timed](s); t != nil {
		return t.RTT()
	}
	return 0
}

// as finds what more a stream can, or one that it wraps.
func as[T any](s Stream) (none T) {
	for {
		if t, ok := s.(T); ok {
			return t
		}
		w, ok := s.(interface{ Unwrap() Stream })
		if !ok {
			return none
		}
		s = w.Unwrap()
	}
}

// Dialer opens streams.
type Dialer interface {
	// Dial opens a stream to the slot at addr. It returns ErrRefused when whoever answers there is not
	// peer; where nobody answers it waits until ctx ends or a few seconds have passed.
	// Several dials to one peer may share a connection.
	Dial(ctx context.Context, addr string, peer Identity) (Stream, error)
}

// Transport dials and accepts streams for one slot.
type Transport interface {
	// Addr is what peers dial: "IP:PORT", or a name in memory.
	Addr() string
	Dialer
	// Accept waits for a stream that a peer of the same pipeline has opened. It returns ErrClosed
	// after Close.
	Accept(ctx context.Context) (Stream, error)
	// Close ends all streams, here and at the peers, and releases the address. Unlike a stream's own
	// Close it may lose what peers have not read yet.
	Close() error
}
