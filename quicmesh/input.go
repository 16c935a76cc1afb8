package quicmesh

import (
	"fmt"
	"sync"

	"github.com/weft-stream/weft/quicmesh/route"
)

// unaligned is the number of an input that has no part in barriers and ends.
const unaligned = -1

// input is one slot on one edge that leads here.
type input struct {
	number     int // in the aligner; unaligned for one by which events come back
	from       Slot
	maxPayload int  // of the edge
	chosen     bool // among others, by how much is in flight
	// incarnation is that of an input of a version to come, the only one it takes; else 0.
	incarnation uint64

	mu   sync.Mutex
	link *inLink // of the newest incarnation; nil before
}

// input makes the edge's input from a slot.
func (e InEdge) input(number int, from Slot) *input {
	return &input{number: number, from: from, maxPayload: e.MaxPayload, chosen: e.Routing == route.Balance}
}

// linkOf is the link of an incarnation, which is the newest. Where an earlier life of the mesh has had it, it
// goes on. The caller holds mu.
func (m *Mesh) linkOf(in *input, key inputKey, incarnation uint64) (*inLink, error) {
	in.mu.Lock()
	l := in.link
	in.mu.Unlock()
	if l != nil && l.incarnation == incarnation {
		return l, nil
	}
	l = newInLink(m, in, key.edge, incarnation)
	if p := m.progress; p != nil {
		r := p.record(linkName(false, key.edge, key.index), incarnation, m.known[in.from])
		if r == nil {
			return nil, fmt.Errorf("there is no room for the progress of one more link, beside %d", len(p.records))
		}
		l.goOn(r)
		m.inbox.goOn(l, r)
	}
	in.mu.Lock()
	in.link = l
	in.mu.Unlock()
	return l, nil
}

// recall brings back what an earlier life of the mesh has had of an input, from a sender who may not come
// again: it has ended, perhaps. The caller holds mu.
func (m *Mesh) recall(in *input, key inputKey, incarnation uint64) {
	if p := m.progress; p != nil && p.find(linkName(false, key.edge, key.index), incarnation) != nil {
		_, _ = m.linkOf(in, key, incarnation) // there is a record
	}
}

// fence ends the link of an incarnation older than newest: nothing of it is taken any more.
func (in *input) fence(newest uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if l := in.link; l != nil && l.incarnation < newest && !l.fenced.Swap(true) {
		if s := l.current(); s != nil {
			s.end(in.why(newest))
		}
		l.leave()
	}
}

func (in *input) why(newest uint64) string {
	if newest == gone {
		return fmt.Sprintf("%v does not lead here any more", in.from)
	}
	return fmt.Sprintf("%v has incarnation %d by now", in.from, newest)
}

// gone is above every incarnation.
const gone = ^uint64(0)

// end ends the link of an input that is of no version any more.
func (in *input) end() { in.fence(gone) }
