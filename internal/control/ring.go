package control

import "github.com/weft-stream/weft/pipeline"

// Ring asks for memory that is shared with another slot of the pipeline, which this one has an edge to. The
// answer's descriptors are the memory and this end of a socket; see quicmesh/transport/shmring/RING.md.
type Ring struct {
	Namespace string `json:"namespace"`
	Pipeline  string `json:"pipeline"`
	From      Holder `json:"from"` // the caller
	To        Holder `json:"to"`
	Lane      int    `json:"lane"` // from 0, below the number of edges between the two
}

// RingReply answers it. With a Reason there is no ring between the two, and no descriptor; Later says that
// there may be one another time, which the hook tells if it can (TypeRoom).
type RingReply struct {
	Reason string `json:"reason,omitempty"`
	Later  bool   `json:"later,omitempty"`
}

// Arena asks for memory for payloads, which the caller alone will write; see quicmesh/arena.
type Arena struct {
	Namespace string `json:"namespace"`
	Pipeline  string `json:"pipeline"`
	Of        Holder `json:"of"` // the caller
	Size      int64  `json:"size"`
}

// ArenaReply answers it. With a Reason there is none now, and no descriptor.
type ArenaReply struct {
	Reason string `json:"reason,omitempty"`
}

// Offer brings the other end to whom it leads.
type Offer struct {
	Namespace string `json:"namespace"`
	Pipeline  string `json:"pipeline"`
	From      Holder `json:"from"`
	To        Holder `json:"to"`
}

// Holder is a slot in one incarnation.
type Holder struct {
	Slot        pipeline.Slot `json:"slot"`
	Incarnation uint64        `json:"incarnation,string"`
}
