package shmring

import (
	"sync/atomic"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// Words are a ring's words, for a peer that writes what it likes.
type Words struct {
	Head, Tail               *atomic.Uint64
	ReaderSleep, WriterSleep *atomic.Uint32
	Data                     []byte
}

// WordsOf gives those of ring 0 or 1.
func WordsOf(m *shm.Memory, number int) Words {
	w := ringOf(m, number)
	return Words{w.head, w.tail, w.readerSleep, w.writerSleep, w.data}
}

// WriteHeader writes the header an acceptor writes.
func WriteHeader(b []byte) { writeHeader(b) }

// CheckHeader is the dialler's look at it.
func CheckHeader(b []byte) error { return checkHeader(b) }

// Naps is how often a stream's reader has gone to sleep.
func Naps(s transport.Stream) int64 { return s.(*stream).naps.Load() }
