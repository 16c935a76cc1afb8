package shmring

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/weft-stream/weft/internal/shm"
)

// The memory's layout; RING.md says the same.
const (
	version = 3

	offMagic   = 0
	offVersion = 8
	offForth   = 12 // capacity towards the acceptor
	offBack    = 16 // capacity towards the dialler

	lines    = 256 // where the words of the first ring begin
	line     = 128 // from one word to the next: two cache lines, since processors fetch them in pairs
	ringSize = 4 * line

	offHead        = 0 * line
	offTail        = 1 * line
	offReaderSleep = 2 * line
	offWriterSleep = 3 * line

	dataAt = 4096

	// forthSize holds a link's whole window (1 MiB), and backSize any number of acknowledgements, which
	// repeat what earlier ones said. Powers of two.
	forthSize = 1 << 20
	backSize  = 64 << 10

	// Size of a ring's memory in bytes.
	Size = dataAt + forthSize + backSize
)

const magic = "weftring"

const (
	// publishMost is how much is copied before the reader is shown it: both ends copy at once.
	publishMost = 128 << 10
	// calmWakes are wakes for nothing that are borne before each costs the reader a pause.
	calmWakes = 8
)

// words are one ring's, in the shared memory.
type words struct {
	head        *atomic.Uint64 // bytes written since the beginning; the writer's
	tail        *atomic.Uint64 // bytes read; the reader's
	readerSleep *atomic.Uint32 // onBell, onWord: the reader sleeps
	writerSleep *atomic.Uint32 // onBell: the writer sleeps
	data        []byte         // a power of two
	bell        func()         // wakes the peer, if it doesn't sleep on the word
}

// ringOf gives the first ring (forth) or the second one (back) of a memory.
func ringOf(m *shm.Memory, number int) words {
	at := lines + number*ringSize
	data := m.Bytes()[dataAt : dataAt+forthSize : dataAt+forthSize]
	if number == 1 {
		data = m.Bytes()[dataAt+forthSize : Size : Size]
	}
	return words{
		head:        m.Word64(at + offHead),
		tail:        m.Word64(at + offTail),
		readerSleep: m.Word32(at + offReaderSleep),
		writerSleep: m.Word32(at + offWriterSleep),
		data:        data,
	}
}

// reset makes an empty ring. The peer does not use it yet.
func (w *words) reset() {
	w.head.Store(0)
	w.tail.Store(0)
	w.readerSleep.Store(0)
	w.writerSleep.Store(0)
}

// writeHeader says what the memory is.
func writeHeader(b []byte) {
	copy(b[offMagic:], magic)
	binary.LittleEndian.PutUint32(b[offVersion:], version)
	binary.LittleEndian.PutUint32(b[offForth:], forthSize)
	binary.LittleEndian.PutUint32(b[offBack:], backSize)
}

// checkHeader reads a copy of the header.
func checkHeader(shared []byte) error {
	var b [offBack + 4]byte
	copy(b[:], shared)
	le := binary.LittleEndian
	switch {
	case string(b[:offVersion]) != magic:
		return fmt.Errorf("%w: the memory is no ring", ErrViolation)
	case le.Uint32(b[offVersion:]) != version:
		return fmt.Errorf("%w: it speaks version %d, this slot version %d", ErrViolation, le.Uint32(b[offVersion:]), version)
	case le.Uint32(b[offForth:]) != forthSize || le.Uint32(b[offBack:]) != backSize:
		return fmt.Errorf("%w: rings of %d and %d bytes", ErrViolation, le.Uint32(b[offForth:]), le.Uint32(b[offBack:]))
	}
	return nil
}

// producer is the writing end.
type producer struct {
	words
	own  uint64 // head: nobody else's word counts
	seen uint64 // tail as last checked: seen ≤ own ≤ seen + capacity
}

// free is the room now, in bytes.
func (p *producer) free() (int, error) {
	tail := p.tail.Load()
	if tail-p.seen > p.own-p.seen {
		return 0, fmt.Errorf("%w: it has read up to %d, after %d, of %d", ErrViolation, tail, p.seen, p.own)
	}
	p.seen = tail
	return len(p.data) - int(p.own-tail), nil
}

// put copies as much of b as there is room for, at most publishMost, and shows it to the reader. One that sleeps is woken
// when all of b is there or the ring is half full: a wake costs as much as copying that.
func (p *producer) put(b []byte) (int, error) {
	n, err := p.free()
	if err != nil || n == 0 {
		return 0, err
	}
	n = min(n, len(b), publishMost)
	at := int(p.own) & (len(p.data) - 1)
	if first := copy(p.data[at:], b[:n]); first < n {
		copy(p.data, b[first:n])
	}
	p.own += uint64(n)
	p.head.Store(p.own)
	if n == len(b) || int(p.own-p.seen) >= len(p.data)/2 {
		p.rouse(p.readerSleep)
	}
	return n, nil
}

// consumer is the reading end.
type consumer struct {
	words
	own  uint64 // tail: nobody else's word counts
	seen uint64 // head as last checked: own ≤ seen ≤ own + capacity
}

// ready is the number of bytes that can be read now.
func (c *consumer) ready() (int, error) {
	head := c.head.Load()
	if n := head - c.own; n > uint64(len(c.data)) || n < c.seen-c.own {
		return 0, fmt.Errorf("%w: it has written up to %d, after %d; read are %d", ErrViolation, head, c.seen, c.own)
	}
	c.seen = head
	return int(head - c.own), nil
}

// get copies out what there is, as much as fits into b, and gives the room back as it goes: both ends copy at once.
// A writer that waits for room is woken when there is much of it.
func (c *consumer) get(b []byte) (int, error) {
	ready, err := c.ready()
	if err != nil || ready == 0 {
		return 0, err
	}
	n := min(ready, len(b))
	for done := 0; done < n; {
		part := b[done:min(n, done+publishMost)]
		at := int(c.own) & (len(c.data) - 1)
		if first := copy(part, c.data[at:]); first < len(part) {
			copy(part[first:], c.data)
		}
		done += len(part)
		c.own += uint64(len(part))
		c.tail.Store(c.own)
		if left := ready - done; left <= len(c.data)/2 {
			c.rouse(c.writerSleep)
		}
	}
	return n, nil
}

// rouse wakes the peer if it sleeps. A bell costs a system call: nobody else is to pay for it.
func (w *words) rouse(sleep *atomic.Uint32) {
	if sleep.Load() == 0 {
		return
	}
	switch sleep.Swap(0) {
	case 0:
	case onWord:
		futexWake(sleep)
	default:
		if w.bell != nil {
			w.bell()
		}
	}
}
