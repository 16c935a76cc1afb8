package quicmesh

import (
	"slices"

	"github.com/weft-stream/weft/quicmesh/route"
)

// setVersions makes the links of the valid version and of the next, and ends the others. count is how
// many slots the edge leads to in the valid one.
func (e *outEdge) setVersions(count int, holders map[Slot]Peer, next *Version, successors map[Slot]Peer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.links
	e.links = nil
	now := routes{to: e.linksTo(before, count, holders, e.current), table: route.NewTable(max(count, 1))}
	var then *routes
	if next != nil {
		count = next.replicas(e.to, count)
		then = &routes{version: next.Number, table: route.NewTable(max(count, 1)),
			to: e.linksTo(before, count, successors, func(old []*outLink, p Peer) *outLink { return find(old, p) })}
	}
	if e.switched && then != nil && e.next.version == then.version {
		now = *then
	} else {
		e.release()
	}
	e.now, e.next = now, then
	for _, l := range before {
		if !slices.Contains(e.links, l) {
			l.retire()
		}
	}
	e.refresh()
	e.wake()
}

// linksTo gives the links to the peers at the slots of one version, old ones where there are. The caller
// holds mu.
func (e *outEdge) linksTo(old []*outLink, count int, peers map[Slot]Peer, pick func([]*outLink, Peer) *outLink) []*outLink {
	var out []*outLink
	for i := range count {
		if e.routing == route.Forward && i != e.mesh.cfg.Self.Index {
			continue
		}
		p, known := peers[Slot{e.to, i}]
		if !known {
			p = Peer{Index: i}
		}
		l := find(e.links, p) // of the version before
		if l == nil {
			l = pick(old, p)
		}
		if l == nil {
			l = e.newLink(i)
		}
		if !slices.Contains(e.links, l) {
			e.links = append(e.links, l)
		}
		l.setPeer(p)
		out = append(out, l)
	}
	return out
}

// current is the link of the valid version to the slot of p: the one to that very incarnation, else the
// one to the slot's last holder.
func (e *outEdge) current(old []*outLink, p Peer) *outLink {
	if l := find(old, p); l != nil {
		return l
	}
	for _, l := range e.now.to {
		if l.index == p.Index {
			return l
		}
	}
	return nil
}

// find gives the link to a slot's incarnation.
func find(links []*outLink, p Peer) *outLink {
	for _, l := range links {
		if l.index == p.Index && l.peer.Incarnation == p.Incarnation && p.Incarnation != 0 {
			return l
		}
	}
	return nil
}

// newLink makes a link, whose loop runs when the mesh is open. The caller holds mu, and mesh.mu unless
// the mesh is new.
func (e *outEdge) newLink(index int) *outLink {
	l := newOutLink(e, index)
	e.countLinks(1)
	if e.mesh.ctx != nil {
		l.launch()
	}
	if e.ended != 0 && e.ended == e.mesh.Attempt() {
		l.pushEnd()
	}
	return l
}

// switchTo lets events go as in the next version, if that is the one. What would go to another slot
// than before waits. The caller holds mu.
func (e *outEdge) switchTo(version uint64) {
	if version == 0 || e.next == nil || e.next.version != version || e.switched {
		return
	}
	before := e.now
	e.now, e.switched = *e.next, true
	for _, l := range e.now.to {
		l.held = !slices.Contains(before.to, l)
	}
	if e.routing == route.Key {
		e.moved = new([route.Groups]bool)
		for g := range e.moved {
			e.moved[g] = e.now.table[g] != before.table[g]
		}
	}
	e.refresh()
	e.wake()
}

// release lets go what waits for a version: it is valid, or was withdrawn. The caller holds mu.
func (e *outEdge) release() {
	e.switched, e.moved = false, nil
	for _, l := range e.links {
		l.held = false
	}
}
