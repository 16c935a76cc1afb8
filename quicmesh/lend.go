package quicmesh

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/replay"
)

const (
	// ReferFrom is the payload, in bytes, from which on a reference is cheaper than copies: by BenchmarkRefer the two
	// meet between 4 and 8 KiB, at 64 KiB a reference takes less than half of the time, at 1 MiB a tenth.
	ReferFrom = 16 << 10
	// maxReferred bounds the payloads of one link that its receiver reads in place; further ones are copied. A
	// welcome lists them.
	maxReferred = 128
)

// Alloc gives memory for a payload of n bytes, to be filled, sent any number of times, and released. After the first
// Send it must not change any more. Receivers that share memory with this slot read it in place; for others, below
// ReferFrom, and when there is no such memory, it is copied like any other.
func (m *Mesh) Alloc(ctx context.Context, n int) *arena.Region {
	if m.arena != nil && n >= ReferFrom {
		if r, err := m.arena.Alloc(ctx, n); err == nil {
			return r
		}
	}
	return arena.Plain(n)
}

// Memory is what Alloc's regions take.
func (m *Mesh) Memory() arena.Use {
	if m.arena == nil {
		return arena.Use{}
	}
	return m.arena.Use()
}

// lendAll has the writers of all links lend what there is.
func (m *Mesh) lendAll() {
	for _, e := range m.out {
		e.mu.Lock()
		for _, l := range e.links {
			signal(l.wake)
		}
		e.mu.Unlock()
	}
}

// find gives the region that a payload lies in, held, when it is worth a reference; else nil.
func (m *Mesh) find(payload []byte) *arena.Region {
	if m.arena == nil || len(payload) < ReferFrom {
		return nil
	}
	return m.arena.Find(payload)
}

// referred is a payload that the receiver may be reading, held until it says that it isn't.
type referred struct {
	seq    uint64
	region *arena.Region
}

// lend gives the peer the memory that it has not got yet. It is the writer's.
func (l *outLink) lend(s *session) {
	a := l.edge.mesh.arena
	if a == nil || s.lender == nil || a.Count() == s.lent {
		return
	}
	for _, f := range a.Files()[s.lent:] {
		l.edge.mu.Lock()
		s.lent++ // before the peer can answer
		l.edge.mu.Unlock()
		if err := s.lender.Lend(f.Number, f.File); err != nil {
			s.lender = nil // payloads are copied
			l.edge.mesh.cfg.Log("no memory lent", "edge", l.edge.id, "to", Slot{l.edge.to, l.index}.String(), "reason", err.Error())
			return
		}
	}
}

// refer has b refer to its payload, if the peer can read that where it lies. The caller holds edge.mu.
func (l *outLink) refer(s *session, b *replay.Batch) {
	region := b.Memory.(*arena.Region)
	x, ok := l.reference(s, region, b.Payload)
	if !ok {
		return
	}
	region.Retain()
	l.referred = append(l.referred, referred{b.Last, region})
	l.stats.referred++
	var to [arena.ReferenceSize]byte
	l.scratch = frame.AppendReferring(l.scratch[:0], b.Bytes, x.Append(to[:0]))
	b.Bytes, b.Payload = l.scratch, nil
}

// reference to a payload in a region; false when the peer can't read that where it lies. The caller holds edge.mu.
func (l *outLink) reference(s *session, region *arena.Region, payload []byte) (arena.Reference, bool) {
	x := region.Refer(payload)
	return x, s.mapped[x.File] && len(l.referred) < maxReferred
}

// taken is a word of the receiver's about memory that was lent to it. The caller holds edge.mu.
func (l *outLink) taken(s *session, f *frame.Frame) error {
	if f.Type == frame.Mapped {
		if f.Seq >= uint64(s.lent) {
			return fmt.Errorf("%w: it has mapped memory %d, of %d", errFrame, f.Seq, s.lent)
		}
		s.mapped[f.Seq] = true
		return nil
	}
	b := f.Payload
	for ; len(b) >= 8; b = b[8:] {
		seq := binary.LittleEndian.Uint64(b)
		if seq > l.log.Handed() {
			return fmt.Errorf("%w: it releases number %d, which was not sent", errFrame, seq)
		}
		l.settle(func(r uint64) bool { return r != seq })
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: a release of %d bytes", errFrame, len(f.Payload))
	}
	return nil
}

// settle releases the payloads that the receiver does not hold. The caller holds edge.mu.
func (l *outLink) settle(holds func(seq uint64) bool) {
	l.referred = slices.DeleteFunc(l.referred, func(r referred) bool {
		if holds(r.seq) {
			return false
		}
		r.region.Release()
		return true
	})
}

// inherit notes the payloads of an earlier life that the receiver still reads, in memory that is no more ours. The
// caller holds edge.mu.
func (l *outLink) inherit(hail hail) {
	for _, seq := range hail.Held {
		if seq <= hail.Received && len(l.referred) < maxReferred {
			l.referred = append(l.referred, referred{seq, arena.Plain(0)})
		}
	}
}

// forget drops what is kept for a peer that is gone for good. The caller holds edge.mu.
func (l *outLink) forget() {
	l.log.Reset()
	l.settle(func(uint64) bool { return false })
}
