package quicmesh

import (
	"fmt"
	"sync"
)

// unaligned is the number of an input that has no part in barriers and ends.
const unaligned = -1

// input is one slot on one edge that leads here.
type input struct {
	number int // in the aligner; unaligned for one by which events come back
	from   Slot
	// incarnation is that of an input of a version to come, the only one it takes; else 0.
	incarnation uint64

	mu   sync.Mutex
	link *inLink // of the newest incarnation; nil before
}

// linkOf is the link of an incarnation, which is the newest.
func (in *input) linkOf(m *Mesh, edge uint16, incarnation uint64) *inLink {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.link == nil || in.link.incarnation != incarnation {
		in.link = newInLink(m, in, edge, incarnation)
	}
	return in.link
}

// fence ends the link of an incarnation older than newest: nothing of it is taken any more.
func (in *input) fence(newest uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if l := in.link; l != nil && l.incarnation < newest && !l.fenced.Swap(true) {
		if s := l.current(); s != nil {
			s.end(in.why(newest))
		}
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
