package transporttest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// noise is n bytes that look random, the same for the same seed.
func noise(seed uint64, n int) []byte {
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	source.Read(b)
	return b
}

// send writes data in pieces of random length up to most.
func send(s transport.Stream, data []byte, most int) error {
	for len(data) > 0 {
		n := min(len(data), 1+rand.IntN(most))
		if _, err := s.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// expect reads as many bytes as want has and compares.
func expect(s transport.Stream, want []byte) error {
	got := make([]byte, len(want))
	if n, err := io.ReadFull(s, got); err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes arrived, but not those that were sent", len(want))
	}
	return nil
}

func testOrder(t *testing.T, b *bench) {
	near, far := b.pair()
	there, back := noise(1, 300_000), noise(2, 200_000)
	results := make(chan error, 4)
	go func() { results <- send(near, there, 3000) }()
	go func() { results <- send(far, back, 100) }()
	go func() { results <- expect(far, there) }()
	go func() { results <- expect(near, back) }()
	for range 4 {
		if err := within(b, "order", results); err != nil {
			t.Error(err)
		}
	}
}

func testLargeWrites(t *testing.T, b *bench) {
	near, far := b.pair()
	data := noise(3, 9<<20)
	results := make(chan error, 2)
	go func() { _, err := near.Write(data); results <- err }()
	go func() { results <- expect(far, data) }()
	for range 2 {
		if err := within(b, "large write", results); err != nil {
			t.Error(err)
		}
	}
}

func testConcurrentStreams(t *testing.T, b *bench) {
	const streams = 12
	from, to := b.listen(slot("split", 0)), b.listen(slot("count", 1))
	results := make(chan error, 2*streams)
	for i := range streams {
		go func() {
			s, err := from.Dial(b.ctx, to.Addr(), slot("count", 1))
			if err == nil {
				err = send(s, append([]byte{byte(i)}, noise(uint64(i), 50_000)...), 5000)
			}
			results <- err
		}()
		go func() {
			s, err := to.Accept(b.ctx)
			number := make([]byte, 1)
			if err == nil {
				_, err = io.ReadFull(s, number)
			}
			if err == nil {
				err = expect(s, noise(uint64(number[0]), 50_000))
			}
			results <- err
		}()
	}
	for range 2 * streams {
		if err := within(b, "concurrent streams", results); err != nil {
			t.Error(err)
		}
	}
}

// testBackPressure has a reader that begins only when the writer has come to a stop.
func testBackPressure(t *testing.T, b *bench) {
	const (
		piece = 64 << 10
		total = 24 << 20
		bound = 8 << 20 // that a transport may buffer for one stream
	)
	near, far := b.pair()
	var written atomic.Int64
	writer := make(chan error, 1)
	go func() {
		for written.Load() < total {
			n, err := near.Write(make([]byte, piece))
			written.Add(int64(n))
			if err != nil {
				writer <- err
				return
			}
		}
		writer <- nil
	}()
	last := int64(-1)
	for tick := time.NewTicker(100 * time.Millisecond); written.Load() != last; within(b, "writer's stop", tick.C) {
		last = written.Load()
	}
	buf := make([]byte, piece)
	for read := int64(0); read < total; {
		if ahead := written.Load() - read; ahead > bound {
			t.Fatalf("the writer is %d bytes ahead of the reader, want at most %d", ahead, bound)
		}
		n, err := far.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		read += int64(n)
	}
	if err := within(b, "writer's end", writer); err != nil {
		t.Error(err)
	}
}
