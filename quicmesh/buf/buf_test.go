package buf_test

import (
	"testing"

	"github.com/weft-stream/weft/quicmesh/buf"
)

func TestGetHasRoomAndWastesAtMostHalf(t *testing.T) {
	for _, size := range []int{0, 1, 4096, 4097, 6144, 6145, 8192, 64 << 10, 8<<20 + 56, 64<<20 + 56} {
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
