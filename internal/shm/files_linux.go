package shm

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
)

// MaxFiles is how many descriptors one write may carry.
const MaxFiles = 8

// Pair gives both ends of a Unix socket. What one end's last process closes or leaves by dying, the
// other end sees at once.
func Pair() (a, b *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("shm: make a pair of sockets: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "pair"), os.NewFile(uintptr(fds[1]), "pair"), nil
}

// Duplicate gives another descriptor of the same open file.
func Duplicate(f *os.File) (*os.File, error) {
	fds, err := numbers([]*os.File{f})
	if err != nil {
		return nil, err
	}
	fd, err := fcntl(fds[0], syscall.F_DUPFD_CLOEXEC, 0)
	runtime.KeepAlive(f)
	if err != nil {
		return nil, fmt.Errorf("shm: duplicate a descriptor: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// CheckStream says why f is no Unix stream socket; nil: it is one. Whoever got it from somebody else knows nothing about
// it: it may be any file at all.
func CheckStream(f *os.File) error {
	domain, kind := -1, -1
	raw, err := f.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			domain, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_DOMAIN) // -1 of what is no socket
			kind, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TYPE)
		})
	}
	if err != nil || domain != syscall.AF_UNIX || kind != syscall.SOCK_STREAM {
		return fmt.Errorf("%w: not a Unix stream socket", ErrFiles)
	}
	return nil
}

// Conn makes a connection of a descriptor that Pair gave, and closes f. What is no Unix stream socket
// is refused: a read of a file that somebody else wrote says nothing about that one's life.
func Conn(f *os.File) (*net.UnixConn, error) {
	defer Discard(f)
	if err := CheckStream(f); err != nil {
		return nil, err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("%w: no connection: %w", ErrFiles, err)
	}
	uc, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("%w: not a Unix stream socket", ErrFiles)
	}
	return uc, nil
}

// Write sends b, with the descriptors of files at its first byte. The files stay the caller's. b must
// not be empty when there are files.
func Write(c *net.UnixConn, b []byte, files []*os.File) (int, error) {
	if len(files) == 0 {
		return c.Write(b)
	}
	if len(files) > MaxFiles || len(b) == 0 {
		return 0, fmt.Errorf("%w: %d to send with %d bytes", ErrFiles, len(files), len(b))
	}
	fds, err := numbers(files)
	if err != nil {
		return 0, err
	}
	n, _, err := c.WriteMsgUnix(b, syscall.UnixRights(fds...), nil)
	runtime.KeepAlive(files)
	if err != nil || n == len(b) {
		return n, err
	}
	more, err := c.Write(b[n:])
	return n + more, err
}

// numbers of the open files' descriptors. File.Fd would make those of sockets block.
func numbers(files []*os.File) ([]int, error) {
	fds := make([]int, len(files))
	for i, f := range files {
		raw, err := f.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { fds[i] = int(fd) })
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFiles, err)
		}
	}
	return fds, nil
}

// Reader reads from a Unix socket and keeps the descriptors that come with the bytes.
type Reader struct {
	conn  *net.UnixConn
	files []*os.File
	oob   []byte
}

// NewReader reads from c, all of whose reads must be the reader's.
func NewReader(c *net.UnixConn) *Reader {
	return &Reader{conn: c, oob: make([]byte, syscall.CmsgSpace(4*MaxFiles))}
}

// Read is io.Reader's. More than MaxFiles descriptors that nobody has taken are an error.
func (r *Reader) Read(b []byte) (int, error) {
	n, oobn, flags, _, err := r.conn.ReadMsgUnix(b, r.oob)
	n = max(n, 0) // -1 with some errors
	if oobn > 0 {
		if err := r.keep(r.oob[:oobn]); err != nil {
			return n, err
		}
	}
	if flags&syscall.MSG_CTRUNC != 0 || len(r.files) > MaxFiles {
		return n, fmt.Errorf("%w: more than %d came", ErrFiles, MaxFiles)
	}
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, err
}

func (r *Reader) keep(oob []byte) error {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	for i := range messages {
		if messages[i].Header.Level != syscall.SOL_SOCKET || messages[i].Header.Type != syscall.SCM_RIGHTS {
			continue
		}
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFiles, err)
		}
		for _, fd := range fds {
			r.files = append(r.files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return nil
}

// Take gives the n descriptors that have come, which are the caller's from now on. Another number than
// n is an error.
func (r *Reader) Take(n int) ([]*os.File, error) {
	if len(r.files) != n {
		return nil, fmt.Errorf("%w: %d came, %d were announced", ErrFiles, len(r.files), n)
	}
	out := r.files
	r.files = nil
	return out, nil
}

// Next gives the oldest descriptor that has come, which is the caller's from now on.
func (r *Reader) Next() (*os.File, error) {
	if len(r.files) == 0 {
		return nil, fmt.Errorf("%w: none has come", ErrFiles)
	}
	f := r.files[0]
	r.files = append(r.files[:0], r.files[1:]...)
	return f, nil
}

// Close closes the descriptors that nobody has taken, not the connection.
func (r *Reader) Close() {
	CloseAll(r.files)
	r.files = nil
}

// Discard closes a file that may be anybody's: a socket that lingers would have whoever closes it last wait for its
// peer.
func Discard(f *os.File) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // fails with what is no socket
			_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{})
		})
	}
	_ = f.Close() // nothing was written that could fail
}

// CloseAll discards files that are not needed, some of which may be nil.
func CloseAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			Discard(f)
		}
	}
}
