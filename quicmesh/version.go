package quicmesh

// Version is an assignment: how many slots the stages have, and who holds them.
type Version struct {
	Number   uint64
	Replicas map[string]int // by stage; one that is missing has as many as before
	Peers    []Peer
}

// bySlot has the peers by their slots.
func (v *Version) bySlot() map[Slot]Peer {
	out := map[Slot]Peer{}
	if v != nil {
		for _, p := range v.Peers {
			out[p.Slot()] = p
		}
	}
	return out
}

// replicas is how many slots a stage has, which had n before.
func (v *Version) replicas(stage string, n int) int {
	if v != nil {
		if r, ok := v.Replicas[stage]; ok {
			return r
		}
	}
	return n
}

// SetPeers tells who holds which slot of the version that is valid, and that there is no next one.
func (m *Mesh) SetPeers(peers []Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setVersions(&Version{Number: m.version, Peers: peers}, nil)
}

// SetVersions tells the assignment that is valid, and the next one, nil for none; it replaces what was
// told before. A link whose peer has a new incarnation begins anew and drops the frames kept for the
// old one; a new address moves the link; a peer that is no longer told of is no longer dialled.
//
// With a next version, links to its slots are made and its slots are let in, beside those that hold the
// same slots now. Events go on as before until SwitchOf, on each edge from behind that barrier as in the
// next version. What then goes to another slot than before waits until the version is told to be the
// valid one, which is when its barrier is complete everywhere: so no event overtakes one that was sent
// before it on the same edge by another way. A next version that is not told any more is withdrawn.
func (m *Mesh) SetVersions(now Version, next *Version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setVersions(&now, next)
}

// setVersions is SetVersions. The caller holds mu.
func (m *Mesh) setVersions(now, next *Version) {
	if m.closed {
		return
	}
	m.version = now.Number
	for stage := range m.counts {
		m.counts[stage] = now.replicas(stage, m.counts[stage])
	}
	holders, successors := now.bySlot(), next.bySlot()
	if holders[Slot{m.cfg.Self.Stage, m.cfg.Self.Index}].Incarnation == m.cfg.Self.Incarnation {
		m.joins.Store(false)
	}
	for slot, p := range holders {
		m.known[slot] = max(m.known[slot], p.Incarnation)
	}
	for _, e := range m.cfg.In {
		m.setInputs(e, holders)
		m.setJoining(e, holders, successors)
	}
	for _, e := range m.out {
		e.setVersions(m.counts[e.to], holders, next, successors)
	}
	if p := m.progress; p != nil && next != nil && next.Number == p.head.switched.Load() {
		m.goOnSwitched(next.Number)
	}
}

// goOnSwitched repeats what an earlier life has done at the barrier that makes a version valid: it was passed
// on, so that all inputs of that version have brought it. The caller holds mu.
func (m *Mesh) goOnSwitched(version uint64) {
	for _, in := range m.joining {
		m.inbox.settle(in.number)
	}
	for _, e := range m.out {
		e.mu.Lock()
		e.switchTo(version)
		e.mu.Unlock()
	}
}

// setInputs makes and removes the inputs of an edge in the valid version. The caller holds mu.
func (m *Mesh) setInputs(e InEdge, holders map[Slot]Peer) {
	for i := range m.counts[e.From] {
		if !e.leadsTo(i, m.cfg.Self.Index) {
			continue
		}
		key, slot := inputKey{e.ID, i}, Slot{e.From, i}
		in := m.in[key]
		if j := m.joining[key]; j != nil && j.incarnation == holders[slot].Incarnation {
			delete(m.joining, key)
			if in != nil {
				m.dropInput(in)
			}
			in, j.incarnation = j, 0
			m.inbox.settle(in.number)
		} else if in == nil {
			in = e.input(m.number(e), slot)
			m.inbox.settle(in.number)
		}
		m.in[key] = in
		in.fence(m.known[slot])
		m.recall(in, key, m.known[slot])
	}
	for key, in := range m.in {
		if key.edge == e.ID && key.index >= m.counts[e.From] {
			delete(m.in, key)
			m.dropInput(in)
		}
	}
}

// setJoining makes and removes an edge's inputs of the next version. The caller holds mu.
func (m *Mesh) setJoining(e InEdge, holders, successors map[Slot]Peer) {
	joins := func(i int) uint64 { // the incarnation that joins as slot i; 0 for none
		slot := Slot{e.From, i}
		p := successors[slot]
		if p.Incarnation == holders[slot].Incarnation || !e.leadsTo(i, m.cfg.Self.Index) {
			return 0
		}
		return p.Incarnation
	}
	for key, in := range m.joining {
		if key.edge == e.ID && in.incarnation != joins(key.index) {
			delete(m.joining, key)
			m.dropInput(in)
		}
	}
	for slot := range successors {
		key := inputKey{e.ID, slot.Index}
		if slot.Stage != e.From || m.joining[key] != nil {
			continue
		}
		if incarnation := joins(slot.Index); incarnation != 0 {
			in := e.input(m.number(e), slot)
			in.incarnation = incarnation
			m.joining[key] = in
			m.recall(in, key, incarnation)
		}
	}
}

// number makes room in the alignment for an input of an edge that has a part in it.
func (m *Mesh) number(e InEdge) int {
	if e.Return {
		return unaligned
	}
	return m.inbox.join()
}

// dropInput ends an input of no version. What it has brought to the inbox stays.
func (m *Mesh) dropInput(in *input) {
	in.end()
	m.inbox.leave(in.number)
}
