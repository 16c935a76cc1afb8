package quicmesh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// helloTimeout is how long an accepted stream may stay without its first frame.
const helloTimeout = 5 * time.Second

// lastWords is how long a stream is read on whose sender has gone: a process that died has no other copy of
// what is in it.
const lastWords = 5 * time.Second

// inputKey names an input: one slot on one edge.
type inputKey struct {
	edge  uint16
	index int
}

// acceptLoop takes the streams that peers open.
func (m *Mesh) acceptLoop(from transport.Transport) {
	for {
		stream, err := from.Accept(m.ctx)
		switch {
		case m.ctx.Err() != nil || errors.Is(err, transport.ErrClosed):
			if err == nil {
				stream.Close()
			}
			return
		case err != nil:
			m.cfg.Log("accept failed", "reason", err.Error())
			select {
			case <-time.After(minPause):
			case <-m.ctx.Done():
			}
			continue
		}
		if m.isGuest(stream.Peer()) {
			m.admit(stream)
			continue
		}
		select {
		case m.greeting <- struct{}{}:
			m.loops.Go(func() { m.linkLoop(stream) })
		default:
			m.cfg.Log("stream refused", "peer", stream.Peer().String(), "reason", "too many that have not become links")
			stream.Close()
		}
	}
}

// linkLoop makes a link of an accepted stream, and reads it until it ends.
func (m *Mesh) linkLoop(stream transport.Stream) {
	s := newSession(stream)
	defer close(s.gone)
	stop := context.AfterFunc(m.ctx, func() { s.end("the slot closes") })
	defer stop()
	defer func() {
		if s.loans != nil {
			s.loans.Close()
		}
	}()
	in := newReader(stream, readSize, 0) // an event before the welcome is none
	defer in.close()
	l, err := m.welcome(s, in)
	<-m.greeting
	if err != nil {
		m.cfg.Log("link refused", "peer", stream.Peer().String(), "reason", err.Error())
		s.endFor(err)
		s.finish()
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		l.ackLoop(s)
	}()
	l.readLoop(s, in)
	<-written
	m.cfg.Log("input down", "edge", l.edge, "from", l.from.String(), "reason", s.why())
}

// welcome reads the hello, decides on it, waits for Accept and for an older session's end, and answers.
func (m *Mesh) welcome(s *session, in *reader) (*inLink, error) {
	late := time.AfterFunc(helloTimeout, func() { s.stream.Close() })
	f, err := in.one()
	late.Stop()
	if err != nil {
		return nil, err
	}
	h, err := parseHello(f)
	if err != nil {
		return nil, err
	}
	l, err := m.authorise(s.stream.Peer(), h)
	if err != nil {
		return nil, err
	}
	before, anew, err := l.adopt(s, h.Life)
	if err != nil {
		return nil, err
	}
	if before != nil {
		if anew {
			before.readOut(lastWords)
		}
		before.end("replaced by a newer connection")
		<-before.gone // soon: it has been ended. Its last frames are in the inbox then
	}
	select {
	case <-m.accepted:
	case <-s.done:
		return nil, errors.New(s.why())
	}
	l.borrow(s)
	in.maxData = l.maxBody
	return l, l.resume(s)
}

// authorise gives the link that a peer may open, by what the transport has proven of it.
func (m *Mesh) authorise(peer transport.Identity, h hello) (*inLink, error) {
	self := m.cfg.Self
	slot := Slot{peer.Stage, peer.Index}
	switch {
	case h.Version != version:
		return nil, fmt.Errorf("it speaks version %d, this slot version %d", h.Version, version)
	case peer.Namespace != self.Namespace || peer.Pipeline != self.Pipeline:
		return nil, fmt.Errorf("%v is not of this pipeline", peer)
	case h.From != holder{slot, peer.Incarnation}:
		return nil, fmt.Errorf("it says it is %v, incarnation %d", h.From.Slot, h.From.Incarnation)
	case h.To != holder{Slot{self.Stage, self.Index}, self.Incarnation}:
		return nil, fmt.Errorf("it wants %v, incarnation %d; this is %v", h.To.Slot, h.To.Incarnation, self)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := inputKey{h.Edge, peer.Index}
	if in := m.joining[key]; in != nil && in.from == slot && in.incarnation == peer.Incarnation {
		return m.linkOf(in, key, peer.Incarnation)
	}
	in := m.in[key]
	newest := m.known[slot]
	switch {
	case h.Joins && (in == nil || newest != peer.Incarnation):
		return nil, fmt.Errorf("%v, incarnation %d, joins a version that is not announced here yet", slot, peer.Incarnation)
	case in == nil || in.from != slot:
		return nil, fmt.Errorf("edge %d does not lead from %v to this slot", h.Edge, slot)
	case peer.Incarnation < newest:
		return nil, fmt.Errorf("%v has incarnation %d by now", slot, newest)
	}
	m.known[slot] = peer.Incarnation
	for _, other := range m.in {
		if other.from == slot {
			other.fence(peer.Incarnation)
		}
	}
	return m.linkOf(in, key, peer.Incarnation)
}
