package weft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/weft-stream/weft/quicmesh/frame"
)

const (
	flushSize = 64 << 10         // bytes of output that are written without waiting for more
	aloneSize = 1 << 20          // bytes of a payload that is written from where it is
	flushWait = time.Millisecond // that an output waits for those of later events, and one event's time
)

// stream handles the frames of one socket, one after the other.
type stream struct {
	conn  io.ReadWriter
	begin Begin

	handler Handler
	chain   *chain // the handler, if it is one of fused stages
	watch   watch
	ctx     *eventContext
	event   Event
	frame   frame.Frame // event's

	in      *frame.Reader
	out     []byte // not yet written
	attempt frame.Attempt
	seq     uint64 // of the event being handled; 0 at the end
	mark    int    // where this event's outputs begin in out; 0 once some were written
	done    uint64 // events up to here are finished
	told    uint64 // the proxy knows it up to here
	flushed time.Time
	enc     *encoder
	headers []byte
	failed  error // first failure of emit in this event
	broken  error // of the connection
}

// streamOver connects to the proxy's socket and serves it until the proxy closes it.
func streamOver(path string, begin Begin) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return fmt.Errorf("make stream socket: %w", err)
	}
	syscall.CloseOnExec(fd)
	conn := os.NewFile(uintptr(fd), path)
	defer conn.Close()
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("connect to stream socket %s: %w", path, err)
	}
	return newStream(conn, begin).run()
}

func newStream(conn io.ReadWriter, begin Begin) *stream {
	return &stream{conn: conn, begin: begin, in: frame.NewReader(conn, frame.MaxBody), enc: newEncoder()}
}

// run ends with nil when the proxy has gone, which is no concern of the function's.
func (s *stream) run() error {
	for s.broken == nil {
		if !s.in.More() {
			s.idle()
		}
		f, err := s.in.Next()
		if errors.Is(err, frame.ErrBounds) {
			return fmt.Errorf("read stream: %w", err)
		}
		if err != nil {
			return nil
		}
		if err := s.take(f); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) take(f frame.Frame) error {
	switch f.Type {
	case frame.Start:
		return s.start(f)
	case frame.Data:
		if s.handler == nil {
			return errors.New("read stream: an event before Start")
		}
		s.handle(f)
	case frame.End:
		if s.handler == nil {
			return errors.New("read stream: End before Start")
		}
		return s.end()
	}
	return nil // types of later protocol versions are passed over
}

// start begins an attempt: what the earlier one gathered is dropped with its handler.
func (s *stream) start(f frame.Frame) error {
	stage := &Stage{}
	if err := json.Unmarshal(f.Payload, stage); err != nil {
		return fmt.Errorf("decode Start: %w", err)
	}
	s.flush()
	s.attempt, s.done, s.told, s.seq, s.failed = f.Attempt, 0, 0, 0, nil
	s.handler = nil
	s.ctx = &eventContext{Context: context.Background(), stage: stage, put: s.put}
	h, err := start(s.begin, s.ctx, s.emit)
	if err == nil {
		err = s.failed
	}
	if err != nil {
		return err
	}
	s.handler = h
	if s.chain, _ = h.(*chain); s.chain != nil {
		err = s.watchBy(f.Payload)
	}
	if err != nil {
		return err
	}
	s.append(&frame.Frame{Header: frame.Header{Type: frame.Ready}})
	s.idle()
	return nil
}

func (s *stream) handle(f frame.Frame) {
	s.seq, s.mark, s.failed = f.Seq, len(s.out), nil
	s.frame = f
	s.event = Event{Payload: f.Payload, f: &s.frame}
	err := handle(s.handler, s.ctx, &s.event)
	if err == nil {
		err = s.failed
	}
	if err != nil {
		s.out = s.out[:s.mark]
		s.append(&frame.Frame{Header: frame.Header{Type: frame.Error, Seq: f.Seq}, Payload: failure(err)})
	}
	s.done = f.Seq
	s.watch.Careful = max(0, s.watch.Careful-1)
	if len(s.out) >= flushSize || time.Since(s.flushed) > flushWait {
		s.flush()
	}
}

func (s *stream) end() error {
	s.seq, s.failed = 0, nil
	s.flush()
	err := end(s.handler, s.ctx)
	if err == nil {
		err = s.failed
	}
	if err != nil {
		return fmt.Errorf("end function: %w", err)
	}
	s.append(&frame.Frame{Header: frame.Header{Type: frame.End}, Payload: s.chain.counts()})
	s.flush()
	return nil
}

func (s *stream) emit(out Output) {
	if s.handler == nil {
		s.failed = errors.New("emit: only Event and End can emit")
	}
	if s.failed != nil || s.broken != nil {
		return
	}
	payload, err := s.enc.payload(&out)
	if err != nil {
		s.failed = err
		return
	}
	if payload == nil {
		return
	}
	f := frame.Frame{Header: frame.Header{Type: frame.Data}, Payload: payload}
	if f.Edge, s.failed = s.ctx.stage.edge(out.To); s.failed != nil {
		return
	}
	if s.headers, s.failed = out.describe(&f, s.headers[:0]); s.failed != nil {
		return
	}
	s.put(&f)
}

// put writes a frame that belongs to the event being handled.
func (s *stream) put(f *frame.Frame) {
	f.Seq = s.seq
	if f.Check() != nil {
		s.failed = fmt.Errorf("emit: payload, key and headers of %d bytes, at most %d", f.Size()-frame.HeaderSize, frame.MaxBody)
		return
	}
	s.append(f)
	if len(s.out) >= flushSize {
		s.write()
	}
}

// describe adds what the output has of its own: most have nothing. buf is for the headers.
func (out *Output) describe(f *frame.Frame, buf []byte) ([]byte, error) {
	if out.Key != "" {
		f.Key = []byte(out.Key)
	}
	if !out.Time.IsZero() {
		f.EventTime = out.Time.UnixMicro()
	}
	if len(out.Headers) == 0 {
		f.Headers = buf
		return buf, nil
	}
	for name, value := range out.Headers {
		if len(name) > 0xFFFF || len(value) > 0xFFFF {
			return buf, fmt.Errorf("emit: header %.40q is longer than 65535 bytes", name)
		}
		buf = frame.AppendHeader(buf, name, value)
	}
	f.Headers = buf
	return buf, nil
}

// edge is the number of the edge that leads to a stage; of all edges if to is "".
func (s *Stage) edge(to string) (uint16, error) {
	if to == "" {
		return frame.AllEdges, nil
	}
	edge, ok := s.Edges[to]
	if !ok {
		return 0, fmt.Errorf("emit: stage %s has no edge to %q", s.Name, to)
	}
	return edge, nil
}

func (s *stream) append(f *frame.Frame) {
	f.Attempt = s.attempt
	if len(f.Payload) < aloneSize {
		s.out = f.Append(s.out)
		return
	}
	s.out = f.AppendHead(s.out)
	s.write()
	if s.broken == nil {
		_, s.broken = s.conn.Write(f.Payload)
	}
}

// flush tells what is finished and writes everything.
func (s *stream) flush() {
	if s.done > s.told {
		s.append(&frame.Frame{Header: frame.Header{Type: frame.Done, Flags: frame.Cumulative, Seq: s.done}, Payload: s.chain.counts()})
		s.told = s.done
	}
	s.write()
	s.flushed = time.Now()
}

// idle is called when there is no more input for now: nothing waits, and neither will the first output
// that follows.
func (s *stream) idle() {
	s.flush()
	s.flushed = time.Time{}
}

// write hands the outputs over. The proxy always reads, so this doesn't wait for long.
func (s *stream) write() {
	if len(s.out) > 0 && s.broken == nil {
		_, s.broken = s.conn.Write(s.out)
	}
	s.out, s.mark = s.out[:0], 0
	if cap(s.out) > 1<<20 {
		s.out = nil
	}
}
