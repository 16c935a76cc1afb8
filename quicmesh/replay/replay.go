// Package replay repairs a lost connection: the sender of a link keeps every numbered frame until it
// is acknowledged, the receiver drops what it has already. Sequence numbers are from 1 and without gaps.
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
// when it is appended, its payload not even then when it lies in a Memory. The zero value is an empty log. How many bytes it may keep is the caller's to
// decide (credit bounds it); it holds at most twice as much memory, and one chunk.
type Log struct {
	chunks []chunk // oldest first; only the last grows
	head   int     // where in chunks[0] the oldest kept frame begins
	kept   int     // bytes of the frames acked < seq ≤ last
	acked  uint64
	last   uint64
	handed uint64 // acked ≤ handed ≤ last: has been given out by Next since Resume

	at, offset int // where Next goes on: chunk, byte in it
}

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

// Resume goes on after seq, the highest number the receiver has: Next gives everything behind it once
// more. It returns how many frames are given out again.
func (l *Log) Resume(seq uint64) (again uint64, err error) {
	if seq < l.acked || seq > l.handed {
		return 0, ErrAck
	}
	again = l.handed - seq
	l.drop(seq)
	l.at, l.offset, l.handed = 0, l.head, seq
	return again, nil
}

// drop forgets the frames up to seq.
func (l *Log) drop(seq uint64) {
	for l.acked < seq {
		if l.head == len(l.chunks[0].buf.B) {
			l.pop()
		}
		first := l.chunks[0].buf.B
		size := frame.HeaderSize + int(binary.LittleEndian.Uint32(first[l.head+4:]))
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

// Last is the number of the last frame appended.
func (l *Log) Last() uint64 { return l.last }
