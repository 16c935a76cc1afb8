package quicnet

import (
	"encoding/binary"
	"net"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is one direction of a UDP socket, whose calls don't block and don't tell Go's scheduler that they could: in a
// process that was asleep that wakes one more thread, which looks after those that do.
type call struct {
	name   string
	number uintptr
	four   bool // it has addresses of IPv4
	wait   func(func(fd uintptr) bool) error
	try    func(fd uintptr) bool // once: false when the socket isn't ready

	mu      sync.Mutex // of the rest
	message unix.Msghdr
	part    unix.Iovec
	addr    unix.RawSockaddrInet6 // the larger one
	n       int
	err     error
}

func (c *call) prepare(name string, number uintptr, wait func(func(fd uintptr) bool) error) {
	c.name, c.number, c.wait = name, number, wait
	c.try = func(fd uintptr) bool {
		for {
			n, _, e := unix.RawSyscall(c.number, fd, uintptr(unsafe.Pointer(&c.message)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			switch e {
			case 0:
				c.n, c.err = int(n), nil
			case unix.EAGAIN:
				return false
			case unix.EINTR:
				continue
			default:
				c.n, c.err = 0, os.NewSyscallError(c.name, e)
			}
			return true
		}
	}
}

// do makes the call with b and oob, and an address of so many bytes. The caller holds mu.
func (c *call) do(b, oob []byte, addr uint32) error {
	c.part.Base = &b[0]
	c.part.SetLen(len(b))
	c.message = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&c.addr)), Namelen: addr, Iov: &c.part}
	c.message.SetIovlen(1)
	if len(oob) > 0 {
		c.message.Control = &oob[0]
		c.message.SetControllen(len(oob))
	}
	if err := c.wait(c.try); err != nil {
		return err
	}
	return c.err
}

func (c *call) receive(b, oob []byte) (n, told int, from *net.UDPAddr, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.do(b, oob, unix.SizeofSockaddrInet6); err != nil {
		return 0, 0, nil, err
	}
	port := (*[2]byte)(unsafe.Pointer(&c.addr.Port))
	from = &net.UDPAddr{Port: int(binary.BigEndian.Uint16(port[:]))}
	if c.addr.Family == unix.AF_INET {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(&c.addr))
		from.IP = append(net.IP(nil), four.Addr[:]...)
	} else {
		from.IP = append(net.IP(nil), c.addr.Addr[:]...)
		if c.addr.Scope_id != 0 {
			if i, err := net.InterfaceByIndex(int(c.addr.Scope_id)); err == nil {
				from.Zone = i.Name
			}
		}
	}
	return c.n, int(c.message.Controllen), from, nil
}

func (c *call) send(b, oob []byte, to *net.UDPAddr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	port := (*[2]byte)(unsafe.Pointer(&c.addr.Port))
	binary.BigEndian.PutUint16(port[:], uint16(to.Port)) // in the same place of both
	if c.four {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(&c.addr))
		four.Family = unix.AF_INET
		copy(four.Addr[:], to.IP.To4())
		return c.do(b, oob, unix.SizeofSockaddrInet4)
	}
	c.addr.Family, c.addr.Flowinfo, c.addr.Scope_id = unix.AF_INET6, 0, 0
	copy(c.addr.Addr[:], to.IP.To16())
	return c.do(b, oob, unix.SizeofSockaddrInet6)
}
