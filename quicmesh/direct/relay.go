package direct

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/internal/wire"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// relayBacklog is how many streams wait for Accept before further ones are closed.
const relayBacklog = 64

// relay is the transport whose streams the proxy makes, and carries over sockets.
type relay struct {
	conn    *wire.Conn
	streams chan *stream
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
}

func newRelay(conn *wire.Conn) *relay {
	r := &relay{conn: conn, streams: make(chan *stream, relayBacklog)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Addr is the proxy's own.
func (r *relay) Addr() string { return "" }

// Dial is transport.Dialer's.
func (r *relay) Dial(ctx context.Context, _ string, peer transport.Identity) (transport.Stream, error) {
	var reply DialReply
	files, err := r.conn.CallFiles(ctx, TypeDial, Dial{peer}, &reply)
	switch {
	case err != nil:
		return nil, fmt.Errorf("dial %v: %w", peer, err)
	case reply.Error != "":
		shm.CloseAll(files)
		if reply.Refused {
			return nil, fmt.Errorf("%w: %s", transport.ErrRefused, reply.Error)
		}
		return nil, errors.New(reply.Error)
	}
	return newStream(files, Stream{peer, reply.Carrier})
}

// take is a stream that a peer has opened.
func (r *relay) take(files []*os.File, of Stream) {
	s, err := newStream(files, of)
	if err != nil {
		return // the proxy sees the socket's end
	}
	select {
	case r.streams <- s:
	default:
		_ = s.Close()
	}
}

// Accept is transport.Transport's.
func (r *relay) Accept(ctx context.Context) (transport.Stream, error) {
	select {
	case s := <-r.streams:
		return s, nil
	case <-r.ctx.Done():
		return nil, transport.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close refuses what waits. The mesh has ended its streams itself.
func (r *relay) Close() error {
	r.stop()
	for {
		select {
		case s := <-r.streams:
			_ = s.Close()
		default:
			return nil
		}
	}
}

// stream is one whose bytes the proxy carries.
type stream struct {
	*shm.Socket
	of     Stream
	closed atomic.Bool
}

func newStream(files []*os.File, of Stream) (*stream, error) {
	if len(files) != 1 {
		shm.CloseAll(files)
		return nil, fmt.Errorf("a stream comes with one descriptor, not %d", len(files))
	}
	conn, err := shm.Conn(files[0])
	if err != nil {
		return nil, err
	}
	socket, err := shm.Quick(conn)
	if err != nil {
		return nil, err
	}
	return &stream{Socket: socket, of: of}, nil
}

func (s *stream) Peer() transport.Identity { return s.of.Peer }
func (s *stream) Carrier() string          { return s.of.Carrier }

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Socket.Read(b)
	return n, s.fault(err)
}

func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Socket.Write(b)
	return n, s.fault(err)
}

func (s *stream) Close() error {
	s.closed.Store(true)
	_ = s.Socket.Close()
	return nil
}

func (s *stream) fault(err error) error {
	if err != nil && s.closed.Load() {
		return transport.ErrClosed
	}
	return err
}

// broker has the proxy ask for memory.
type broker struct{ conn *wire.Conn }

// Ring is shmring.Broker's.
func (b broker) Ring(ctx context.Context, _ string, peer transport.Identity, lane int) (shmring.End, error) {
	var reply RingReply
	files, err := b.conn.CallFiles(ctx, TypeRing, Ring{peer, lane}, &reply)
	switch {
	case err != nil:
		return shmring.End{}, err
	case reply.Reason != "":
		shm.CloseAll(files)
		return shmring.End{}, transport.NotNear{Reason: reply.Reason, Later: reply.Later}
	}
	return shmring.EndOf(files)
}

// arena makes files for the mesh's payloads.
func (b broker) arena(ctx context.Context, size int) (*os.File, error) {
	var reply ArenaReply
	files, err := b.conn.CallFiles(ctx, TypeArena, Arena{size}, &reply)
	switch {
	case err != nil:
		return nil, err
	case reply.Reason != "":
		shm.CloseAll(files)
		return nil, errors.New(reply.Reason)
	case len(files) != 1:
		shm.CloseAll(files)
		return nil, fmt.Errorf("an arena has 1 descriptor, the proxy gave %d", len(files))
	}
	return files[0], nil
}
