package shm

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// Socket is a Unix stream socket whose calls don't block, and don't tell Go's scheduler that they could: in a process
// that was asleep that wakes one more thread, which looks after those that do.
type Socket struct {
	conn    *net.UnixConn
	raw     syscall.RawConn
	in, out half
}

// half is what one direction of a socket is about to do.
type half struct {
	mu   sync.Mutex
	b    []byte
	n    int
	err  error
	call func(fd uintptr) (done bool)
}

// Quick makes a Socket of a connection, which is its own from now on.
func Quick(c *net.UnixConn) (*Socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	s := &Socket{conn: c, raw: raw}
	s.in.call = func(fd uintptr) bool { return s.in.try("recvfrom", syscall.SYS_RECVFROM, fd) }
	s.out.call = func(fd uintptr) bool { return s.out.try("sendto", syscall.SYS_SENDTO, fd) }
	return s, nil
}

// try is false when the socket isn't ready for it.
func (h *half) try(name string, number, fd uintptr) bool {
	n, _, e := syscall.RawSyscall6(number, fd, uintptr(unsafe.Pointer(&h.b[0])), uintptr(len(h.b)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	switch e {
	case 0:
		h.n, h.err = int(n), nil
	case syscall.EAGAIN:
		return false
	case syscall.EINTR:
		return h.try(name, number, fd)
	default:
		h.n, h.err = 0, os.NewSyscallError(name, e)
	}
	return true
}

// do waits until the socket is ready. The caller holds mu.
func (h *half) do(wait func(func(fd uintptr) bool) error, b []byte) (int, error) {
	h.b = b
	err := wait(h.call)
	h.b = nil
	if err != nil {
		return 0, err
	}
	return h.n, h.err
}

// Read is io.Reader's.
func (s *Socket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	n, err := s.in.do(s.raw.Read, b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write is io.Writer's.
func (s *Socket) Write(b []byte) (n int, err error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	for n < len(b) && err == nil {
		var more int
		more, err = s.out.do(s.raw.Write, b[n:])
		n += more
	}
	return n, err
}

// Close ends reads and writes that wait, too.
func (s *Socket) Close() error { return s.conn.Close() }
