package memnet

import (
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// conn is one stream with its two directions and two ends.
type conn struct {
	net     *Network
	addrs   pair
	dialler string // its address

	mu     sync.Mutex
	cond   *sync.Cond // broadcast on every change below
	random *rand.Rand // nil without a seed
	forth  pipe       // dialler to acceptor
	back   pipe
	open   int // ends not closed yet
}

// pipe is one direction. Its fields belong to the conn's mutex.
type pipe struct {
	chunks   []chunk
	size     int   // bytes in chunks, at most bufferSize
	ended    bool  // the writer has closed: io.EOF after the last chunk
	readErr  error // set: reads fail with it
	writeErr error // set: writes fail with it
}

// chunk is what one write put in, readable from ready on.
type chunk struct {
	bytes []byte
	ready time.Time
}

// stream is one end of a conn.
type stream struct {
	conn    *conn
	in, out *pipe
	peer    transport.Identity
	closed  bool // belongs to the conn's mutex
}

func newConn(n *Network, dialler, acceptor string, number uint64) *conn {
	c := &conn{net: n, addrs: pairOf(dialler, acceptor), dialler: dialler, open: 2}
	c.cond = sync.NewCond(&c.mu)
	if n.seed != 0 {
		c.random = rand.New(rand.NewPCG(n.seed, number))
	}
	return c
}

// fail breaks both directions and loses what is in them. The end at the address closer, if any, has
// done it itself.
func (c *conn) fail(closer string) {
	dialler, acceptor := ErrCut, ErrCut
	switch closer {
	case "":
	case c.dialler:
		dialler = transport.ErrClosed
	default:
		acceptor = transport.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forth.stopReading(acceptor)
	c.forth.stopWriting(dialler)
	c.back.stopReading(dialler)
	c.back.stopWriting(acceptor)
	c.cond.Broadcast()
}

func (p *pipe) stopReading(err error) {
	p.chunks, p.size = nil, 0
	if p.readErr == nil {
		p.readErr = err
	}
}

func (p *pipe) stopWriting(err error) {
	if p.writeErr == nil {
		p.writeErr = err
	}
}

func (s *stream) Peer() transport.Identity { return s.peer }

func (s *stream) Read(b []byte) (int, error) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	for {
		switch {
		case s.in.readErr != nil:
			return 0, s.in.readErr
		case len(b) == 0:
			return 0, nil
		case len(s.in.chunks) > 0:
			wait := time.Until(s.in.chunks[0].ready)
			if wait <= 0 {
				return s.in.read(b, s.conn), nil
			}
			alarm := time.AfterFunc(wait, func() {
				s.conn.mu.Lock()
				defer s.conn.mu.Unlock()
				s.conn.cond.Broadcast()
			})
			s.conn.cond.Wait()
			alarm.Stop()
		case s.in.ended:
			return 0, io.EOF
		default:
			s.conn.cond.Wait()
		}
	}
}

// read takes bytes of the first chunk.
func (p *pipe) read(b []byte, c *conn) int {
	first := &p.chunks[0]
	n := min(len(b), len(first.bytes))
	if c.random != nil {
		n = 1 + c.random.IntN(n)
	}
	copy(b, first.bytes[:n])
	first.bytes = first.bytes[n:]
	if len(first.bytes) == 0 {
		p.chunks = p.chunks[1:]
	}
	p.size -= n
	c.cond.Broadcast()
	return n
}

func (s *stream) Write(b []byte) (int, error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	written := 0
	for {
		if s.out.writeErr != nil {
			return written, s.out.writeErr
		}
		if written == len(b) {
			return written, nil
		}
		space := min(bufferSize-s.out.size, len(b)-written)
		if space == 0 {
			c.cond.Wait()
			continue
		}
		s.out.write(b[written:written+space], time.Now().Add(c.net.delay(c.addrs, c.random)))
		written += space
		c.cond.Broadcast()
	}
}

// write adds a chunk. Nothing overtakes: it is ready no earlier than the one before.
func (p *pipe) write(b []byte, ready time.Time) {
	if last := len(p.chunks) - 1; last >= 0 && p.chunks[last].ready.After(ready) {
		ready = p.chunks[last].ready
	}
	p.chunks = append(p.chunks, chunk{append([]byte(nil), b...), ready})
	p.size += len(b)
}

func (s *stream) Close() error {
	c := s.conn
	c.mu.Lock()
	if !s.closed {
		s.closed = true
		c.open--
		s.in.stopReading(transport.ErrClosed)
		s.in.stopWriting(io.ErrClosedPipe)
		s.out.stopWriting(transport.ErrClosed)
		s.out.ended = true
		c.cond.Broadcast()
	}
	both := c.open == 0
	c.mu.Unlock()
	if both {
		c.net.forget(c)
	}
	return nil
}
