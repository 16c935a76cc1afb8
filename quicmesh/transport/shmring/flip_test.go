package shmring

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// operations of the flipped memory's test.
func operations() int64 {
	if os.Getenv("WEFT_SOAK") != "" {
		return 1_000_000_000
	}
	return 3_000_000
}

// twice maps a new ring's memory at two addresses: what two processes see.
func twice(t *testing.T) (ours, theirs *shm.Memory) {
	t.Helper()
	f, err := NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, m := range []**shm.Memory{&ours, &theirs} {
		if *m, err = shm.Map(f, Size); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*m).Close() })
	}
	return ours, theirs
}

// TestFlippedMemory reads from a ring and writes to another one whose words and bytes a second mapping changes
// all the time. Each operation moves bytes within its buffer and the ring, or is a violation; a frame that
// was parsed stays what it was when it was checked.
func TestFlippedMemory(t *testing.T) {
	const guard = 64
	ours, theirs := twice(t)
	in, out := consumer{words: ringOf(ours, 0)}, producer{words: ringOf(ours, 1)}
	defer flip(ringOf(theirs, 0), ringOf(theirs, 1))()
	buf, whole := make([]byte, guard+4096+guard), make([]byte, 500)
	room := buf[guard : guard+4096 : guard+4096]
	total, violations, frames, moved := operations(), 0, 0, 0
	late := time.Now().Add(30 * time.Second)
	// However short it is, both sides have run.
	for done := int64(0); done < total || violations == 0 || frames == 0; done += 2 {
		if done >= total && time.Now().After(late) {
			t.Fatalf("%d violations, %d frames: the attack is not seen, or nothing but it", violations, frames)
		}
		n, err := in.get(room)
		switch {
		case err != nil && !errors.Is(err, ErrViolation), n < 0 || n > len(room), err != nil && n != 0:
			t.Fatalf("read %d bytes into %d: %v", n, len(room), err)
		case err != nil: // the end of a stream; the next one begins where the peer is
			violations++
			in.own = in.head.Load()
			in.seen = in.own
			in.tail.Store(in.own)
		}
		moved += n
		if f, size, err := frame.Parse(room[:n]); err == nil {
			frames++
			if size > n || len(f.Payload)+len(f.ID)+len(f.Key)+len(f.Headers) != int(f.Length) || int(f.Length) != int(binary.LittleEndian.Uint32(room[4:])) {
				t.Fatal("a frame has changed under its reader")
			}
		}
		if [guard]byte(buf) != [guard]byte{} || [guard]byte(buf[len(buf)-guard:]) != [guard]byte{} {
			t.Fatal("written outside of the buffer")
		}
		if n, err = out.put(whole); err != nil {
			violations++
			out.own = out.tail.Load()
			out.seen = out.own
			out.head.Store(out.own)
		}
		moved += n
	}
	t.Logf("%d operations, %d violations, %d bytes, %d frames", total, violations, moved, frames)
}

// flip changes the words of a ring that is read and of one that is written, mostly in small steps that
// look right.
func flip(read, written words) (stop func()) {
	var over atomic.Bool
	var loop sync.WaitGroup
	loop.Go(func() {
		random := rand.New(rand.NewPCG(1, 2))
		header := frame.Frame{Header: frame.Header{Type: frame.Data}, Payload: []byte("payload")}
		whole := header.Append(nil)
		for !over.Load() {
			r := random.Uint32()
			head, tail := read.head.Load(), written.tail.Load()
			at := int(head) & (len(read.data) - 1)
			copy(read.data[at:], whole)
			switch {
			case r%4096 == 0:
				head, tail = random.Uint64(), random.Uint64()
			case r%512 == 1:
				head, tail = head-uint64(r%4096), tail-uint64(r%4096)
			case r%16 == 2:
				binary.LittleEndian.PutUint32(read.data[random.IntN(len(read.data)-4):], r)
				read.readerSleep.Store(r & 3)
				written.writerSleep.Store(r >> 2 & 3)
			}
			if head-read.tail.Load() < 1<<19 {
				head += uint64(len(whole))
			}
			if written.head.Load()-tail > 1000 {
				tail += uint64(r % 1000)
			}
			read.head.Store(head)
			written.tail.Store(tail)
		}
	})
	return func() { over.Store(true); loop.Wait() }
}
