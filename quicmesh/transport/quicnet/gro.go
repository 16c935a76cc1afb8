package quicnet

import (
	"encoding/binary"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// merged is a UDP socket whose kernel hands over as one what one sender has sent at once: a way through the kernel for
// up to 64 KiB, instead of for each packet. quic-go sends so, and reads by ReadBatch, from one goroutine.
type merged struct {
	*net.UDPConn
	in, out  call
	buf, oob []byte

	rest []byte // of buf: read and not given out yet
	size int    // of each packet in rest but the last
	told []byte // of oob
	from *net.UDPAddr
}

const (
	mergedMost = 64 << 10
	oobMost    = 128
)

// merge has the kernel do that, where it can.
func merge(c net.PacketConn) net.PacketConn {
	udp, ok := c.(*net.UDPConn)
	if !ok {
		return c
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return c
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) })
	if err != nil || refused != nil {
		return c
	}
	m := &merged{UDPConn: udp, buf: make([]byte, mergedMost), oob: make([]byte, oobMost)}
	local, _ := udp.LocalAddr().(*net.UDPAddr)
	m.in.prepare("recvmsg", unix.SYS_RECVMSG, raw.Read)
	m.out.prepare("sendmsg", unix.SYS_SENDMSG, raw.Write)
	m.out.four = local != nil && local.IP.To4() != nil
	return m
}

// WriteMsgUDP is net.UDPConn's.
func (m *merged) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	if len(b) == 0 || to == nil || to.Zone != "" || m.out.four && to.IP.To4() == nil {
		return m.UDPConn.WriteMsgUDP(b, oob, to)
	}
	if err := m.out.send(b, oob, to); err != nil {
		return 0, 0, err
	}
	return len(b), len(oob), nil
}

// ReadBatch gives one packet to each message, as far as there are some; at least one.
func (m *merged) ReadBatch(to []ipv4.Message, _ int) (n int, err error) {
	if len(m.rest) == 0 {
		if err := m.read(); err != nil {
			return 0, err
		}
	}
	for n == 0 || n < len(to) && len(m.rest) > 0 {
		packet := m.rest[:min(m.size, len(m.rest))]
		m.rest = m.rest[len(packet):]
		msg := &to[n]
		msg.N, msg.NN, msg.Addr, msg.Flags = copy(msg.Buffers[0], packet), copy(msg.OOB, m.told), m.from, 0
		n++
	}
	return n, nil
}

// read takes what the kernel has, and how large the packets in it are.
func (m *merged) read() error {
	n, told, from, err := m.in.receive(m.buf, m.oob)
	if err != nil {
		return err
	}
	m.rest, m.size, m.told, m.from = m.buf[:n], n, m.oob[:told], from
	for left := m.told; len(left) > 0; {
		header, body, more, err := unix.ParseOneSocketControlMessage(left)
		if err != nil {
			break
		}
		if header.Level == unix.IPPROTO_UDP && header.Type == unix.UDP_GRO && len(body) >= 4 {
			if size := int(binary.NativeEndian.Uint32(body)); size > 0 {
				m.size = size
			}
		}
		left = more
	}
	return nil
}
