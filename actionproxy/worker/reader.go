package worker

import (
	"context"
	"sync"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// Bytes of a source are pulled in pieces, some of them ahead.
const (
	pullBytes = 256 << 10
	pullAhead = 2
)

// reader is the origin of a file or of stdin, which the user's weft has: it pulls bytes by way of the
// hook and cuts them into lines.
type reader struct {
	splitter
	format pipeline.Format
	last   bool // no bytes follow

	stop   context.CancelFunc
	loops  sync.WaitGroup
	pieces chan piece
}

// piece is what one pull has brought. Without bytes: the end, or why there is no more.
type piece struct {
	bytes []byte
	err   error
}

func newReader(ctx context.Context, s *slot, format pipeline.Format, position int64) *reader {
	r := &reader{splitter: splitter{from: position}, format: format, pieces: make(chan piece, pullAhead)}
	ctx, r.stop = context.WithCancel(ctx)
	from := s.transfer()
	from.Offset, from.Max = position, pullBytes
	r.loops.Go(func() { r.pullLoop(ctx, s.hook, from) })
	return r
}

func (r *reader) close() {
	r.stop()
	r.loops.Wait()
}

func (r *reader) position() int64 { return r.cut() }

// pullLoop pulls ahead until the end.
func (r *reader) pullLoop(ctx context.Context, hook *hookConn, from control.Transfer) {
	for {
		var reply control.TransferReply
		b, err := hook.insist(ctx, control.TypePull, from, nil, &reply, transferPatience)
		if err == nil && len(b) == 0 && !reply.EOF {
			err = pause(ctx, firstBackOff) // nothing there yet
			if err == nil {
				continue
			}
		}
		select {
		case r.pieces <- piece{b, err}:
		case <-ctx.Done():
			return
		}
		if err != nil || len(b) == 0 {
			return
		}
		from.Offset += int64(len(b))
	}
}

// next gives the next line as an event.
func (r *reader) next(ctx context.Context, wake <-chan struct{}) (made, error) {
	select {
	case <-wake:
		return made{}, errInterrupted
	default:
	}
	for {
		if l, ok := r.splitter.next(r.last); ok {
			payload, is, err := l.event(r.format)
			if !is {
				continue
			}
			if err != nil {
				payload = l.text
			}
			return made{position: l.position, payload: payload, failure: err}, nil
		}
		if r.last {
			return made{}, errFinished
		}
		select {
		case p := <-r.pieces:
			if p.err != nil {
				return made{}, p.err
			}
			r.feed(p.bytes)
			r.last = len(p.bytes) == 0
		case <-wake:
			return made{}, errInterrupted
		case <-ctx.Done():
			return made{}, ctx.Err()
		}
	}
}
