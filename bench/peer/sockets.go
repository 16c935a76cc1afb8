package peer

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/weft-stream/weft/bench/stage"
)

// Pipe is a chain over pipes: this and the next ones are the kernel's own channels, as a reference for
// everything else.
func Pipe() stage.Chain { return stage.Chain{Peer: "pipe", Link: pipeLink} }

// Unix is a chain over stream sockets of the Unix domain.
func Unix() stage.Chain { return stage.Chain{Peer: "unix", Link: unixLink} }

// TCP is a chain over loopback connections.
func TCP() stage.Chain {
	return stage.Chain{Peer: "tcp", Link: func(int) (stage.Link, error) { return loopback() }}
}

// UDP is a chain over loopback datagrams.
func UDP() stage.Chain {
	return stage.Chain{Peer: "udp", Link: func(int) (stage.Link, error) { return loopbackUDP() }}
}

func pipeLink(int) (stage.Link, error) {
	r, w, err := os.Pipe()
	return stage.Link{In: []*os.File{r}, Out: []*os.File{w}}, err
}

func unixLink(int) (stage.Link, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return stage.Link{}, err
	}
	return stage.Link{In: []*os.File{os.NewFile(uintptr(fds[0]), "in")}, Out: []*os.File{os.NewFile(uintptr(fds[1]), "out")}}, nil
}

// byFiles are ends that are inherited descriptors.
func byFiles(_ context.Context, c *stage.Config) (in stage.In, out stage.Out, err error) {
	if c.In > 0 {
		r, err := pollable(c.InFile(0), c.Peer)
		if err != nil {
			return nil, nil, err
		}
		in = newFixed(r, c.Plan.Payload)
	}
	if c.Out > 0 {
		w, err := pollable(c.OutFile(0), c.Peer)
		if err != nil {
			return nil, nil, err
		}
		out = newBuffered(w)
	}
	return in, out, nil
}

// end is either side of a connection.
type end interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	Close() error
}

// pollable makes Go's scheduler wait for the descriptor, as it does for every socket of a Go program.
func pollable(f *os.File, peer string) (end, error) {
	if peer == "unix" {
		defer f.Close()
		return net.FileConn(f)
	}
	if err := unix.SetNonblock(int(f.Fd()), true); err != nil {
		return nil, fmt.Errorf("make a pipe pollable: %w", err)
	}
	return os.NewFile(f.Fd(), "pipe"), nil
}

func overTCP(ctx context.Context, c *stage.Config) (in stage.In, out stage.Out, err error) {
	if c.Index < c.Stages-1 {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp4", c.OutName())
		if err != nil {
			return nil, nil, err
		}
		out = newBuffered(conn)
	}
	if c.In > 0 {
		l, err := net.FileListener(c.InFile(0))
		if err != nil {
			return nil, nil, err
		}
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			return nil, nil, err
		}
		in = newFixed(conn, c.Plan.Payload)
	}
	return in, out, nil
}

// datagrams are the ends of UDP: one a message. Nothing is repeated, so it is for paced loads.
type datagrams struct {
	conn net.Conn
	buf  []byte
}

func (d *datagrams) Next() ([]byte, error) {
	n, err := d.conn.Read(d.buf)
	return d.buf[:n], err
}
func (d *datagrams) More() bool { return false }
func (d *datagrams) Send(b []byte) error {
	_, err := d.conn.Write(b)
	return err
}
func (d *datagrams) Flush() error { return nil }
func (d *datagrams) Close() error { return d.conn.Close() }

func overUDP(ctx context.Context, c *stage.Config) (in stage.In, out stage.Out, err error) {
	if c.Index < c.Stages-1 {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "udp4", c.OutName())
		if err != nil {
			return nil, nil, err
		}
		out = &datagrams{conn: conn}
	}
	if c.In > 0 {
		conn, err := net.FileConn(c.InFile(0))
		if err != nil {
			return nil, nil, err
		}
		in = &datagrams{conn: conn, buf: make([]byte, 64<<10)}
	}
	return in, out, nil
}
