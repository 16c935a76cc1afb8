package quicmesh

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/weft-stream/weft/quicmesh/barrier"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// Config.Progress is a head and a table of records, of progressLine bytes each, so that no two share a cache
// line. All words are little-endian on every machine this runs on, and stored by one process at a time.
const (
	progressLine  = 128
	progressMagic = 0x31656e6f64666577 // "wefdone1"
)

// ProgressSize is how many bytes Config.Progress has for so many links, in and out. Those to two holders of
// one slot, while a version changes, are two.
func ProgressSize(links int) int { return progressLine * (1 + links) }

// progressHead is the first line.
type progressHead struct {
	magic    atomic.Uint64
	life     atomic.Uint64 // meshes made of this memory so far
	attempt  atomic.Uint64 // that barriers and ends are of
	passed   atomic.Uint64 // number of the last barrier passed on in it
	switched atomic.Uint64 // version of the last one that had one
	_        [progressLine - 5*8]byte
}

// record is one link's line.
type record struct {
	link        atomic.Uint64 // which one, and that it is one; 0: the record is free
	incarnation atomic.Uint64 // of the peer
	// upTo is the number up to which an incoming link's frames are done, or an outgoing one's are written.
	upTo     atomic.Uint64
	end      atomic.Uint64 // number of the frame by which the input ended; 0: it hasn't
	barriers [4]barrierRecord
}

// barrierRecord is a barrier that an input has brought.
type barrierRecord struct {
	seq     atomic.Uint64 // of its frame; 0: there is none
	number  atomic.Uint64
	version atomic.Uint64
}

// free tells whether the record may be used for another barrier.
func (b *barrierRecord) free(passed uint64) bool {
	return b.seq.Load() == 0 || b.number.Load() <= passed
}

// linkName is record.link for a link.
func linkName(out bool, edge uint16, index int) uint64 {
	name := 1<<63 | uint64(edge)<<32 | uint64(uint32(index))
	if out {
		name |= 1 << 62
	}
	return name
}

// progress is what outlives the mesh, and when it moves: see Config.Progress and rounds.go.
type progress struct {
	mesh    *Mesh
	head    *progressHead
	records []record
	life    uint64
	left    atomic.Int32 // links that have to write before the round is complete, and 1 while it begins
	behind  atomic.Int32 // links whose logs have frames that are not written

	mu       sync.Mutex // before inLink.mu
	attempt  frame.Attempt
	running  bool      // a round is under way, or the mesh not open yet
	closed   bool      // nothing is stored any more
	fresh    []*inLink // have frames that are done, and in no round yet
	round    []*inLink // of the round under way
	passed   barrier.Mark
	roundHas barrier.Mark // passed when the round began
}

// openProgress takes the memory of this mesh's earlier lives.
func openProgress(m *Mesh, b []byte) (*progress, error) {
	p := &progress{mesh: m, attempt: m.cfg.Attempt, running: true}
	if !p.lay(b) {
		return nil, fmt.Errorf("quicmesh: config: %d bytes of progress; make them of ProgressSize, aligned to 8", len(b))
	}
	switch p.head.magic.Load() {
	case 0:
		p.head.magic.Store(progressMagic)
	case progressMagic:
	default:
		return nil, errors.New("quicmesh: config: the progress is of something else")
	}
	p.life = p.head.life.Add(1)
	if p.head.attempt.Load() != uint64(p.attempt) {
		p.forget()
	}
	return p, nil
}

// lay puts the lines onto the memory, if they fit.
func (p *progress) lay(b []byte) bool {
	lines, first := len(b)/progressLine, unsafe.Pointer(unsafe.SliceData(b))
	if lines < 2 || uintptr(first)%8 != 0 {
		return false
	}
	p.head = (*progressHead)(first)
	p.records = unsafe.Slice((*record)(unsafe.Add(first, progressLine)), lines-1)
	return true
}

// forget drops the barriers and ends of the attempt before. The caller holds mu, or is the only one.
func (p *progress) forget() {
	for i := range p.records {
		r := &p.records[i]
		r.end.Store(0)
		for j := range r.barriers {
			r.barriers[j].seq.Store(0)
		}
	}
	p.head.passed.Store(0)
	p.passed, p.roundHas = barrier.Mark{}, barrier.Mark{}
	p.head.attempt.Store(uint64(p.attempt))
}

// rollback begins attempt a.
func (p *progress) rollback(a frame.Attempt) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.attempt = a
		p.forget()
	}
}

// find gives the record of a link, nil if it has none.
func (p *progress) find(name, incarnation uint64) *record {
	for i := range p.records {
		if r := &p.records[i]; r.link.Load() == name && r.incarnation.Load() == incarnation {
			return r
		}
	}
	return nil
}

// record gives a link its record, that of an earlier life if there is one; nil if all are in use. Those of
// incarnations before newest are free: the slot has another holder.
func (p *progress) record(name, incarnation, newest uint64) *record {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.find(name, incarnation); r != nil {
		return r
	}
	var spare *record
	for i := range p.records {
		r := &p.records[i]
		if r.link.Load() == name && r.incarnation.Load() < newest {
			r.link.Store(0)
		}
		if spare == nil && r.link.Load() == 0 {
			spare = r
		}
	}
	if spare == nil {
		return nil
	}
	spare.upTo.Store(0)
	spare.end.Store(0)
	for i := range spare.barriers {
		spare.barriers[i].seq.Store(0)
	}
	spare.incarnation.Store(incarnation)
	spare.link.Store(name)
	return spare
}

// release frees the record of a link that is no more.
func (p *progress) release(r *record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		r.link.Store(0)
	}
}

// brought notes a barrier that an input has brought in the frame with number seq, perhaps once more. Where more
// wait than there is room for, it takes the place of the oldest that makes no version valid: in another life,
// that one counts as overtaken.
func (r *record) brought(seq uint64, m barrier.Mark, passed uint64) {
	at := &r.barriers[0]
	for i := range r.barriers {
		if b := &r.barriers[i]; b.better(at, m, passed) {
			at = b
		}
	}
	at.seq.Store(0)
	at.number.Store(m.Number)
	at.version.Store(m.Version)
	at.seq.Store(seq)
}

// better tells whether b is a better place for a barrier than other.
func (b *barrierRecord) better(other *barrierRecord, m barrier.Mark, passed uint64) bool {
	rank := func(b *barrierRecord) int {
		switch {
		case b.seq.Load() != 0 && b.number.Load() == m.Number:
			return 0
		case b.free(passed):
			return 1
		case b.version.Load() == 0:
			return 2
		}
		return 3
	}
	if x, y := rank(b), rank(other); x != y {
		return x < y
	}
	return b.number.Load() < other.number.Load()
}

// waiting lists the barriers that the input had brought and that were not passed on, ascending, as far as
// everything before them is done.
func (r *record) waiting(passed uint64) (out []barrier.Mark) {
	upTo := r.upTo.Load()
	for i := range r.barriers {
		if b := &r.barriers[i]; !b.free(passed) && b.seq.Load() <= upTo {
			out = append(out, barrier.Mark{Number: b.number.Load(), Version: b.version.Load()})
		}
	}
	slices.SortFunc(out, func(a, b barrier.Mark) int { return cmp.Compare(a.Number, b.Number) })
	return out
}
