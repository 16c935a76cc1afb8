package peer

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weft-stream/weft/bench/stage"
)

// Futex is the machine's floor: a mailbox of one message in shared memory and a futex, nothing checked,
// nothing kept. spin is how often a waiting stage looks before it sleeps.
func Futex(spin int) stage.Chain {
	return stage.Chain{Peer: "futex", Server: fmt.Sprint(spin, false), Link: futexLink}
}

// FutexTogether is Futex with all processes on one processor, where Weft keeps a pipeline that does little.
func FutexTogether() stage.Chain {
	return stage.Chain{Peer: "futex", Server: fmt.Sprint(0, true), Link: futexLink}
}

// mailboxSize has room for the words and for the largest message of the comparison.
const (
	mailboxWords = 128
	mailboxSize  = 2 << 20
)

func futexLink(int) (stage.Link, error) {
	fd, err := unix.MemfdCreate("weft-bench", unix.MFD_CLOEXEC)
	if err != nil {
		return stage.Link{}, err
	}
	f := os.NewFile(uintptr(fd), "mailbox")
	if err := f.Truncate(mailboxSize); err != nil {
		return stage.Link{}, err
	}
	again, err := unix.Dup(fd)
	if err != nil {
		return stage.Link{}, err
	}
	return stage.Link{In: []*os.File{f}, Out: []*os.File{os.NewFile(uintptr(again), "mailbox")}}, nil
}

// mailbox holds one message. full counts messages put, empty those taken.
type mailbox struct {
	full, empty *atomic.Uint32
	data        []byte
	size, spin  int
	count       uint32
	copied      []byte
}

func overFutex(_ context.Context, c *stage.Config) (in stage.In, out stage.Out, err error) {
	runtime.LockOSThread() // a futex wait keeps its thread
	spin, together := 0, false
	if _, err := fmt.Sscan(c.Server, &spin, &together); err != nil {
		return nil, nil, err
	}
	if together {
		var one unix.CPUSet
		one.Set(0)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return nil, nil, fmt.Errorf("run on the first processor: %w", err)
		}
	}
	if c.In > 0 {
		if in, err = openMailbox(c.InFile(0), c.Plan.Payload, spin); err != nil {
			return nil, nil, err
		}
	}
	if c.Out > 0 {
		m, err := openMailbox(c.OutFile(0), c.Plan.Payload, spin)
		if err != nil {
			return nil, nil, err
		}
		out = m
	}
	return in, out, nil
}

func openMailbox(f *os.File, size, spin int) (*mailbox, error) {
	if size > mailboxSize-mailboxWords {
		return nil, fmt.Errorf("a message of %d bytes is above a mailbox of %d", size, mailboxSize)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, mailboxSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map a mailbox: %w", err)
	}
	return &mailbox{full: (*atomic.Uint32)(unsafe.Pointer(&m[0])), empty: (*atomic.Uint32)(unsafe.Pointer(&m[64])),
		data: m[mailboxWords:], size: size, spin: spin, copied: make([]byte, size)}, nil
}

func (m *mailbox) Next() ([]byte, error) {
	if err := m.await(m.full, m.count+1); err != nil {
		return nil, err
	}
	copy(m.copied, m.data)
	m.count++
	m.empty.Store(m.count)
	return m.copied, futexWake(m.empty)
}

func (m *mailbox) More() bool { return m.full.Load() != m.count }

func (m *mailbox) Send(b []byte) error {
	if err := m.await(m.empty, m.count); err != nil {
		return err
	}
	copy(m.data, b[:m.size])
	m.count++
	m.full.Store(m.count)
	return futexWake(m.full)
}

func (m *mailbox) Flush() error { return nil }

// await returns when the word has the value wanted.
func (m *mailbox) await(word *atomic.Uint32, want uint32) error {
	for range m.spin {
		if word.Load() == want {
			return nil
		}
	}
	for v := word.Load(); v != want; v = word.Load() {
		if err := futexWait(word, v); err != nil {
			return err
		}
	}
	return nil
}

const futexPatience = 20 * time.Second

func futexWait(word *atomic.Uint32, value uint32) error {
	ts := unix.NsecToTimespec(int64(futexPatience))
	_, _, e := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 0 /* FUTEX_WAIT */, uintptr(value), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if e == unix.ETIMEDOUT {
		return fmt.Errorf("no message for %v", futexPatience)
	}
	return nil // woken, changed or interrupted: the caller looks again
}

func futexWake(word *atomic.Uint32) error {
	_, _, e := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1 /* FUTEX_WAKE */, 1, 0, 0, 0)
	if e != 0 {
		return fmt.Errorf("futex wake: %w", e)
	}
	return nil
}
