// Package replay repairs a lost connection, and a process of one end that has died: the sender of a link keeps
// every numbered frame until it is acknowledged, the receiver drops what it has already, and may count what
// it has done. Sequence numbers are from 1 and without gaps.
package replay

import (
	"encoding/binary"
	"errors"

	"github.com/weft-stream/weft/quicmesh/buf"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// ErrAck is an acknowledgement, or a point to resume from, outside of what was sent and is kept.
var ErrAck = errors.New("replay: acknowledges what was not sent, or resumes before what is kept")

// chunkSize is the room of one buffer of the log; a larger frame has a buffer to itself. It is also
// what one write takes at most, unless a frame is larger.
const chunkSize = 64 << 10

// Memory is what a payload lies in that the log does not copy. It holds it from Append until the frame is dropped.
type Memory interface {
	Retain()
	Release()
}

// Batch is what Next gives: whole frames, the last one's payload apart when it lies elsewhere.
type Batch struct {
	Bytes   []byte
	Payload []byte // to be written behind Bytes
	Memory  Memory // that Payload lies in; nil when it is among Bytes
	Last    uint64 // number of the last frame
	buf     *buf.Buf
}

// Release ends the use of the slices.
func (b *Batch) Release() {
	b.buf.Release()
	if b.Memory != nil {
		b.Memory.Release()
	}
	*b = Batch{}
}

// Log keeps a link's frames, encoded, in the buffers they are written from: a frame is copied once,
// when it is appended, its payload not even then when it lies in a Memory. The zero value is an empty log.
// How many bytes it may keep is the caller's to decide (credit bounds it); it holds at most twice as much memory, and one chunk.
type Log struct {
	chunks []chunk // oldest first; only the last grows
	head   int     // where in chunks[0] the oldest kept frame begins
	kept   int     // bytes of the frames acked < seq ≤ last
	acked  uint64
	last   uint64
	handed uint64 // acked ≤ handed ≤ last: has been given out by Next since Resume

	place // where Next goes on
}

// place is a chunk, and a byte in it.
type place struct{ at, offset int }

// chunk is one buffer of whole frames; or of a single one, whose payload lies elsewhere.
type chunk struct {
	buf     *buf.Buf
	last    uint64 // number of its last frame
	payload []byte
	memory  Memory
}

func (c *chunk) release() {
	c.buf.Release()
	if c.memory != nil {
		c.memory.Release()
	}
}

// Append numbers f, encodes it and keeps it. Its payload is not copied when it lies in memory, and must not change
// then; nil: it is. Append returns the frame's size, with the payload.
func (l *Log) Append(f *frame.Frame, memory Memory) int {
	size := f.Size()
	room := size
	if memory != nil {
		room -= len(f.Payload)
	}
	tail := len(l.chunks) - 1
	if memory != nil || tail < 0 || l.chunks[tail].memory != nil || cap(l.chunks[tail].buf.B)-len(l.chunks[tail].buf.B) < room {
		least := chunkSize
		if memory != nil {
			memory.Retain()
			least = 0
		}
		l.chunks = append(l.chunks, chunk{buf: buf.Get(max(room, least)), memory: memory})
		tail++
	}
	c := &l.chunks[tail]
	l.last++
	f.Seq, c.last = l.last, l.last
	if memory == nil {
		c.buf.B = f.Append(c.buf.B)
	} else {
		c.buf.B, c.payload = f.AppendHead(c.buf.B), f.Payload
	}
	l.kept += size
	return size
}

// Next gives what to write next, which the caller releases after writing; false when everything has been given out.
func (l *Log) Next() (Batch, bool) {
	for l.at < len(l.chunks) {
		c := &l.chunks[l.at]
		if l.offset < len(c.buf.B) {
			b := Batch{Bytes: c.buf.B[l.offset:], Payload: c.payload, Memory: c.memory, Last: c.last, buf: c.buf}
			l.offset, l.handed = len(c.buf.B), c.last
			c.buf.Retain(1)
			if c.memory != nil {
				c.memory.Retain()
			}
			return b, true
		}
		if l.at == len(l.chunks)-1 {
			break
		}
		l.at, l.offset = l.at+1, 0
	}
	return Batch{}, false
}

// Ack drops the frames up to seq.
func (l *Log) Ack(seq uint64) error {
	if seq > l.handed {
		return ErrAck
	}
	l.drop(seq)
	return nil
}

// Resume goes on after received, the highest number the receiver has: Next gives everything behind it once
// more. What is behind done is kept, since the receiver may ask for it in another life. It returns how many
// frames are given out again, and the bytes of the events behind received.
func (l *Log) Resume(received, done uint64) (again uint64, events int, err error) {
	if received < l.acked || received > l.handed || done > received {
		return 0, 0, ErrAck
	}
	again = l.handed - received
	l.drop(done)
	return again, l.goOn(received), nil
}

// Begin goes on after received, a number that an earlier sender of the link has reached: frames that are kept
// get other numbers, those behind received. It returns by how much numbers have changed (they wrap around),
// and the bytes of the events kept. Nobody writes from the log meanwhile.
func (l *Log) Begin(received uint64) (by uint64, events int) {
	by = received - l.acked
	p := place{0, l.head}
	for b, _ := l.step(&p); b != nil; b, _ = l.step(&p) {
		seq := b[seqAt : seqAt+8]
		binary.LittleEndian.PutUint64(seq, binary.LittleEndian.Uint64(seq)+by)
	}
	for i := range l.chunks {
		l.chunks[i].last += by
	}
	l.acked, l.last = received, l.last+by
	return by, l.goOn(received)
}

// goOn sets where Next goes on, after the frame with number seq, and returns the bytes of the events from
// there.
func (l *Log) goOn(seq uint64) (events int) {
	p := place{0, l.head}
	for at := l.acked; at < seq; at++ {
		l.step(&p)
	}
	l.place, l.handed = p, seq
	for b, size := l.step(&p); b != nil; b, size = l.step(&p) {
		if frame.Type(b[0]) == frame.Data {
			events += size
		}
	}
	return events
}

// step gives the frame at p, without a payload that lies elsewhere, and its size with that, and moves p behind
// it; nil at the end.
func (l *Log) step(p *place) (b []byte, size int) {
	for p.at < len(l.chunks) {
		c := &l.chunks[p.at]
		if b := c.buf.B[p.offset:]; len(b) > 0 {
			size := sizeOf(b)
			here := size - len(c.payload)
			p.offset += here
			return b[:here], size
		}
		if p.at == len(l.chunks)-1 {
			break
		}
		*p = place{p.at + 1, 0}
	}
	return nil, 0
}

// drop forgets the frames up to seq.
func (l *Log) drop(seq uint64) {
	for len(l.chunks) > 1 && l.chunks[0].last <= seq { // whole chunks, without a look at what is in them
		c := &l.chunks[0]
		l.kept -= len(c.buf.B) - l.head + len(c.payload)
		l.acked = c.last
		l.pop()
	}
	for l.acked < seq {
		if l.head == len(l.chunks[0].buf.B) {
			l.pop()
		}
		first := l.chunks[0].buf.B
		size := sizeOf(first[l.head:])
		l.head += size - len(l.chunks[0].payload)
		l.kept -= size
		l.acked++
	}
	if len(l.chunks) > 0 && l.head == len(l.chunks[0].buf.B) && (len(l.chunks) > 1 || l.chunks[0].memory != nil) {
		l.pop()
	}
	// Nothing kept and nobody writing: begin the buffer again, it is in the cache.
	if l.kept == 0 && len(l.chunks) == 1 && !l.chunks[0].buf.Shared() {
		l.chunks[0].buf.B = l.chunks[0].buf.B[:0]
		l.head, l.offset = 0, 0
	}
}

// seqAt is where an encoded frame has its number.
const seqAt = 16

// sizeOf is the size of the encoded frame at the begin of b.
func sizeOf(b []byte) int { return frame.HeaderSize + int(binary.LittleEndian.Uint32(b[4:])) }

// pop gives the oldest chunk back.
func (l *Log) pop() {
	l.chunks[0].release()
	n := copy(l.chunks, l.chunks[1:])
	l.chunks[n] = chunk{}
	l.chunks = l.chunks[:n]
	l.head = 0
	if l.at > 0 {
		l.at--
	} else {
		l.offset = 0
	}
}

// Reset forgets everything; the next frame has number 1.
func (l *Log) Reset() {
	for i := range l.chunks {
		l.chunks[i].release()
	}
	clear(l.chunks)
	*l = Log{chunks: l.chunks[:0]}
}

// Kept is the number of bytes appended and not acknowledged.
func (l *Log) Kept() int { return l.kept }

// Handed is the number of the last frame that Next has given out.
func (l *Log) Handed() uint64 { return l.handed }

// Unsent tells whether Next has something.
func (l *Log) Unsent() bool { return l.handed < l.last }

// Acked is the number of the last frame that is forgotten.
func (l *Log) Acked() uint64 { return l.acked }

// Last is the number of the last frame appended.
func (l *Log) Last() uint64 { return l.last }
