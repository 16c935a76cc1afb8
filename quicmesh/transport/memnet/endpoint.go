package memnet

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// endpoint is one slot's transport.
type endpoint struct {
	net    *Network
	addr   string
	self   transport.Identity
	accept chan *stream
	done   chan struct{} // closed by Close
	once   sync.Once
}

func (e *endpoint) Addr() string { return e.addr }

// Dial waits while nobody listens at addr or the way there is cut, as packets into the void would.
func (e *endpoint) Dial(ctx context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	for {
		s, remote, changed, err := e.connect(addr, peer)
		if err != nil {
			return nil, fmt.Errorf("memnet: dial %s: %w", addr, err)
		}
		if s == nil {
			select {
			case <-changed:
				continue
			case <-e.done:
				return nil, fmt.Errorf("memnet: dial %s: %w", addr, transport.ErrClosed)
			case <-ctx.Done():
				return nil, fmt.Errorf("memnet: dial %s, nobody answers: %w", addr, ctx.Err())
			}
		}
		if err := e.offer(ctx, s, remote); err != nil {
			e.net.forget(s.conn)
			return nil, fmt.Errorf("memnet: dial %s: %w", addr, err)
		}
		return s, nil
	}
}

// connect makes a conn when the address can be reached now, or gives the channel that tells of a
// change in that.
func (e *endpoint) connect(addr string, peer transport.Identity) (*stream, *endpoint, <-chan struct{}, error) {
	n := e.net
	n.mu.Lock()
	defer n.mu.Unlock()
	remote := n.endpoints[addr]
	switch {
	case n.endpoints[e.addr] != e:
		return nil, nil, nil, transport.ErrClosed
	case remote == nil || n.cuts[pairOf(e.addr, addr)]:
		return nil, nil, n.changed, nil
	case remote.self != peer:
		return nil, nil, nil, fmt.Errorf("%w: wanted %v, found %v", transport.ErrRefused, peer, remote.self)
	case peer.Namespace != e.self.Namespace || peer.Pipeline != e.self.Pipeline:
		return nil, nil, nil, fmt.Errorf("%w: %v is not of the pipeline of %v", transport.ErrRefused, peer, e.self)
	}
	n.opened++
	c := newConn(n, e.addr, addr, n.opened)
	n.conns[c] = struct{}{}
	return &stream{conn: c, in: &c.back, out: &c.forth, peer: peer}, remote, nil, nil
}

// offer hands the far end of s to the remote after a round trip.
func (e *endpoint) offer(ctx context.Context, s *stream, remote *endpoint) error {
	c := s.conn
	// No timer without a delay: one that fires at once, in a bubble, crashes the race detector of Go 1.26
	// when two goroutines meet there (both use the bubble's one context).
	if delay := e.net.delay(c.addrs, nil); delay > 0 {
		trip := time.NewTimer(2 * delay)
		defer trip.Stop()
		select {
		case <-trip.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	far := &stream{conn: c, in: &c.forth, out: &c.back, peer: e.self}
	select {
	case remote.accept <- far:
		return nil
	case <-remote.done:
		return ErrCut
	case <-e.done:
		return transport.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *endpoint) Accept(ctx context.Context) (transport.Stream, error) {
	select {
	case <-e.done: // first: streams that wait in accept are broken then
		return nil, fmt.Errorf("memnet: accept at %s: %w", e.addr, transport.ErrClosed)
	default:
	}
	select {
	case s := <-e.accept:
		return s, nil
	case <-e.done:
		return nil, fmt.Errorf("memnet: accept at %s: %w", e.addr, transport.ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("memnet: accept at %s: %w", e.addr, ctx.Err())
	}
}

func (e *endpoint) Close() error {
	e.once.Do(func() {
		close(e.done)
		e.net.mu.Lock()
		delete(e.net.endpoints, e.addr)
		lost := e.net.take(func(c *conn) bool { return c.addrs.low == e.addr || c.addrs.high == e.addr })
		e.net.mu.Unlock()
		for _, c := range lost {
			c.fail(e.addr)
		}
	})
	return nil
}
