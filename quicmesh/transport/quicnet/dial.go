package quicnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// line is one dialled connection.
type line struct {
	to    target
	conn  *quic.Conn
	links int         // open on it
	spare *time.Timer // closes it when it has had no link for a while; nil: it never had none
}

// Dial opens a link to peer at addr ("IP:PORT"), on a connection of its own as long as there are few.
func (t *Transport) Dial(ctx context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	l, err := t.connection(ctx, target{addr, peer})
	if err == nil {
		var s *quic.Stream
		if s, err = l.conn.OpenStreamSync(ctx); err == nil {
			return &stream{quic: s, conn: l.conn, peer: peer, left: func() { t.leave(l) }}, nil
		}
		t.leave(l)
	}
	if t.ctx.Err() != nil {
		err = transport.ErrClosed
	}
	return nil, fmt.Errorf("quicnet: dial %v at %s: %w", peer, addr, refusal(err))
}

// connection gives a living connection to a target for one more link: an unused one, a new one, or that with the
// fewest links. One is dialled at a time; when that fails for one caller, the next tries with its own context.
func (t *Transport) connection(ctx context.Context, to target) (*line, error) {
	for {
		t.mu.Lock()
		if l := t.free(to); l != nil {
			if l.links++; l.spare != nil {
				l.spare.Stop()
			}
			t.mu.Unlock()
			return l, nil
		}
		underway := t.dialing[to]
		if underway == nil {
			ended := make(chan struct{})
			t.dialing[to] = ended
			t.mu.Unlock()
			conn, err := t.connect(ctx, to)
			t.mu.Lock()
			delete(t.dialing, to)
			l := &line{to: to, conn: conn, links: 1}
			if err == nil {
				t.remember(l)
			}
			t.mu.Unlock()
			close(ended)
			return l, err
		}
		t.mu.Unlock()
		select {
		case <-underway:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// free is the connection that a further link takes; nil: a new one. The caller holds mu.
func (t *Transport) free(to target) *line {
	var best *line
	alive := 0
	for _, l := range t.dialled[to] {
		if l.conn.Context().Err() != nil {
			continue
		}
		if alive++; best == nil || l.links < best.links {
			best = l
		}
	}
	if best != nil && best.links > 0 && alive < mostConns {
		return nil
	}
	return best
}

// leave notes that a link is closed. A connection that has none for a while is closed, too: kept alive, it would cost
// both ends for nothing. Until then what was written last arrives, and another link may come.
func (t *Transport) leave(l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.links--; l.links > 0 || t.ctx.Err() != nil {
		return
	}
	if l.spare == nil {
		l.spare = time.AfterFunc(spareTime, func() { t.drop(l) })
	} else {
		l.spare.Reset(spareTime)
	}
}

// drop closes a connection that nobody has taken meanwhile.
func (t *Transport) drop(l *line) {
	t.mu.Lock()
	unused := l.links == 0
	if unused {
		t.forget(l)
	}
	t.mu.Unlock()
	if unused {
		l.conn.CloseWithError(0, "unused")
	}
}

// remember keeps a connection for later dials while it lives. The caller holds mu.
func (t *Transport) remember(l *line) {
	t.dialled[l.to] = append(t.dialled[l.to], l)
	context.AfterFunc(l.conn.Context(), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.forget(l)
	})
}

// forget keeps it no longer. The caller holds mu.
func (t *Transport) forget(l *line) {
	if l.spare != nil {
		l.spare.Stop()
	}
	t.dialled[l.to] = slices.DeleteFunc(t.dialled[l.to], func(other *line) bool { return other == l })
	if len(t.dialled[l.to]) == 0 {
		delete(t.dialled, l.to)
	}
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
