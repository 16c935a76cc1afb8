package shm_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/weft-stream/weft/internal/shm"
)

// quickPair is both ends of a pair.
func quickPair(t testing.TB) (ends [2]*shm.Socket) {
	t.Helper()
	near, far, err := shm.Pair()
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range []*os.File{near, far} {
		c, err := shm.Conn(f)
		if err != nil {
			t.Fatal(err)
		}
		if ends[i], err = shm.Quick(c); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ends[i].Close() })
	}
	return ends
}

// TestSocket: what is larger than the kernel takes at once arrives whole, both ways at once, and the end after it.
func TestSocket(t *testing.T) {
	ends := quickPair(t)
	want := make([]byte, 5<<20)
	for i := range want {
		want[i] = byte(i * i >> 3)
	}
	wrote := make(chan error, 2)
	for _, s := range ends {
		go func() {
			_, err := s.Write(want)
			wrote <- err
		}()
	}
	got := make(chan []byte, 2)
	for _, s := range ends {
		go func() {
			b := make([]byte, len(want))
			_, _ = io.ReadFull(s, b)
			got <- b
		}()
	}
	for range ends {
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		if !bytes.Equal(<-got, want) {
			t.Error("other bytes arrived")
		}
	}
	if _, err := ends[0].Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	_ = ends[0].Close()
	if b, err := io.ReadAll(ends[1]); err != nil || string(b) != "last words" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := ends[1].Write([]byte("to nobody")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a write to a closed end: %v", err)
	}
}

// TestSocketIsClosed: reads and writes that wait end when their own end is closed.
func TestSocketIsClosed(t *testing.T) {
	ends := quickPair(t)
	over := make(chan error, 2)
	go func() {
		_, err := ends[0].Read(make([]byte, 1))
		over <- err
	}()
	go func() {
		for {
			if _, err := ends[0].Write(make([]byte, 1<<20)); err != nil {
				over <- err
				return
			}
		}
	}()
	if _, err := io.ReadFull(ends[1], make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	_ = ends[0].Close()
	for range 2 {
		if err := <-over; !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v", err)
		}
	}
}

// BenchmarkSocket is there and back.
func BenchmarkSocket(b *testing.B) {
	ends := quickPair(b)
	go func() {
		buf := make([]byte, 64)
		for {
			n, err := ends[1].Read(buf)
			if err != nil {
				return
			}
			if _, err := ends[1].Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ends[0].Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(ends[0], buf); err != nil {
			b.Fatal(err)
		}
	}
}
