package shm

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// seals of every memory file: a peer that truncates one would end, with SIGBUS, whoever has mapped it.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// Create makes a memory file of size bytes, all of them zero and allocated now: a host that has no more
// memory says so here, and not by SIGBUS at the first use. Its size is sealed. The name is for
// /proc/PID/maps only.
func Create(name string, size int) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("shm: make memory file %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	err = retry(func() error { return unix.Fallocate(fd, 0, 0, int64(size)) })
	if err != nil {
		err = fmt.Errorf("shm: allocate %d bytes for %s: %w", size, name, err)
	} else if _, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
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
	if err := check(fd, size); err != nil {
		return nil, err
	}
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("shm: map %d bytes: %w", size, err)
	}
	return &Memory{b: b}, nil
}

func check(fd, size int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("shm: look at the file: %w", err)
	}
	if size <= 0 || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != int64(size) {
		return fmt.Errorf("%w: %d bytes instead of %d, or no file", ErrFile, st.Size, size)
	}
	// A sparse file's pages are allocated at their first use, which fails with SIGBUS.
	if st.Blocks*512 < int64(size) {
		return fmt.Errorf("%w: only %d of %d bytes are allocated", ErrFile, st.Blocks*512, size)
	}
	have, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return fmt.Errorf("%w: it has no seals: %w", ErrFile, err)
	}
	if have&seals != seals || have&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
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
		if err := unix.Munmap(m.b); err != nil {
			m.err = fmt.Errorf("shm: unmap: %w", err)
		}
	})
	return m.err
}

// retry repeats a call that a signal has interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
