package shm_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-stream/weft/internal/shm"
)

// owned is an arena as its owner and a receiver have it.
func owned(t *testing.T) (f *os.File, own, lent *shm.Memory) {
	t.Helper()
	f, err := shm.CreateArena("arena", size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if own, err = shm.MapOwner(f, size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	if lent, err = shm.MapLent(f, size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lent.Close() })
	return f, own, lent
}

func TestArenaIsReadInPlace(t *testing.T) {
	_, own, lent := owned(t)
	copy(own.Bytes()[100:], "written after it was sealed")
	if got := string(lent.Bytes()[100:107]); got != "written" {
		t.Errorf("the receiver reads %q", got)
	}
}

// TestNobodyElseWritesAnArena: finding 4, a descriptor reopened, and a mapping made writable.
func TestNobodyElseWritesAnArena(t *testing.T) {
	f, _, lent := owned(t)
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for name, attack := range map[string]func() error{
		"map to write": func() error {
			_, err := unix.Mmap(int(again.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			return err
		},
		"write":      func() error { _, err := again.WriteAt([]byte("x"), 0); return err },
		"protection": func() error { return unix.Mprotect(lent.Bytes(), unix.PROT_READ|unix.PROT_WRITE) },
		"hole": func() error {
			return unix.Fallocate(int(again.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
		},
		"shrink":    func() error { return again.Truncate(0) },
		"own again": func() error { _, err := shm.MapOwner(again, size); return err },
	} {
		if err := attack(); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, shm.ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOwnerTakesNoBytesBack: a hole in what others have mapped could end them.
func TestOwnerTakesNoBytesBack(t *testing.T) {
	_, own, lent := owned(t)
	own.Bytes()[0] = 7
	if err := unix.Madvise(own.Bytes(), unix.MADV_REMOVE); err == nil || lent.Bytes()[0] != 7 {
		t.Errorf("removed: %v, byte %d", err, lent.Bytes()[0])
	}
}

func TestMapLentRefuses(t *testing.T) {
	sealed := func(seals int, allocate bool) *os.File {
		fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "x")
		t.Cleanup(func() { f.Close() })
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if allocate {
			if err := unix.Fallocate(fd, 0, 0, size); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		return f
	}
	const shape = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	a, b, err := shm.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer shm.CloseAll([]*os.File{a, b})
	for name, f := range map[string]*os.File{
		"not sealed yet":        sealed(shape, true),
		"others may write":      sealed(shape|unix.F_SEAL_SEAL, true),
		"seals can be added":    sealed(shape|unix.F_SEAL_FUTURE_WRITE, true),
		"it can shrink":         sealed(unix.F_SEAL_GROW|unix.F_SEAL_FUTURE_WRITE|unix.F_SEAL_SEAL, true),
		"sparse":                sealed(shape|unix.F_SEAL_FUTURE_WRITE|unix.F_SEAL_SEAL, false),
		"a ring":                create(t, size),
		"larger than is wanted": create(t, 2*size),
		"a socket":              a,
	} {
		if m, err := shm.MapLent(f, size); !errors.Is(err, shm.ErrFile) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if m, err := shm.MapLent(sealed(shape|unix.F_SEAL_FUTURE_WRITE|unix.F_SEAL_SEAL, true), size); err != nil {
		t.Errorf("as it should be: %v", err)
	} else {
		m.Close()
	}
}
