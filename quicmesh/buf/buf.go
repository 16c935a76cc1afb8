// Package buf has byte buffers that are pooled by size and shared by counting references. Whoever
// holds a reference may read what was written before it got it; only the buffer's first owner appends,
// and only behind what others have been given.
//
// The memory of a large buffer comes from the system page by page, as it is written, and is gone when the buffer is:
// one that is asked for because a peer has claimed to send so much costs no more than what comes.
package buf

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
)

// minBits is the smallest class, 4 KiB; classes go in half powers of two: 4, 6, 8, 12, 16 KiB…
const minBits = 12

// classes reach beyond the largest frame.
const classes = 2*(31-minBits) + 1

var pools [classes]sync.Pool

// Buf is one buffer. B has length zero when it comes from Get.
type Buf struct {
	B       []byte
	refs    atomic.Int32
	class   int
	mapped  bool            // B is of the system's memory, not of the heap
	cleanup runtime.Cleanup // of a mapped buffer that nobody has released
}

// Get returns a buffer with one reference, room for at least size bytes, and length zero.
func Get(size int) *Buf {
	class, room := classOf(size)
	b := take(class, room)
	b.refs.Store(1)
	return b
}

func take(class, room int) *Buf {
	if room >= mapFrom {
		if b := large.take(class, room); b != nil {
			return b
		}
	}
	if b, _ := pools[class].Get().(*Buf); b != nil {
		return b
	}
	return &Buf{B: make([]byte, 0, room), class: class}
}

// classOf is the class for size bytes and the bytes a buffer of it has room for.
func classOf(size int) (class, room int) {
	if size <= 1<<minBits {
		return 0, 1 << minBits
	}
	top := bits.Len(uint(size - 1)) // 2^(top-1) < size <= 2^top
	if half := 3 << (top - 2); size <= half {
		return 2*(top-minBits) - 1, half
	}
	return 2 * (top - minBits), 1 << top
}

// Retain adds n references.
func (b *Buf) Retain(n int) {
	if b.refs.Add(int32(n)) <= int32(n) {
		panic("buf: Retain of a released buffer")
	}
}

// Release gives one reference back; with the last one the buffer returns to its pool.
func (b *Buf) Release() {
	switch refs := b.refs.Add(-1); {
	case refs < 0:
		panic("buf: Release without a reference")
	case refs == 0:
		b.B = b.B[:0]
		if b.mapped {
			large.put(b)
		} else {
			pools[b.class].Put(b)
		}
	}
}

// Shared tells whether anybody but the caller, who has one reference, holds one.
func (b *Buf) Shared() bool { return b.refs.Load() > 1 }
