package direct

import (
	"encoding/binary"
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// PageSize is a Page's, in bytes.
const PageSize = 16384

// The page's layout: words, the counters of the stage and of those that are fused with it, then the event's id and
// trace behind their lengths.
const (
	offVersion = 0  // grows before and after each change: odd during one
	offDone    = 8  // events finished in all
	offWork    = 16 // 1: the function has the event
	offLengths = 24 // of id and trace, 2 bytes each
	offCounts  = 64
	offText    = 8192

	// MostStages bounds the stages whose events are counted in it.
	MostStages = (offText - offCounts) / int(unsafe.Sizeof(outlet.Counts{}))

	// MostID bounds the part of an id that is noted, in bytes.
	MostID = 4096
)

// Page is memory that a function and its proxy share: the function notes the event in work, where the proxy
// finds it after the function's death, and counts events. What the function writes there is a hint: whoever reads it checks.
type Page struct {
	memory              *shm.Memory
	version, done, work *atomic.Uint64
	b                   []byte
}

// NewPage makes a page, and the file to hand over, which is the caller's to close.
func NewPage() (*Page, *os.File, error) {
	f, err := shm.Create("weft-work", PageSize)
	if err != nil {
		return nil, nil, err
	}
	p, err := openPage(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return p, f, nil
}

// openPage maps a page; the file stays the caller's.
func openPage(f *os.File) (*Page, error) {
	m, err := shm.Map(f, PageSize)
	if err != nil {
		return nil, err
	}
	return &Page{m, m.Word64(offVersion), m.Word64(offDone), m.Word64(offWork), m.Bytes()}, nil
}

// Counts are the counters of a stage: 0 is the first, further ones are fused with it. They go on over the function's
// lives.
func (p *Page) Counts(stage int) *outlet.Counts {
	_ = p.memory.Word64(offCounts) // aligned
	return &unsafe.Slice((*outlet.Counts)(unsafe.Pointer(&p.b[offCounts])), MostStages)[stage]
}

// Close unmaps the page.
func (p *Page) Close() error { return p.memory.Close() }

// begin notes the event that the function gets.
func (p *Page) begin(f *frame.Frame) {
	id, trace := noted(f.ID), outlet.TraceOf(f)
	p.version.Add(1)
	binary.LittleEndian.PutUint16(p.b[offLengths:], uint16(len(id)))
	binary.LittleEndian.PutUint16(p.b[offLengths+2:], uint16(len(trace)))
	copy(p.b[offText+copy(p.b[offText:], id):], trace)
	p.work.Store(1)
	p.version.Add(1)
}

// end notes that the function has finished it.
func (p *Page) end() {
	p.work.Store(0)
	p.done.Add(1)
}

// noted is the part of an id that is.
func noted(id []byte) []byte { return id[:min(len(id), MostID)] }

// Done is the number of events finished, in all lives of the function.
func (p *Page) Done() uint64 { return p.done.Load() }

// Working tells whether the function has an event.
func (p *Page) Working() bool { return p.work.Load() != 0 }

// Forget notes that nobody has the event any more.
func (p *Page) Forget() { p.work.Store(0) }

// ID is what names the event that the function has or had last.
func (p *Page) ID() string { id, _ := p.event(); return id }

// Trace is what readers of logs know that event by.
func (p *Page) Trace() string { _, trace := p.event(); return trace }

// event reads a copy. One that changes all the time is read as it is in the end.
func (p *Page) event() (id, trace string) {
	for range 10 {
		before := p.version.Load()
		var lengths [4]byte
		copy(lengths[:], p.b[offLengths:])
		n := min(int(binary.LittleEndian.Uint16(lengths[:])), MostID)
		m := min(int(binary.LittleEndian.Uint16(lengths[2:])), PageSize-offText-n)
		id, trace = string(p.b[offText:offText+n]), string(p.b[offText+n:offText+n+m])
		if before%2 == 0 && p.version.Load() == before {
			break
		}
	}
	return id, trace
}
