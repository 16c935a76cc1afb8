// Package direct is a mesh in the process of a stage's function, so that an event goes from function to
// function with one wake: the function's proxy sets the links up, watches and takes them down, and sees no
// event that goes over shared memory. Function is the function's end of the socket between the two, and Turns
// what the function has to do; the proxy's end is actionproxy/worker. sdk/PROTOCOL.md has the chapter.
package direct

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// Version of what the two say: a function's acknowledgement and the line that asks it for the mesh carry it.
const Version = 1

// The types of messages.
const (
	// Proxy to function.
	TypeBegin    = "begin"    // Begin, first, with the Page's file, and that of quicmesh.Config.Progress
	TypeVersions = "versions" // Versions: see quicmesh.Mesh.SetVersions
	TypeRollback = "rollback" // Rollback
	TypeAccept   = "accept"   // no body: see quicmesh.Mesh.Accept
	TypeWant     = "want"     // Want: see Place.Want
	TypeLook     = "look"     // no body: see Place.Look
	TypeOffer    = "offer"    // transport.Identity of a peer, with the two descriptors of a ring's end
	TypeStream   = "stream"   // Stream that a peer has opened, with its socket
	TypeLinks    = "links"    // call, answered when all links are up
	TypeClose    = "close"    // call: Stats, at the end of all links

	// Function to proxy.
	TypeReady    = "ready"    // no body: the function has initialised
	TypeRing     = "ring"     // call: Ring → RingReply with two descriptors, unless it says why not
	TypeArena    = "arena"    // call: Arena → ArenaReply with a descriptor, unless it says why not
	TypeDial     = "dial"     // call: Dial → DialReply with a socket, unless it says why not
	TypeDead     = "dead"     // call with blob: a dead letter
	TypeStats    = "stats"    // Stats, once a second in which they change
	TypeLog      = "log"      // Text of the mesh's
	TypeUnlinked = "unlinked" // Text: why a link can never come up
	TypeFailed   = "failed"   // Text: why the function can't go on
)

// Begin is all that a function needs to hold the mesh of its slot.
type Begin struct {
	Self    transport.Identity `json:"self"`
	Attempt frame.Attempt      `json:"attempt"`
	Seed    uint64             `json:"seed"`
	Joins   bool               `json:"joins,omitempty"`
	Out     []OutEdge          `json:"out"`
	In      []quicmesh.InEdge  `json:"in"`
	Versions
	Edges    []outlet.Edge `json:"edges"`
	Fused    []Part        `json:"fused,omitempty"` // stages that are fused with Self's, in their order
	Answered bool          `json:"answered,omitempty"`
	// Retries are the deaths that one event may cause beyond the first; Deaths are those it has caused, by its id.
	Retries  int                 `json:"retries"`
	Progress int                 `json:"progress,omitempty"` // size of that file; 0: nothing outlives the process
	Deaths   map[string][]string `json:"deaths,omitempty"`
	Stage    json.RawMessage     `json:"stage"` // what the function is told: the payload of Start
}

// Part is one of the stages of a fused group.
type Part struct {
	Stage string        `json:"stage"`
	Edges []outlet.Edge `json:"edges"`
}

// OutEdge is a quicmesh.OutEdge with its wish for a carrier.
type OutEdge struct {
	ID       uint16           `json:"id"`
	To       string           `json:"to"`
	Routing  quicmesh.Routing `json:"routing"`
	Replicas int              `json:"replicas"`
	Return   bool             `json:"return,omitempty"`
	Wish     string           `json:"wish,omitempty"`
	// MaxPayload is the mesh's of an edge.
	MaxPayload int `json:"maxPayload"`
}

// Want is another wish of an edge.
type Want struct {
	Edge uint16 `json:"edge"`
	Wish string `json:"wish"`
}

// Versions are an assignment that is valid, and the next one.
type Versions struct {
	Now  quicmesh.Version  `json:"now"`
	Next *quicmesh.Version `json:"next,omitempty"`
}

// Rollback begins an attempt.
type Rollback struct {
	Attempt frame.Attempt `json:"attempt"`
}

// Ring asks for memory to share with a peer; see shmring.Broker.
type Ring struct {
	Peer transport.Identity `json:"peer"`
	Lane int                `json:"lane"`
}

// RingReply answers it. Reason is why the two have none.
type RingReply struct {
	Reason string `json:"reason,omitempty"`
	Later  bool   `json:"later,omitempty"` // see transport.NotNear
}

// Arena asks for memory of so many bytes to write payloads in; see quicmesh.Config.
type Arena struct {
	Size int `json:"size"`
}

// ArenaReply answers it. Reason is why there is none.
type ArenaReply struct {
	Reason string `json:"reason,omitempty"`
}

// Dial asks for a stream to a peer that an edge leads to; see transport.Dialer. The proxy knows its address.
type Dial struct {
	Peer transport.Identity `json:"peer"`
}

// DialReply answers it. Without Error a socket comes with it, that carries the stream's bytes.
type DialReply struct {
	Carrier string `json:"carrier,omitempty"`
	Error   string `json:"error,omitempty"`
	Refused bool   `json:"refused,omitempty"` // transport.ErrRefused
}

// Stream is one that a peer has opened.
type Stream struct {
	Peer    transport.Identity `json:"peer"`
	Carrier string             `json:"carrier"`
}

// Text is what is told in words.
type Text struct {
	Text string `json:"text"`
}

// Stats are what the links of this process have done. Events are counted in the Page.
type Stats struct {
	Links []Link `json:"links,omitempty"`
}

// Link is a link's counters; Hops are the histogram's counts by bucket.
type Link struct {
	quicmesh.LinkStats
	Hops map[int]uint64 `json:"hops,omitempty"`
}

// linksOf makes them of a mesh's.
func linksOf(s quicmesh.Stats) []Link {
	out := make([]Link, len(s.Links))
	for i, l := range s.Links {
		out[i] = Link{LinkStats: l}
		for b, n := range l.Hops.Counts {
			if n > 0 {
				if out[i].Hops == nil {
					out[i].Hops = map[int]uint64{}
				}
				out[i].Hops[b] = n
			}
		}
	}
	return out
}

// Bounded is l with no more than a link can have, when a function has said it.
func (l Link) Bounded() Link {
	l.Reason, l.Carrier = fmt.Sprintf("%.500s", l.Reason), fmt.Sprintf("%.500s", l.Carrier)
	maps.DeleteFunc(l.Hops, func(b int, _ uint64) bool { return b < 0 || b >= len(l.LinkStats.Hops.Counts) })
	return l
}

// Add adds what the same link has counted in an earlier process.
func (l Link) Add(old Link) Link {
	l.Events += old.Events
	l.Bytes += old.Bytes
	l.Resent += old.Resent
	l.Referred += old.Referred
	l.Sessions += old.Sessions
	l.NoCredit += old.NoCredit
	l.Duplicates += old.Duplicates
	l.Stale += old.Stale
	hops := maps.Clone(old.Hops)
	for b, n := range l.Hops {
		if hops == nil {
			hops = map[int]uint64{}
		}
		hops[b] += n
	}
	l.Hops = hops
	return l
}

// Mesh gives a link's counters as the mesh has them.
func (l Link) Mesh() quicmesh.LinkStats {
	out := l.LinkStats
	for b, n := range l.Hops { // Bounded, or linksOf's
		out.Hops.Counts[b] = n
	}
	return out
}
