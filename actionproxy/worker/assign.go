package worker

import (
	"slices"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/quicmesh"
)

// assign takes over what the hook says of the assignment, and says that it is prepared for the next one.
func (s *slot) assign(c *control.Peers) {
	for edge, t := range c.Transports {
		s.mesh.Want(uint16(edge), string(t))
	}
	s.mesh.SetVersions(meshVersion(c.Holders), meshNext(c.Next))
	s.mu.Lock()
	if s.among(c.Peers) {
		s.joins = false
	}
	s.leaves = 0
	if c.Next != nil && !s.among(c.Next.Peers) {
		s.leaves = c.Next.Version
	}
	s.mu.Unlock()
	if w, ok := s.runner.(interface{ assigned() }); ok {
		w.assigned()
	}
	if c.Next != nil {
		s.tellPrepared(c.Next.Version)
	}
}

func (s *slot) among(peers []control.Peer) bool {
	return slices.ContainsFunc(peers, func(p control.Peer) bool {
		return p.Slot == s.assignment.Slot && p.Incarnation == s.assignment.Incarnation
	})
}

// flows tells whether this slot's source may make events: not before the version it joins is valid, nor
// behind the barrier of one that it isn't in.
func (s *slot) flows() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.joins && (s.leaves == 0 || s.cut != s.leaves)
}

// joining tells whether the slot is ours from a version to come on.
func (s *slot) joining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.joins
}

// cutFor notes the version whose barrier our stream was cut for.
func (s *slot) cutFor(version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = version
}

func (s *slot) tellPrepared(version uint64) {
	state := s.state()
	state.Version = version
	_ = s.hook.send(control.TypePrepared, state) // a hook that didn't get it tells us the version again
}

func meshVersion(h control.Holders) quicmesh.Version {
	return quicmesh.Version{Number: h.Version, Replicas: h.Replicas, Peers: meshPeers(h.Peers)}
}

func meshNext(h *control.Holders) *quicmesh.Version {
	if h == nil {
		return nil
	}
	v := meshVersion(*h)
	return &v
}
