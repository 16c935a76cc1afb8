package attest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Held is a process that is held on to: its number may be given to another, this never is.
type Held struct {
	PID int

	started uint64 // ticks since the host's start
	mu      sync.Mutex
	fd      *os.File // a pidfd; nil: closed

	looked   bool // the rest is known
	freezers []freezer
	state    *os.File // /proc's stat; nil: can't be read
}

// holdPeer holds the process that has connected a Unix socket.
func holdPeer(uc *net.UnixConn) (*Held, uint32, error) {
	raw, err := uc.SyscallConn()
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	var cred *unix.Ucred
	var cerr, ferr error
	fd := -1
	err = raw.Control(func(s uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(s), unix.SOL_SOCKET, unix.SO_PEERCRED)
		fd, ferr = unix.GetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	})
	if err = errors.Join(err, cerr); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if cred.Pid <= 0 {
		return nil, 0, fmt.Errorf("%w: the caller's process is not to be seen from here: run the hook in the host's pid namespace", ErrRefused)
	}
	h := &Held{PID: int(cred.Pid)}
	switch {
	case ferr == nil:
		h.fd = os.NewFile(uintptr(fd), "pidfd")
	case errors.Is(ferr, unix.ENOPROTOOPT):
		err = h.open(uc)
	default:
		err = ferr // it has ended
	}
	if err == nil {
		h.started, err = startTime(h.PID)
	}
	if err == nil && h.exited() {
		err = errors.New("it has ended meanwhile")
	}
	if err != nil {
		h.Close()
		return nil, 0, fmt.Errorf("%w: process %d: %w", ErrRefused, h.PID, err)
	}
	return h, cred.Uid, nil
}

// open is for kernels that have no pidfd of a socket's peer. A process that has the number now, but has
// begun after the connection was there, or whose connection is closed, is another one.
func (h *Held) open(uc *net.UnixConn) error {
	now, err := ticks()
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(h.PID, 0)
	if err != nil {
		return err
	}
	h.fd = os.NewFile(uintptr(fd), "pidfd")
	started, err := startTime(h.PID)
	if err != nil {
		return err
	}
	if started > now {
		return errors.New("its number was given to another process")
	}
	if hungUp(uc) {
		return errors.New("it has closed the connection")
	}
	return nil
}

// hold holds a process by its number, of which the caller knows that it is still the one meant.
func hold(pid int) (*Held, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	h := &Held{PID: pid, fd: os.NewFile(uintptr(fd), "pidfd")}
	if h.started, err = startTime(pid); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// Close lets the process go.
func (h *Held) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd == nil {
		return
	}
	_ = h.fd.Close()
	h.fd = nil
	for _, f := range h.freezers {
		_ = f.file.Close()
	}
	if h.state != nil {
		_ = h.state.Close()
	}
}

func (h *Held) exited() bool { return h.Exited(0) }

// Exited waits at most the time given for the end of the process.
func (h *Held) Exited(wait time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd == nil {
		return true
	}
	fds := []unix.PollFd{{Fd: int32(h.fd.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(wait.Milliseconds()))
	return err == nil && n == 1
}

// Runs says whether any thread of the process runs, or would if a core were free for it: then it is not
// stopped, frozen or asleep, however silent it is.
func (h *Held) Runs() bool {
	dir := fmt.Sprintf("/proc/%d/task", h.PID)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, t := range tasks {
		f, err := stat(dir + "/" + t.Name() + "/stat")
		if err == nil && string(f[0]) == "R" {
			return !h.exited()
		}
	}
	return false
}

// stat reads the fields of a stat file that follow the name, which may have any letters in it.
func stat(path string) ([][]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return nil, fmt.Errorf("%s is not understood", path)
	}
	return f, nil
}

// startTime is when a process began, in clock ticks since the host's start.
func startTime(pid int) (uint64, error) {
	f, err := stat(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(string(f[19]), 10, 64)
}

// hertz is the kernel's unit of times in /proc, the same on every Linux that Go runs on.
const hertz = 100

func ticks() (uint64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, err
	}
	return uint64(ts.Nano()) / (uint64(time.Second) / hertz), nil
}

func hungUp(uc *net.UnixConn) bool {
	raw, err := uc.SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	_ = raw.Control(func(s uintptr) {
		fds := []unix.PollFd{{Fd: int32(s), Events: unix.POLLRDHUP}}
		_, err := unix.Poll(fds, 0)
		gone = err != nil || fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP) != 0
	})
	return gone
}
