package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/transport"
)

const (
	// trusted is how long after its last use a link is taken for good. After that it is asked: the container
	// may have been frozen, or the ingress's worker replaced.
	trusted   = time.Second
	probeWait = 500 * time.Millisecond
)

// gateLink is a stream to the ingress's worker; guest.go is its other end. Its methods belong to whoever
// has the gate's turn.
type gateLink struct {
	transport   transport.Transport
	stream      transport.Stream
	incarnation uint64 // that it was made for
	answers     chan frame.Frame
	closed      chan struct{}
	ended       chan struct{} // closed when readLoop has ended, for the reason err
	err         error
	seq         uint64 // of the last frame sent
	used        time.Time
}

func newGateLink(t transport.Transport, s transport.Stream, incarnation uint64) *gateLink {
	l := &gateLink{transport: t, stream: s, incarnation: incarnation, answers: make(chan frame.Frame), closed: make(chan struct{}),
		ended: make(chan struct{}), used: time.Now()}
	go l.readLoop()
	return l
}

// readLoop takes answers until the stream ends; close waits for it.
func (l *gateLink) readLoop() {
	defer close(l.ended)
	frames := frame.NewReader(l.stream, maxResultBytes+1<<20)
	for {
		f, err := frames.Next()
		if err != nil {
			l.err = err
			return
		}
		f.Payload = bytes.Clone(f.Payload)
		select {
		case l.answers <- f:
		case <-l.closed:
			l.err = errStopped
			return
		}
	}
}

// works says whether the ingress's worker is still at the other end.
func (l *gateLink) works(ctx context.Context) bool {
	if time.Since(l.used) > trusted {
		ctx, cancel := context.WithTimeout(ctx, probeWait)
		defer cancel()
		_, err := l.exchange(ctx, frame.Hello, nil)
		return err == nil
	}
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

// exchange sends a frame and waits for its answer. After an error the link is of no more use.
func (l *gateLink) exchange(ctx context.Context, typ frame.Type, payload []byte) (frame.Frame, error) {
	l.seq++
	f := frame.Frame{Header: frame.Header{Type: typ, Seq: l.seq, EventTime: time.Now().UnixMicro()}, Payload: payload}
	stop := context.AfterFunc(ctx, func() { l.stream.Close() }) // a write that blocks
	_, err := l.stream.Write(f.Append(nil))
	if !stop() || err != nil {
		return f, errors.Join(ctx.Err(), err)
	}
	select {
	case f := <-l.answers:
		if f.Seq != l.seq {
			return f, fmt.Errorf("the answer to %d came instead of that to %d", f.Seq, l.seq)
		}
		l.used = time.Now()
		return f, nil
	case <-l.ended:
		return f, l.err
	case <-ctx.Done():
		return f, ctx.Err()
	}
}

func (l *gateLink) close() {
	close(l.closed)
	l.stream.Close()
	_ = l.transport.Close() // the peer sees the end, however that goes
	<-l.ended
}
