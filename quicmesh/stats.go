package quicmesh

import (
	"cmp"
	"slices"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// Stats is what the links have done since they began, outgoing ones first, by edge and slot.
type Stats struct {
	Attempt string      `json:"attempt"`
	Links   []LinkStats `json:"links"`
}

// LinkStats of one link. A link begins anew with its peer's incarnation; the counters of the sending
// side go on.
type LinkStats struct {
	Edge uint16 `json:"edge"`
	Out  bool   `json:"out"` // events go from here to Peer; else they come
	Peer Slot   `json:"peer"`
	// Incarnation of the peer, 0 when unknown.
	Incarnation uint64 `json:"incarnation"`
	Up          bool   `json:"up"`
	Reason      string `json:"reason,omitempty"` // why it is not, as far as known

	Events   uint64 `json:"events"`             // sent, or received; resent ones count once
	Bytes    uint64 `json:"bytes"`              // of these, with headers
	InFlight uint64 `json:"inFlight"`           // bytes not known to be released by the receiver
	Referred uint64 `json:"referred,omitempty"` // events whose payload the receiver reads where the sender wrote it

	// Senders only. Carrier is what the link goes over while it is up; see transport.Carrier.
	Carrier  string        `json:"carrier,omitempty"`
	Kept     uint64        `json:"kept,omitempty"`     // bytes not acknowledged
	Resent   uint64        `json:"resent,omitempty"`   // frames, after connections were lost
	Sessions uint64        `json:"sessions,omitempty"` // connections so far
	NoCredit time.Duration `json:"noCredit,omitempty"` // sends have waited so long
	RTT      time.Duration `json:"rtt,omitempty"`      // to the peer and back, where the carrier knows

	// Receivers only.
	Duplicates uint64    `json:"duplicates,omitempty"` // frames dropped: resent, but here already
	Stale      uint64    `json:"stale,omitempty"`      // frames dropped: of an older attempt
	Hops       Histogram `json:"-"`                    // from Send there to Receive here
	P50        int64     `json:"p50,omitempty"`        // of Hops, microseconds
	P99        int64     `json:"p99,omitempty"`
}

// inStats are a receiving link's counters.
type inStats struct {
	events, bytes, duplicates, stale, referred uint64
	hops                                       Histogram
}

// Stats of all links now.
func (m *Mesh) Stats() Stats {
	s := Stats{Attempt: m.Attempt().String()}
	for _, e := range m.out {
		s.Links = e.appendStats(s.Links)
	}
	outgoing := len(s.Links)
	for key, inputs := range m.inputs() {
		for _, in := range inputs {
			s.Links = append(s.Links, m.inputStats(key, in))
		}
	}
	slices.SortFunc(s.Links[outgoing:], func(a, b LinkStats) int {
		return cmp.Or(cmp.Compare(a.Edge, b.Edge), cmp.Compare(a.Peer.Index, b.Peer.Index))
	})
	return s
}

// inputs lists those of all versions.
func (m *Mesh) inputs() map[inputKey][]*input {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[inputKey][]*input, len(m.in))
	for _, of := range []map[inputKey]*input{m.in, m.joining} {
		for key, in := range of {
			out[key] = append(out[key], in)
		}
	}
	return out
}

func (e *outEdge) appendStats(links []LinkStats) []LinkStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.links {
		s := LinkStats{
			Edge:        e.id,
			Out:         true,
			Peer:        Slot{e.to, l.index},
			Incarnation: l.peer.Incarnation,
			Up:          l.session != nil,
			Reason:      l.stats.reason,
			Events:      l.stats.events,
			Bytes:       l.stats.bytes,
			InFlight:    l.flow.InFlight(),
			Referred:    l.stats.referred,
			Kept:        uint64(l.log.Kept()),
			Resent:      l.stats.resent,
			Sessions:    l.stats.sessions,
			NoCredit:    l.blocked.total,
		}
		if l.session != nil {
			s.Carrier, s.RTT = l.session.carrier(), transport.RTTOf(l.session.stream)
		}
		if l.blocked.waiters > 0 {
			s.NoCredit += e.mesh.cfg.Now().Sub(l.blocked.since)
		}
		if l.peer.Addr == "" {
			s.Reason = "nobody is known to hold the slot"
		}
		links = append(links, s)
	}
	return links
}

func (m *Mesh) inputStats(key inputKey, in *input) LinkStats {
	s := LinkStats{Edge: key.edge, Peer: in.from}
	in.mu.Lock()
	l := in.link
	in.mu.Unlock()
	if l == nil {
		return s
	}
	m.inbox.mu.Lock()
	s.Events, s.Bytes, s.Duplicates, s.Stale = l.stats.events, l.stats.bytes, l.stats.duplicates, l.stats.stale
	s.Hops, s.Referred = l.stats.hops, l.stats.referred
	m.inbox.mu.Unlock()
	l.mu.Lock()
	s.Incarnation, s.Up, s.InFlight = l.incarnation, l.up, l.flow.InFlight()
	if l.broken != nil {
		s.Reason = l.broken.Error()
	}
	l.mu.Unlock()
	s.P50, s.P99 = s.Hops.Quantile(0.5), s.Hops.Quantile(0.99)
	return s
}
