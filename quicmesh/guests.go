package quicmesh

import (
	"context"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// Guests are peers of the pipeline that hold no slot: they come and go, have no edge, and take no part in
// barriers and attempts. A slot that serves them speaks with them itself.
type Guests struct {
	// Stage is what their certificates name in the place of a stage.
	Stage string
	// Most bounds the streams of guests at one time; at least 1.
	Most int
	// Serve has a stream until it returns; then the stream is closed. It is called after Accept, in a
	// goroutine of its own. The stream ends with the mesh.
	Serve func(stream transport.Stream)
}

func (m *Mesh) isGuest(peer transport.Identity) bool {
	self := m.cfg.Self
	return m.cfg.Guests != nil && peer.Stage == m.cfg.Guests.Stage &&
		peer.Namespace == self.Namespace && peer.Pipeline == self.Pipeline
}

// admit serves a guest, if there is room for it.
func (m *Mesh) admit(stream transport.Stream) {
	select {
	case m.guests <- struct{}{}:
		m.loops.Go(func() { m.guestLoop(stream) })
	default:
		m.cfg.Log("guest refused", "peer", stream.Peer().String(), "reason", "too many are here")
		stream.Close()
	}
}

func (m *Mesh) guestLoop(stream transport.Stream) {
	defer func() { <-m.guests }()
	defer stream.Close()
	stop := context.AfterFunc(m.ctx, func() { stream.Close() })
	defer stop()
	select {
	case <-m.accepted:
		m.cfg.Guests.Serve(stream)
	case <-m.ctx.Done():
	}
}
