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

// The page's layout: a word, the counters of the stage and of those that are fused with it, then two places for an
// event in turn: the lengths of its id and trace, and these.
const (
	// offState is the word: twice the events finished, and 1 more while the function has one, whose place was written
	// before.
	offState  = 0
	offInner  = 8 // of the events that state counts, those of stages behind the first
	offCounts = 64
	offPlaces = 8192
	placeSize = (PageSize - offPlaces) / 2
	offText   = 4 // in a place

	// MostStages bounds the stages whose events are counted in it.
	MostStages = (offPlaces - offCounts) / int(unsafe.Sizeof(outlet.Counts{}))
	// MostID bounds the part of an id that is noted, in bytes.
	MostID = 3072
)

// Page is memory that a function and its proxy share: the function notes the event in work, where the proxy
// finds it after the function's death, and counts events. What the function writes there is a hint: whoever reads it checks.
type Page struct {
	memory *shm.Memory
	state  *atomic.Uint64
	inner  *atomic.Uint64
	now    uint64 // state, as the function has left it
	b      []byte
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
	state := m.Word64(offState)
	return &Page{memory: m, state: state, inner: m.Word64(offInner), now: state.Load(), b: m.Bytes()}, nil
}

// Counts are the counters of a stage: 0 is the first, further ones are fused with it. They go on over the function's
// lives.
func (p *Page) Counts(stage int) *outlet.Counts {
	_ = p.memory.Word64(offCounts) // aligned
	return &unsafe.Slice((*outlet.Counts)(unsafe.Pointer(&p.b[offCounts])), MostStages)[stage]
}

// Close unmaps the page.
func (p *Page) Close() error { return p.memory.Close() }

// place is that of an event by its number.
func (p *Page) place(number uint64) []byte {
	at := offPlaces + int(number&1)*placeSize
	return p.b[at : at+placeSize : at+placeSize]
}

// begin notes the event that the function gets. While it has one, that is one of a stage behind the first; then
// the one before counts as finished.
func (p *Page) begin(f *frame.Frame) {
	id, trace := noted(f.ID), outlet.TraceOf(f)
	if p.now&1 != 0 {
		p.now++ // state follows in one step: there is always an event in work
		p.inner.Store(p.inner.Load() + 1)
	}
	b := p.place(p.now / 2)
	binary.LittleEndian.PutUint16(b, uint16(len(id)))
	binary.LittleEndian.PutUint16(b[2:], uint16(len(trace)))
	copy(b[offText+copy(b[offText:], id):], trace)
	p.now++
	p.state.Store(p.now)
}

// end notes that the function has finished it.
func (p *Page) end() {
	p.now++
	p.state.Store(p.now)
}

// noted is the part of an id that is.
func noted(id []byte) []byte { return id[:min(len(id), MostID)] }

// Done is the number of events finished, in all lives of the function: those of stages behind the first, too.
func (p *Page) Done() uint64 { return p.state.Load() / 2 }

// Through is the number of events that all stages have finished.
func (p *Page) Through() uint64 { return p.Done() - p.inner.Load() }

// Working tells whether the function has an event.
func (p *Page) Working() bool { return p.state.Load()%2 != 0 }

// Forget notes that nobody has the event any more, after the function's death.
func (p *Page) Forget() { p.state.Store(p.state.Load() &^ 1) }

// ID is what names the event that the function has or had last.
func (p *Page) ID() string { id, _ := p.event(); return id }

// Trace is what readers of logs know that event by.
func (p *Page) Trace() string { _, trace := p.event(); return trace }

// event reads a copy. One that changes all the time is read as it is in the end.
func (p *Page) event() (id, trace string) {
	var text []byte // copied at once, and looked at when it is known to be whole: who writes is fast
	n := 0
	for range 100 {
		before := p.state.Load()
		b := p.place((before - 1) / 2) // the one in work, or the last one
		n = min(int(binary.LittleEndian.Uint16(b)), MostID)
		m := min(int(binary.LittleEndian.Uint16(b[2:])), placeSize-offText-n)
		text = append(text[:0], b[offText:offText+n+m]...)
		if p.state.Load()-before < 2 { // the next one has the other place
			break
		}
	}
	return string(text[:n]), string(text[n:])
}
