// Package peer has what Weft is compared with: the chains of users' other choices, and those of the
// machine's own means. Each file is one peer: how its stages connect, and how its chain is made.
package peer

import (
	"bufio"
	"io"
	"net"
	"os"

	"github.com/weft-stream/weft/bench/stage"
)

// Stages are the peers that are chains of this binary's processes.
func Stages() map[string]stage.Peer {
	return map[string]stage.Peer{
		"pipe": byFiles, "unix": byFiles, "tcp": overTCP, "udp": overUDP, "futex": overFutex,
		"quic": overQUIC, "grpc": overGRPC, "nats": overNATS, "jetstream": overJetStream, "kafka": overKafka,
		"mesh-quic": overMeshQUIC, "mesh-shm": overMeshRing, "tls": overTLS,
	}
}

// bufferSize is what stream peers write at once under load.
const bufferSize = 64 << 10

// fixed reads messages of one size from a stream of bytes.
type fixed struct {
	r   *bufio.Reader
	buf []byte
	c   io.Closer
}

func newFixed(r io.Reader, size int) *fixed {
	f := &fixed{r: bufio.NewReaderSize(r, max(bufferSize, size)), buf: make([]byte, size)}
	f.c, _ = r.(io.Closer)
	return f
}

func (f *fixed) Next() ([]byte, error) {
	_, err := io.ReadFull(f.r, f.buf)
	return f.buf, err
}

func (f *fixed) More() bool { return f.r.Buffered() >= len(f.buf) }

func (f *fixed) Close() error {
	if f.c == nil {
		return nil
	}
	return f.c.Close()
}

// buffered writes messages to a stream of bytes.
type buffered struct{ w *bufio.Writer }

func newBuffered(w io.Writer) buffered { return buffered{bufio.NewWriterSize(w, bufferSize)} }

func (b buffered) Send(p []byte) error {
	_, err := b.w.Write(p)
	return err
}

func (b buffered) Flush() error { return b.w.Flush() }

// files turns a connected socket or listener into a descriptor for another process.
func files(c interface{ File() (*os.File, error) }) ([]*os.File, error) {
	f, err := c.File()
	if err != nil {
		return nil, err
	}
	return []*os.File{f}, nil
}

// loopback listens on a free port and gives the listener's descriptor to the receiver.
func loopback() (stage.Link, error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return stage.Link{}, err
	}
	defer l.Close()
	in, err := files(l)
	return stage.Link{Name: l.Addr().String(), In: in}, err
}

// loopbackUDP is loopback for datagrams.
func loopbackUDP() (stage.Link, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return stage.Link{}, err
	}
	defer c.Close()
	in, err := files(c)
	return stage.Link{Name: c.LocalAddr().String(), In: in}, err
}
