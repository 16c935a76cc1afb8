package shmring

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/internal/shm"
)

func memory(t interface {
	Fatal(...any)
	Cleanup(func())
}) *shm.Memory {
	f, err := NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := shm.Map(f, Size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestRingIsAQueue compares the small ring with a buffer, over many laps.
func TestRingIsAQueue(t *testing.T) {
	m := memory(t)
	rapid.Check(t, func(t *rapid.T) {
		w := ringOf(m, 1)
		w.reset()
		p, c := producer{words: w}, consumer{words: w}
		var model bytes.Buffer
		next := byte(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			b := make([]byte, rapid.IntRange(0, backSize+100).Draw(t, "bytes"))
			if rapid.Bool().Draw(t, "write") {
				for i := range b {
					next++
					b[i] = next
				}
				n, err := p.put(b)
				if want := min(len(b), backSize-model.Len()); err != nil || n != want {
					t.Fatalf("put took %d of %d, %v; there was room for %d", n, len(b), err, want)
				}
				next -= byte(len(b) - n)
				model.Write(b[:n])
				continue
			}
			n, err := c.get(b)
			if want := min(len(b), model.Len()); err != nil || n != want || !bytes.Equal(b[:n], model.Next(n)) {
				t.Fatalf("get gave %d, %v, want %d, or other bytes", n, err, want)
			}
		}
	})
}

// FuzzIndices: whatever the peer stores, an end gives an error or stays within the ring. The memory is one
// process's, which has one call at a time.
func FuzzIndices(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, uint64(0), uint64(0))
	f.Add([]byte{1, 0, 3, 2, 0, 1}, uint64(backSize), uint64(1<<63))
	f.Add([]byte{2, 0, 1, 0, 1}, uint64(5), ^uint64(0))
	m := memory(f)
	f.Fuzz(func(t *testing.T, steps []byte, head, tail uint64) {
		w := ringOf(m, 1)
		w.reset()
		p, c := producer{words: w}, consumer{words: w}
		b := make([]byte, 1000)
		for i, step := range steps[:min(len(steps), 10_000)] { // a call that takes seconds passes for one that hangs
			before := c.own
			switch step % 4 {
			case 0:
				if n, err := p.put(b); n > len(b) || err != nil && n != 0 {
					t.Fatalf("step %d: put %d, %v", i, n, err)
				}
			case 1:
				n, err := c.get(b)
				if n > len(b) || c.own-before != uint64(n) || c.seen-c.own > backSize {
					t.Fatalf("step %d: got %d, %v", i, n, err)
				}
			case 2:
				w.head.Store(head + uint64(step))
			case 3:
				w.tail.Store(tail + uint64(step))
			}
			if p.own-p.seen > backSize {
				t.Fatalf("step %d: the writer is at %d, the reader at %d", i, p.own, p.seen)
			}
		}
	})
}

// FuzzHeader: only the header that an acceptor of this version writes is one.
func FuzzHeader(f *testing.F) {
	good := make([]byte, dataAt)
	writeHeader(good)
	f.Add(good)
	f.Add([]byte("weftring"))
	f.Add(make([]byte, 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ok := checkHeader(b) == nil; ok != (len(b) >= offBack+4 && bytes.Equal(b[:offBack+4], good[:offBack+4])) {
			t.Fatalf("accepted: %v", ok)
		}
	})
}
