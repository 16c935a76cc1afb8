package shm

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// seals of every memory file: a peer that truncates one would end, with SIGBUS, whoever has mapped it.
const seals = sealShrink | sealGrow | sealSeal

// Create makes a memory file of size bytes, all of them zero and allocated now: a host that has no more
// memory says so here, and not by SIGBUS at the first use. Its size is sealed. The name is for
// /proc/PID/maps only.
func Create(name string, size int) (*os.File, error) { return create(name, size, seals) }

func create(name string, size, seals int) (*os.File, error) {
	fd, err := memfdCreate(name, memfdCloexec|memfdAllowSealing|memfdNoexecSeal)
	if errors.Is(err, syscall.EINVAL) { // before Linux 6.3
		fd, err = memfdCreate(name, memfdCloexec|memfdAllowSealing)
	}
	if err != nil {
		return nil, fmt.Errorf("shm: make memory file %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	err = retry(func() error { return syscall.Fallocate(fd, 0, 0, int64(size)) })
	if err != nil {
		err = fmt.Errorf("shm: allocate %d bytes for %s: %w", size, name, err)
	} else if _, err = fcntl(fd, addSeals, seals); err != nil {
		err = fmt.Errorf("shm: seal %s: %w", name, err)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Memory is a mapped memory file.
type Memory struct {
	b    []byte
	once sync.Once
	err  error
}

// Map checks that f is a sealed memory file of exactly size bytes, and maps it to read and write. f can
// be closed afterwards.
func Map(f *os.File, size int) (*Memory, error) {
	fd := int(f.Fd())
	if err := check(fd, size, seals); err != nil {
		return nil, err
	}
	return mapFile(fd, size, syscall.PROT_READ|syscall.PROT_WRITE)
}

func mapFile(fd, size, protection int) (*Memory, error) {
	b, err := syscall.Mmap(fd, 0, size, protection, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("shm: map %d bytes: %w", size, err)
	}
	return &Memory{b: b}, nil
}

// check looks whether the file is a memory file of that size, allocated, with exactly those seals.
func check(fd, size, seals int) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return fmt.Errorf("shm: look at the file: %w", err)
	}
	if size <= 0 || st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Size != int64(size) {
		return fmt.Errorf("%w: %d bytes instead of %d, or no file", ErrFile, st.Size, size)
	}
	// A sparse file's pages are allocated at their first use, which fails with SIGBUS.
	if st.Blocks*512 < int64(size) {
		return fmt.Errorf("%w: only %d of %d bytes are allocated", ErrFile, st.Blocks*512, size)
	}
	have, err := fcntl(fd, getSeals, 0)
	if err != nil {
		return fmt.Errorf("%w: it has no seals: %w", ErrFile, err)
	}
	if have&^sealExec != seals {
		return fmt.Errorf("%w: its seals are %#x", ErrFile, have)
	}
	return nil
}

// Bytes are the memory. They are void after Close: whoever touches them then ends the process.
func (m *Memory) Bytes() []byte { return m.b }

// Word32 is the word at an offset in bytes, a multiple of 4.
func (m *Memory) Word32(at int) *atomic.Uint32 {
	_ = m.b[at+3]
	if at%4 != 0 {
		panic("shm: word not aligned")
	}
	return (*atomic.Uint32)(unsafe.Pointer(&m.b[at]))
}

// Word64 is the word at an offset in bytes, a multiple of 8.
func (m *Memory) Word64(at int) *atomic.Uint64 {
	_ = m.b[at+7]
	if at%8 != 0 {
		panic("shm: word not aligned")
	}
	return (*atomic.Uint64)(unsafe.Pointer(&m.b[at]))
}

// Close unmaps the memory. A second call does nothing.
func (m *Memory) Close() error {
	m.once.Do(func() {
		if err := syscall.Munmap(m.b); err != nil {
			m.err = fmt.Errorf("shm: unmap: %w", err)
		}
	})
	return m.err
}

// retry repeats a call that a signal has interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
