package attach

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// maxWrites bounds the writes that wait for an output. A worker has a few under way at a time.
const maxWrites = 256

// output writes what several incarnations of several slots send, each byte of each once. Its loop alone
// touches the file: a reader of our output that stalls must not keep other messages waiting.
type output struct {
	w      io.Writer
	what   string // "output" or "dead letters"
	have   map[pipeline.Slot]progress
	writes chan write
	broken chan<- error
}

type progress struct {
	incarnation uint64
	next        int64
}

// write is a slot's bytes at an offset of its incarnation's output.
type write struct {
	slot        pipeline.Slot
	incarnation uint64
	offset      int64
	b           []byte
	reply       func(control.Answer)
}

func newOutput(w io.Writer, what string, broken chan<- error) *output {
	return &output{w: w, what: what, have: map[pipeline.Slot]progress{}, writes: make(chan write, maxWrites), broken: broken}
}

var errStalled = errors.New("the output takes no bytes; try again")

// take hands a write to the loop. It never blocks.
func (o *output) take(w write) {
	select {
	case o.writes <- w:
	default:
		w.reply(control.Answer{Err: errStalled})
	}
}

func (o *output) writeLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case w := <-o.writes:
			w.reply(control.Answer{Err: o.do(w)})
		}
	}
}

func (o *output) do(w write) error {
	p := o.have[w.slot]
	switch {
	case w.incarnation < p.incarnation:
		return fmt.Errorf("%s: incarnation %d has been replaced by %d", w.slot, w.incarnation, p.incarnation)
	case w.incarnation > p.incarnation:
		p = progress{incarnation: w.incarnation}
	}
	if w.offset > p.next {
		return fmt.Errorf("%s: bytes %d to %d are missing", w.slot, p.next, w.offset)
	}
	if skip := p.next - w.offset; skip < int64(len(w.b)) {
		n, err := o.w.Write(w.b[skip:])
		p.next += int64(n)
		if err != nil {
			o.have[w.slot] = p
			err = fmt.Errorf("write the %s of %s: %w", o.what, w.slot, err)
			select {
			case o.broken <- err:
			default: // it was not the first
			}
			return err
		}
	}
	o.have[w.slot] = p
	return nil
}
