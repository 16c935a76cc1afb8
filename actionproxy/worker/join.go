package worker

import (
	"fmt"
	"slices"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/outlet"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// join makes the slot's mesh of its assignment, on the candidate's address.
func (s *slot) join(c *candidate) error {
	a := s.assignment
	cert, err := c.key.Certificate(a.Cert)
	if err != nil {
		return err
	}
	ca, err := identity.Pool(a.CA)
	if err != nil {
		return err
	}
	self := transport.Identity{
		Namespace: a.Namespace, Pipeline: a.Pipeline.Name,
		Stage: a.Slot.Stage, Index: a.Slot.Index, Incarnation: a.Incarnation,
	}
	if s.transport, err = c.endpoint.Transport(self, cert, ca); err != nil {
		return err
	}
	c.endpoint = nil
	if s.functionHolds() {
		h, err := newHeld(s, self, s.transport)
		if err != nil {
			s.closeTransports() // nothing was sent
			return err
		}
		s.mesh = h
		return nil
	}
	config := direct.PlaceConfig{
		Mesh: quicmesh.Config{Self: self, Joins: a.Joins, Attempt: a.Attempt, Seed: a.KeySeed, Transport: s.transport,
			Log: func(event string, kv ...any) { s.logs.say("%s%s", event, pairs(kv)) }},
		Broker: broker{s.hook, self}, Impossible: s.unlinked, Say: s.logs.say,
	}
	config.Out, config.Mesh.In = meshEdges(a)
	if s.desk != nil {
		config.Mesh.Guests = s.desk.guests()
	}
	if s.local, err = direct.NewPlace(config); err != nil {
		s.closeTransports() // nothing was sent
		return err
	}
	s.mesh = s.local
	return nil
}

// functionHolds tells whether the slot's mesh is in its function's process: one that can, where memory can be
// shared at all.
func (s *slot) functionHolds() bool {
	if s.stage.Source != nil || s.stage.Sink != nil || s.fn == nil || s.fn.Process() == nil {
		return false
	}
	network, _, _ := control.Address(s.hook.addr) // a wrong one is found when it is dialled
	return network == "unix" && s.fn.Process().Mesh() == direct.Version
}

// edgesOf lists a pipeline's edges by their numbers.
func edgesOf(a *control.Assignment) []pipeline.Edge {
	return slices.Concat(a.Pipeline.Edges, a.Pipeline.Returns())
}

// closeTransports comes after the mesh's end.
func (s *slot) closeTransports() {
	_ = s.transport.Close() // nothing that was to be sent is left
}

// meshEdges lists the edges out of the assignment's stage and into it. An edge's number is its index; those
// of the returns follow.
func meshEdges(a *control.Assignment) (out []direct.OutEdge, in []quicmesh.InEdge) {
	forth := len(a.Pipeline.Edges)
	for i, e := range edgesOf(a) {
		routing := quicmesh.Routing(e.Routing)
		if e.From == a.Slot.Stage {
			out = append(out, direct.OutEdge{ID: uint16(i), To: e.To, Routing: routing, Replicas: replicas(a, e.To), Return: i >= forth, Wish: string(e.Transport), MaxPayload: e.Largest()})
		}
		if e.To == a.Slot.Stage {
			in = append(in, quicmesh.InEdge{ID: uint16(i), From: e.From, Routing: routing, Replicas: replicas(a, e.From), Return: i >= forth, MaxPayload: e.Largest()})
		}
	}
	return out, in
}

// outletEdges lists the edges out of the assignment's stage as an outlet needs them, or, with an origin, those
// of a stage that is fused with it.
func outletEdges(a *control.Assignment, origin string) (out []outlet.Edge) {
	for i, e := range a.Pipeline.Edges {
		if e.From == a.Slot.Stage && e.Origin == origin {
			out = append(out, outlet.Edge{ID: uint16(i), To: e.To, Keyed: e.Routing == pipeline.Key, Key: e.Key, OnError: e.OnError, Largest: e.Largest()})
		}
	}
	return out
}

// replicas is how many slots a stage has: a run has those of its start.
func replicas(a *control.Assignment, stage string) int {
	if s := a.Pipeline.Stage(stage); s != nil {
		return s.Replicas.Min
	}
	return 0
}

func meshPeers(peers []control.Peer) []quicmesh.Peer {
	out := make([]quicmesh.Peer, len(peers))
	for i, p := range peers {
		out[i] = quicmesh.Peer{Stage: p.Slot.Stage, Index: p.Slot.Index, Incarnation: p.Incarnation, Addr: p.Addr}
	}
	return out
}

// pairs writes keys and values of a log line.
func pairs(kv []any) (s string) {
	for i := 0; i+1 < len(kv); i += 2 {
		s += fmt.Sprintf(" %v=%v", kv[i], kv[i+1])
	}
	return s
}
