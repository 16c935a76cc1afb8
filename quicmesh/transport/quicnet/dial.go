package quicnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/quic-go/quic-go"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// Dial opens a link on the connection to peer at addr ("IP:PORT"), making that connection first when
// there is none.
func (t *Transport) Dial(ctx context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	conn, err := t.connection(ctx, target{addr, peer})
	if err == nil {
		var s *quic.Stream
		if s, err = conn.OpenStreamSync(ctx); err == nil {
			return &stream{quic: s, conn: conn, peer: peer}, nil
		}
	}
	if t.ctx.Err() != nil {
		err = transport.ErrClosed
	}
	return nil, fmt.Errorf("quicnet: dial %v at %s: %w", peer, addr, refusal(err))
}

// connection gives the living connection to a target. Concurrent callers share one dial; when it fails
// for one, the next tries with its own context.
func (t *Transport) connection(ctx context.Context, to target) (*quic.Conn, error) {
	for {
		t.mu.Lock()
		if conn := t.dialled[to]; conn != nil && conn.Context().Err() == nil {
			t.mu.Unlock()
			return conn, nil
		}
		underway := t.dialing[to]
		if underway == nil {
			ended := make(chan struct{})
			t.dialing[to] = ended
			t.mu.Unlock()
			conn, err := t.connect(ctx, to)
			t.mu.Lock()
			delete(t.dialing, to)
			if err == nil {
				t.remember(to, conn)
			}
			t.mu.Unlock()
			close(ended)
			return conn, err
		}
		t.mu.Unlock()
		select {
		case <-underway:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// remember keeps conn for later dials while it lives. The caller holds mu.
func (t *Transport) remember(to target, conn *quic.Conn) {
	t.dialled[to] = conn
	context.AfterFunc(conn.Context(), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.dialled[to] == conn {
			delete(t.dialled, to)
		}
	})
}

// connect makes a connection and waits until the peer has admitted us.
func (t *Transport) connect(ctx context.Context, to target) (*quic.Conn, error) {
	udp, err := net.ResolveUDPAddr("udp", to.addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.ctx, func() { cancel(transport.ErrClosed) })()
	conn, err := t.quic.Dial(ctx, udp, t.config.client(to.peer), quicConfig(-1, 1))
	if err != nil {
		return nil, err
	}
	if !t.keep(conn) {
		conn.CloseWithError(0, "closed")
		return nil, transport.ErrClosed
	}
	if err := admitted(ctx, conn); err != nil {
		conn.CloseWithError(0, "given up")
		return nil, err
	}
	return conn, nil
}

// admit tells a dialler that its certificate was accepted. In TLS 1.3 a client's handshake is complete
// before the server has seen the client's certificate, and refusals come later.
func admit(conn *quic.Conn) error {
	s, err := conn.OpenUniStream()
	if err != nil {
		return err
	}
	return s.Close()
}

// admitted waits for admit.
func admitted(ctx context.Context, conn *quic.Conn) error {
	s, err := conn.AcceptUniStream(ctx)
	if err != nil {
		return err
	}
	if _, err := s.Read(make([]byte, 1)); err != io.EOF {
		s.CancelRead(0)
		return fmt.Errorf("peer speaks another protocol: %w", err)
	}
	return nil
}

// refusal marks failures of the handshake that are a matter of identity, on either side.
func refusal(err error) error {
	var failed *quic.TransportError
	if errors.As(err, &failed) && failed.ErrorCode.IsCryptoError() {
		return fmt.Errorf("%w: %w", transport.ErrRefused, err)
	}
	return err
}
