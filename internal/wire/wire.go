// Package wire is a connection that carries calls, answers and one-way messages in both directions, and
// descriptors over a Unix socket: between proxies, the weft command and the hook (internal/control has what
// they say), and between a proxy and a function that holds the mesh.
//
// On the wire a message is: length of the JSON part, u32 little-endian; length of the blob, u32;
// the JSON part {"t":type,"id":call,"re":answered call,"err":text,"b":body,"fds":number}; the blob. Over a
// Unix socket a message may bring descriptors, as many as fds says, with its first byte.
package wire

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weft-stream/weft/internal/shm"
)

// MaxMessage bounds JSON part plus blob, in bytes.
const MaxMessage = 16 << 20

// writeTimeout bounds how long a peer may refuse to take bytes before the connection is given up.
const writeTimeout = 10 * time.Second

// ErrClosed is returned by calls on a connection that has ended.
var ErrClosed = errors.New("wire: connection closed")

// RemoteError is an error that the other side answered a call with.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return e.Text }

// ErrFiles is the answer to sending descriptors over a connection that can't carry them.
var ErrFiles = errors.New("wire: descriptors travel over a Unix socket only")

// Message is one that arrived. Body and Blob belong to the receiver.
type Message struct {
	Type  string
	Body  json.RawMessage
	Blob  []byte
	files []*os.File
}

// Take gives the descriptors that came with the message, which are the caller's from now on. Those that
// are not taken before the handler returns are closed.
func (m *Message) Take() []*os.File {
	out := m.files
	m.files = nil
	return out
}

// Decode unmarshals the body into v.
func (m *Message) Decode(v any) error {
	if err := json.Unmarshal(m.Body, v); err != nil {
		return fmt.Errorf("decode %q message: %w", m.Type, err)
	}
	return nil
}

// Answer is what a handler answers a call with. Files stay the handler's, which may close them when
// reply has returned.
type Answer struct {
	Body  any
	Blob  []byte
	Files []*os.File
	Err   error
}

// Handler takes the messages of a connection, one after the other, in the order sent. It must not
// block. For a call (wants is true) it calls reply exactly once, at any time, from any goroutine.
type Handler func(m *Message, wants bool, reply func(Answer))

// Conn is a connection. All methods may be called from any goroutine.
type Conn struct {
	nc      net.Conn
	unix    *net.UnixConn // nc, if it is one: carries descriptors
	in      io.Reader     // readLoop's
	files   *shm.Reader   // in, if it carries descriptors
	handler Handler
	done    chan struct{}

	wmu  sync.Mutex
	wbuf []byte

	mu    sync.Mutex
	next  uint64
	calls map[uint64]chan result
	err   error
}

type result struct {
	m   *Message
	err error
}

type envelope struct {
	Type string          `json:"t"`
	ID   uint64          `json:"id,omitempty"`
	Re   uint64          `json:"re,omitempty"`
	Err  string          `json:"err,omitempty"`
	Body json.RawMessage `json:"b,omitempty"`
	FDs  int             `json:"fds,omitempty"`
}

// Shared is the body of a message to many: it is encoded once, whoever sends it first.
type Shared struct{ encode func() ([]byte, error) }

// Share makes a body that several connections may send. Nobody may change v from now on.
func Share(v any) *Shared {
	return &Shared{sync.OnceValues(func() ([]byte, error) { return json.Marshal(v) })}
}

// encode writes the JSON part around a body, which is neither copied by way of the encoder nor checked again.
func (e envelope) encode(body any) ([]byte, error) {
	var b []byte
	var err error
	switch body := body.(type) {
	case nil:
	case *Shared:
		b, err = body.encode()
	default:
		b, err = json.Marshal(body)
	}
	if err != nil {
		return nil, err
	}
	head, err := json.Marshal(e)
	if err != nil || b == nil {
		return head, err
	}
	return append(append(append(slices.Grow(head[:len(head)-1], len(b)+len(`,"b":}`)), `,"b":`...), b...), '}'), nil
}

// NewConn starts reading from nc. Close, or the end of nc, stops it.
func NewConn(nc net.Conn, h Handler) *Conn {
	c := &Conn{nc: nc, in: nc, handler: h, done: make(chan struct{}), calls: map[uint64]chan result{}}
	if c.unix, _ = nc.(*net.UnixConn); c.unix != nil {
		c.files = shm.NewReader(c.unix)
		c.in = c.files
	}
	go c.readLoop()
	return c
}

// Done is closed when the connection has ended; Err then tells why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection ended; nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// NetConn is the connection underneath, for peer credentials and addresses.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Close ends the connection and all open calls. It doesn't wait for the reader, which a handler may
// be in: a message that was read before may be handled after it.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	return nil
}

// Send sends a message that has no answer.
func (c *Conn) Send(typ string, body any, blob []byte) error {
	return c.write(envelope{Type: typ}, body, blob, nil)
}

// SendFiles sends a message that has no answer, with descriptors, which stay the caller's.
func (c *Conn) SendFiles(typ string, body any, files []*os.File) error {
	return c.write(envelope{Type: typ}, body, nil, files)
}

// Call sends a message and waits for its answer, whose body, if any, is decoded into reply unless that is nil.
// The answer's blob is returned. An error the other side answered is a *RemoteError.
func (c *Conn) Call(ctx context.Context, typ string, body any, blob []byte, reply any) ([]byte, error) {
	m, err := c.call(ctx, typ, body, blob, reply)
	if m == nil {
		return nil, err
	}
	shm.CloseAll(m.Take())
	return m.Blob, err
}

// CallFiles is Call for an answer that brings descriptors, which are the caller's.
func (c *Conn) CallFiles(ctx context.Context, typ string, body, reply any) ([]*os.File, error) {
	m, err := c.call(ctx, typ, body, nil, reply)
	if m == nil {
		return nil, err
	}
	if err != nil {
		shm.CloseAll(m.Take())
	}
	return m.Take(), err
}

func (c *Conn) call(ctx context.Context, typ string, body any, blob []byte, reply any) (*Message, error) {
	ch := make(chan result, 1)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	c.next++
	id := c.next
	c.calls[id] = ch
	c.mu.Unlock()
	if err := c.write(envelope{Type: typ, ID: id}, body, blob, nil); err != nil {
		c.forget(id, ch)
		return nil, err
	}
	select {
	case <-ctx.Done():
		c.forget(id, ch)
		return nil, fmt.Errorf("%s: %w", typ, ctx.Err())
	case r := <-ch:
		if r.err != nil {
			return nil, r.err
		}
		if reply == nil || len(r.m.Body) == 0 {
			return r.m, nil
		}
		return r.m, r.m.Decode(reply)
	}
}

// forget gives a call up. An answer that has come meanwhile is dropped, with its descriptors.
func (c *Conn) forget(id uint64, ch chan result) {
	c.mu.Lock()
	delete(c.calls, id)
	c.mu.Unlock()
	select {
	case r := <-ch:
		if r.m != nil {
			shm.CloseAll(r.m.Take())
		}
	default:
	}
}

func (c *Conn) write(e envelope, body any, blob []byte, files []*os.File) error {
	if len(files) > 0 && c.unix == nil {
		return ErrFiles
	}
	e.FDs = len(files)
	head, err := e.encode(body)
	if err != nil {
		return fmt.Errorf("encode %q message: %w", e.Type, err)
	}
	if len(head)+len(blob) > MaxMessage {
		return fmt.Errorf("%q message of %d bytes is over %d", e.Type, len(head)+len(blob), MaxMessage)
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	b := binary.LittleEndian.AppendUint32(c.wbuf[:0], uint32(len(head)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(blob)))
	b = append(append(b, head...), blob...)
	c.wbuf = b[:0]
	if cap(b) > 1<<20 {
		c.wbuf = nil
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := c.put(b, files); err != nil {
		c.fail(fmt.Errorf("write: %w", err))
		return ErrClosed
	}
	return nil
}

func (c *Conn) put(b []byte, files []*os.File) (err error) {
	if len(files) > 0 {
		_, err = shm.Write(c.unix, b, files)
	} else {
		_, err = c.nc.Write(b)
	}
	return err
}

func (c *Conn) readLoop() {
	if c.files != nil {
		defer c.files.Close()
	}
	for {
		e, m, err := c.read()
		if err != nil {
			c.fail(fmt.Errorf("read: %w", err))
			return
		}
		if e.Re != 0 {
			c.answer(e, m)
			continue
		}
		wants := e.ID != 0
		c.handler(m, wants, c.replier(e))
		shm.CloseAll(m.Take())
	}
}

// read takes a message with its descriptors.
func (c *Conn) read() (envelope, *Message, error) {
	e, m, err := read(c.in)
	if err != nil {
		return e, m, err
	}
	if c.files == nil {
		if e.FDs != 0 {
			err = ErrFiles
		}
		return e, m, err
	}
	m.files, err = c.files.Take(e.FDs)
	return e, m, err
}

func (c *Conn) replier(e envelope) func(Answer) {
	if e.ID == 0 {
		return func(Answer) {}
	}
	return func(a Answer) {
		out := envelope{Type: e.Type, Re: e.ID}
		if a.Err != nil {
			out.Err = a.Err.Error()
		}
		// The connection's end is what a failed write means; the caller sees that.
		if err := c.write(out, a.Body, a.Blob, a.Files); errors.Is(err, ErrFiles) {
			_ = c.write(envelope{Type: e.Type, Re: e.ID, Err: err.Error()}, nil, nil, nil)
		}
	}
}

// answer brings an answer to who waits for it. With mu held, so that who gives the call up meanwhile finds it.
func (c *Conn) answer(e envelope, m *Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.calls[e.Re]
	delete(c.calls, e.Re)
	switch {
	case ch == nil:
		shm.CloseAll(m.Take())
	case e.Err != "":
		shm.CloseAll(m.Take())
		ch <- result{err: &RemoteError{e.Err}}
	default:
		ch <- result{m: m}
	}
}

func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	_ = c.nc.Close()
	for id, ch := range c.calls {
		delete(c.calls, id)
		ch <- result{err: ErrClosed}
	}
	close(c.done)
}

func read(r io.Reader) (envelope, *Message, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return envelope{}, nil, err
	}
	n, blob := binary.LittleEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[4:])
	if uint64(n)+uint64(blob) > MaxMessage {
		return envelope{}, nil, fmt.Errorf("message of %d bytes is over %d", uint64(n)+uint64(blob), MaxMessage)
	}
	b, err := body(r, int(n)+int(blob))
	if err != nil {
		return envelope{}, nil, err
	}
	var e envelope
	if err := json.Unmarshal(b[:n], &e); err != nil {
		return envelope{}, nil, fmt.Errorf("message: %w", err)
	}
	return e, &Message{Type: e.Type, Body: e.Body, Blob: b[n:]}, nil
}

// body reads n bytes. Memory for a large message grows with what has come, not with what was announced.
func body(r io.Reader, n int) ([]byte, error) {
	const trusted = 256 << 10
	b := make([]byte, min(n, trusted))
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	for len(b) < n {
		have := len(b)
		b = append(b, make([]byte, min(n-have, have))...)
		if _, err := io.ReadFull(r, b[have:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}
