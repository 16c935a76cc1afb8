package quicnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/quic-go/quic-go"

	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// Transport is one slot's end of the mesh.
type Transport struct {
	config   Config
	packets  net.PacketConn
	quic     *quic.Transport
	listener *quic.Listener
	streams  chan *stream // opened by peers, for Accept

	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	loops sync.WaitGroup // acceptLoop and the streamsLoops

	mu      sync.Mutex
	conns   map[*quic.Conn]struct{} // all, for Close
	dialled map[target][]*line
	dialing map[target]chan struct{} // closed when the dial under way has ended
}

// target is what dialled connections are kept under.
type target struct {
	addr string
	peer transport.Identity
}

// New opens the socket and starts accepting. The caller must Close it.
func New(c Config) (*Transport, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("quicnet: listen as %v: %w", c.Self, err)
	}
	if c.PacketConn == nil {
		socket, err := net.ListenPacket("udp", net.JoinHostPort(c.ListenIP, "0"))
		if err != nil {
			return nil, fmt.Errorf("quicnet: listen as %v: %w", c.Self, err)
		}
		c.PacketConn = socket
	}
	t := &Transport{
		config:  c,
		packets: c.PacketConn,
		quic:    &quic.Transport{Conn: merge(c.PacketConn)},
		streams: make(chan *stream, maxLinks),
		conns:   map[*quic.Conn]struct{}{},
		dialled: map[target][]*line{},
		dialing: map[target]chan struct{}{},
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	var err error
	if t.listener, err = t.quic.Listen(c.server(), quicConfig(maxLinks/mostConns, -1)); err != nil {
		t.stop()
		return nil, errors.Join(fmt.Errorf("quicnet: listen as %v: %w", c.Self, err), t.packets.Close())
	}
	t.loops.Go(t.acceptLoop)
	return t, nil
}

// Addr is the UDP socket's "IP:PORT".
func (t *Transport) Addr() string { return t.packets.LocalAddr().String() }

// acceptLoop admits peers, until Close.
func (t *Transport) acceptLoop() {
	for {
		conn, err := t.listener.Accept(t.ctx)
		if err != nil {
			return
		}
		if !t.keep(conn) {
			conn.CloseWithError(0, "closed")
			return
		}
		t.loops.Go(func() { t.streamsLoop(conn) })
	}
}

// streamsLoop hands the links that the peer opens on conn to Accept, until conn ends.
func (t *Transport) streamsLoop(conn *quic.Conn) {
	peer, err := identity.Of(conn.ConnectionState().TLS.PeerCertificates[0])
	if err != nil || admit(conn) != nil {
		conn.CloseWithError(0, "not admitted")
		return
	}
	for {
		s, err := conn.AcceptStream(t.ctx)
		if err != nil {
			return
		}
		select {
		case t.streams <- &stream{quic: s, conn: conn, peer: peer, left: func() {}}:
		case <-conn.Context().Done():
			return
		case <-t.ctx.Done():
			return
		}
	}
}

// keep notes conn for Close, as long as it lives. It returns false after Close.
func (t *Transport) keep(conn *quic.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	t.conns[conn] = struct{}{}
	context.AfterFunc(conn.Context(), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.conns, conn)
	})
	return true
}

// Accept waits for a peer's link.
func (t *Transport) Accept(ctx context.Context) (transport.Stream, error) {
	if t.ctx.Err() != nil {
		return nil, fmt.Errorf("quicnet: accept: %w", transport.ErrClosed)
	}
	select {
	case s := <-t.streams:
		return s, nil
	case <-t.ctx.Done():
		return nil, fmt.Errorf("quicnet: accept: %w", transport.ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("quicnet: accept: %w", ctx.Err())
	}
}

// Close tells the peers, then ends all goroutines and closes the socket.
func (t *Transport) Close() error {
	t.mu.Lock()
	again := t.ctx.Err() != nil
	t.stop()
	conns := make([]*quic.Conn, 0, len(t.conns))
	for conn := range t.conns {
		conns = append(conns, conn)
	}
	t.mu.Unlock()
	if again {
		t.loops.Wait()
		return nil
	}
	// Connections go before the listener and the socket, which would not say good-bye.
	for _, conn := range conns {
		conn.CloseWithError(0, "closed")
	}
	errs := []error{t.listener.Close(), t.quic.Close(), t.packets.Close()}
	t.loops.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("quicnet: close: %w", err)
	}
	return nil
}
