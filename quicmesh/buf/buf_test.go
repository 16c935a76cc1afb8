package buf_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-stream/weft/quicmesh/buf"
)

func TestGetHasRoomAndWastesAtMostHalf(t *testing.T) {
	for _, size := range []int{0, 1, 4096, 4097, 6144, 6145, 8192, 64 << 10, 8<<20 + 56, 64<<20 + 56, 1<<30 + 1<<20} {
		b := buf.Get(size)
		if len(b.B) != 0 || cap(b.B) < size || size > 4096 && cap(b.B) > size+size/2 {
			t.Errorf("Get(%d): length %d, capacity %d", size, len(b.B), cap(b.B))
		}
		b.Release()
	}
}

func TestReferences(t *testing.T) {
	b := buf.Get(10)
	b.B = append(b.B, "text"...)
	b.Retain(2)
	b.Release()
	if !b.Shared() {
		t.Error("two references, not shared")
	}
	b.Release()
	if b.Shared() || string(b.B) != "text" {
		t.Errorf("one reference: shared %v, %q", b.Shared(), b.B)
	}
	b.Release()
	mustPanic(t, "Release", b.Release)
	mustPanic(t, "Retain", func() { b.Retain(1) })
}

func mustPanic(t *testing.T, name string, misuse func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s after the last reference went unnoticed", name)
		}
	}()
	misuse()
}

// A large buffer that is released is the next one of its size; what many have used is given back.
func TestLargeBuffersAreUsedAgain(t *testing.T) {
	first := buf.Get(2 << 20)
	first.Release()
	if again := buf.Get(2 << 20); again != first {
		t.Error("the released buffer was not used again")
	} else {
		again.Release()
	}
	before := anonymous(t)
	var all []*buf.Buf
	for range 8 {
		b := buf.Get(32 << 20)
		b.B = b.B[:32<<20]
		for i := 0; i < len(b.B); i += 4096 {
			b.B[i] = 1
		}
		all = append(all, b)
	}
	for _, b := range all {
		b.Release()
	}
	if now := anonymous(t); now > before+64<<20 {
		t.Errorf("%d MiB are kept of 256 that were released", (now-before)>>20)
	}
}

// anonymous is the process's memory in bytes, without files.
func anonymous(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "RssAnon:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

func BenchmarkLarge(b *testing.B) {
	for b.Loop() {
		buf.Get(1<<20 + 56).Release()
	}
}
