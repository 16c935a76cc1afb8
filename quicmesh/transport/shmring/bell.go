package shmring

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"github.com/weft-stream/weft/internal/shm"
)

// bell is what a stream's reader sleeps on: one end of a Unix socket of its own, whose other end the peer gets
// to ring it. On the socket that the two speak on, each ring would wake the peer again when it is heard: the
// kernel tells whoever waits for anything on a socket that there is room in it.
//
// Go's monitor thread, which watches over system calls, sleeps while there are none, and works for a while after
// each. The calls here don't wait, and are made without telling the runtime: so it sleeps on, and an event that
// comes alone wakes one thread. poll is for who has a thread of his own, where the runtime would wake two.
type bell struct {
	conn   *net.UnixConn
	raw    syscall.RawConn
	far    *ringer
	wait   func(fd uintptr) bool
	thread bool // who sleeps does it on his own thread
	// Of the one that sleeps.
	look  func() bool // whether there is a reason not to sleep
	slept bool
	heard int
	buf   [256]byte
}

func newBell(look func() bool) (*bell, error) {
	near, far, err := shm.Pair()
	if err != nil {
		return nil, err
	}
	b := &bell{look: look}
	if b.conn, err = shm.Conn(near); err != nil {
		_ = far.Close()
		return nil, err
	}
	if b.raw, err = b.conn.SyscallConn(); err == nil {
		b.far, err = newRinger(far)
	}
	if err != nil {
		_ = b.conn.Close()
		return nil, fmt.Errorf("shmring: make a bell: %w", err)
	}
	b.wait = b.waits
	return b, nil
}

// sleep returns when the bell has been rung since look was false, and how often it has been in all until now.
// Rings that nobody has waited for are heard at the next call.
func (b *bell) sleep() (heard int) {
	b.slept, b.heard = false, 0
	_ = b.raw.Read(b.wait)
	return b.heard
}

// waits is called until it returns true, each time after a ring: what came is taken away before sleeping, so that a
// ring costs one call less.
func (b *bell) waits(fd uintptr) bool {
	if b.slept {
		return true
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b.buf)), uintptr(len(b.buf)), syscall.MSG_DONTWAIT, 0, 0)
	if errno == 0 {
		b.heard += int(n)
	}
	b.slept = true
	if !b.look() {
		if !b.thread {
			return false
		}
		poll(fd)
	}
	return true
}

// poll waits until there is something to read, on this thread.
func poll(fd uintptr) {
	const readable = 1
	p := struct {
		fd          int32
		events, got int16
	}{int32(fd), readable, 0}
	for {
		if _, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, 0, 0, 0, 0); errno != syscall.EINTR {
			return
		}
	}
}

func (b *bell) close() {
	_ = b.conn.Close()
	b.far.close()
}

// ringer is the end of a socket that rings a bell.
type ringer struct {
	far *os.File
	raw syscall.RawConn
}

// newRinger takes the file over.
func newRinger(far *os.File) (*ringer, error) {
	raw, err := far.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, far.Close())
	}
	return &ringer{far, raw}, nil
}

// ring never waits. A socket that is full has rings in it that were not heard: one more is not needed.
func (r *ringer) ring() { _ = r.raw.Control(ring) }

var word = [1]byte{sayBytes}

func ring(fd uintptr) {
	_, _, _ = syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&word)), 1, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
}

func (r *ringer) close() { _ = r.far.Close() }
