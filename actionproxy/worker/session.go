package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weft-stream/weft/actionproxy/process"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/buf"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// session is one function process's stream: a Unix socket with frames in both directions. When it can't
// go on, dead says why; the process is gone then.
type session struct {
	work    *work
	count   func([]byte) // takes what fused stages have counted
	process *process.Process
	timeout time.Duration // of one event
	conn    net.Conn
	in      *frame.Reader
	largest int // payload that an edge takes, in bytes
	life    int
	ready   chan struct{} // closed by the first Ready
	dead    chan string   // of one element

	once  sync.Once
	stop  chan struct{} // closed by close, and by the first loop that can't go on
	loops sync.WaitGroup
}

// openSession has the process connect, and waits until it says that it is ready.
func openSession(ctx context.Context, s *stream, p *process.Process) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := connectFunction(ctx, p, 0)
	if err != nil {
		return nil, err
	}
	o := &session{
		work: s.work, count: s.slot.outlet.CountFused, process: p, timeout: s.slot.timeout(), conn: conn, life: s.work.born(),
		in: frame.NewReader(conn, aloneFrom), largest: s.slot.outlet.Largest(),
		ready: make(chan struct{}), dead: make(chan string, 1), stop: make(chan struct{}),
	}
	o.loops.Go(o.writeLoop)
	o.loops.Go(o.readLoop)
	o.loops.Go(o.watchLoop)
	select {
	case <-o.ready:
		return o, nil
	case reason := <-o.dead:
		err = fmt.Errorf("start the function: it ended before it was ready: %s", reason)
	case <-ctx.Done():
		err = fmt.Errorf("start the function: it did not say that it is ready: %w", ctx.Err())
	}
	o.close()
	return nil, err
}

// connectFunction listens, tells the process where, and accepts its one connection. mesh is the version in
// which it is to hold the mesh; 0: it is to stream.
func connectFunction(ctx context.Context, p *process.Process, mesh int) (net.Conn, error) {
	dir, err := os.MkdirTemp("", "weft-stream-") // only ours
	if err != nil {
		return nil, fmt.Errorf("make a directory for the function's socket: %w", err)
	}
	defer os.RemoveAll(dir) // a connection needs no name any more
	path := filepath.Join(dir, "stream.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for the function: %w", err)
	}
	defer listener.Close()
	if err := p.Give(dir); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() { // a process that dies never connects
		select {
		case <-p.Done():
		case <-ctx.Done():
		case <-ended:
		}
		_ = listener.Close() // ends Accept
	}()
	line, err := json.Marshal(map[string]any{"weft": struct {
		Socket string `json:"socket"`
		Mesh   int    `json:"mesh,omitempty"`
	}{path, mesh}})
	if err == nil {
		err = p.WriteLine(line)
	}
	var conn net.Conn
	if err == nil {
		conn, err = listener.Accept()
	}
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("wait for the function to connect: %w", ctx.Err())
	case p.ExitReason() != "":
		return nil, fmt.Errorf("wait for the function to connect: it ended: %s", firstLines(p.ExitReason()))
	}
	return nil, fmt.Errorf("connect the function: %w", err)
}

// close ends the session. The process lives on if it can.
func (o *session) close() {
	o.end()
	o.loops.Wait()
}

func (o *session) end() bool {
	first := false
	o.once.Do(func() {
		first = true
		close(o.stop)
		_ = o.conn.Close() // ends the loops' reads and writes
		o.work.dismiss(o.life)
	})
	return first
}

// giveUp ends the session because the function can't go on; stalled is why it must be killed, or "".
func (o *session) giveUp(stalled string) {
	if o.end() {
		o.dead <- whyDead(o.process, stalled)
	}
}

// writeLoop gives the function its events, as many as there are with each write; a large one from where it is.
func (o *session) writeLoop() {
	var b feeding
	for {
		var err error
		if b, err = o.work.feed(o.life, b.bytes[:0]); err != nil {
			return
		}
		if _, err = o.conn.Write(b.bytes); err == nil && b.large != nil {
			_, err = o.conn.Write(b.large)
		}
		b.release()
		if err != nil {
			return // readLoop takes what was sent before, and then sees the end as well
		}
	}
}

// closeGrace is how long after its stream a process may take to end by itself.
const closeGrace = time.Second

// lost is the end of the connection. A process that has only closed its socket can't be worked with.
func (o *session) lost(err error) {
	select {
	case <-o.stop:
		return
	case <-o.process.Done():
		o.giveUp("")
	case <-time.After(closeGrace):
		o.giveUp(fmt.Sprintf("it closed its stream: %v", err))
	}
}

// watchLoop ends a process that doesn't get on with its events.
func (o *session) watchLoop() {
	tick := time.NewTicker(max(min(o.timeout/4, 5*time.Second), 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if o.work.idle() > o.timeout {
				o.giveUp(fmt.Sprintf("stalled: no event done and nothing sent within %v", o.timeout))
				return
			}
		case <-o.process.Done():
			// readLoop takes what was sent before. The limit is only felt where a grandchild has the socket.
			_ = o.conn.SetReadDeadline(time.Now().Add(closeGrace))
			return
		case <-o.stop:
			return
		}
	}
}

const (
	// headRoom is what key and headers may add to the frame of an output beside the payload, in bytes.
	headRoom = 256 << 10
	// aloneFrom is where a frame's body has a buffer of its own, on its way to a function and from it.
	aloneFrom = 1 << 20
)

// readLoop takes what the function sends.
func (o *session) readLoop() {
	for {
		if !o.in.More() {
			o.work.room()
		}
		f, err := o.in.Next()
		switch {
		case err == nil:
			err = o.take(&f)
		case errors.Is(err, frame.ErrBounds):
			err = o.takeLarge()
		default:
			o.lost(err)
			return
		}
		if err != nil {
			o.giveUp("broke the protocol: " + err.Error())
			return
		}
	}
}

// takeLarge is an output with a body of aloneFrom bytes or more. Of one that no edge takes nothing is kept: its
// event hears of it.
func (o *session) takeLarge() error {
	h, body, err := o.in.Body()
	if err != nil || h.Type != frame.Data && h.Type != frame.Failed {
		return frame.ErrBounds
	}
	f := frame.Frame{Header: h}
	passed, b := 0, (*buf.Buf)(nil)
	if h.PayloadLen() > o.largest || int(h.Length) > o.largest+headRoom {
		passed = h.PayloadLen()
		_, err = io.Copy(io.Discard, body)
	} else if b, err = readBody(body, int(h.Length)); err == nil {
		f = h.WithBody(b.B)
	}
	if err != nil {
		return nil // the next frame's read fails as this one has
	}
	out := outputOf(&f)
	out.Passed = passed
	return o.work.output(h.Attempt, h.Seq, out, b)
}

// readBody reads size bytes into a buffer, whose memory is there as they come.
func readBody(body io.Reader, size int) (*buf.Buf, error) {
	b := buf.Get(size)
	b.B = b.B[:size]
	if _, err := io.ReadFull(body, b.B); err != nil {
		b.Release()
		return nil, err
	}
	return b, nil
}

// take is one frame from the function.
func (o *session) take(f *frame.Frame) error {
	switch f.Type {
	case frame.Ready:
		select {
		case <-o.ready:
		default:
			close(o.ready)
		}
	case frame.Data, frame.Failed:
		out := outputOf(f)
		out.Payload = bytes.Clone(out.Payload)
		if len(f.ID)+len(f.Key)+len(f.Headers) > 0 {
			out.ID, out.Key, out.Headers, out.Failure = bytes.Clone(out.ID), bytes.Clone(out.Key), bytes.Clone(out.Headers), bytes.Clone(out.Failure)
		}
		return o.work.output(f.Attempt, f.Seq, out, nil)
	case frame.Error:
		return o.work.fail(f.Attempt, f.Seq, bytes.Clone(f.Payload))
	case frame.At:
		o.work.reached(f.Attempt, f.Seq, string(f.ID))
	case frame.Done:
		o.count(f.Payload)
		o.work.done(f.Attempt, f.Seq, f.Flags&frame.Cumulative != 0)
	case frame.End:
		o.count(f.Payload)
		o.work.ended(f.Attempt)
	}
	return nil // types of later versions are passed over
}

// outputOf is what a frame says.
func outputOf(f *frame.Frame) outlet.Output {
	out := outlet.Output{Edge: f.Edge, Event: quicmesh.Event{EventTime: f.EventTime, ID: f.ID, Key: f.Key, Headers: f.Headers, Payload: f.Payload}}
	if f.Type == frame.Failed {
		out.Failure, out.Key = f.Key, nil
	}
	return out
}
