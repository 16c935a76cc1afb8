package attach

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// maxWrites bounds the writes that wait for an output. A worker has a few under way at a time.
const maxWrites = 256

// output writes what several incarnations of several slots send, each byte of each once and in whole lines: a
// long one comes in several parts. Its loop alone touches the file: a reader of our output that stalls must
// not keep other messages waiting.
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
	kept        []byte // of the bytes before next, those that are not written
	whole       int    // bytes of kept that are whole lines, which could not be written
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
	err := p.write(o.w, w.b[min(p.next-w.offset, int64(len(w.b))):])
	o.have[w.slot] = p
	if err != nil {
		err = fmt.Errorf("write the %s of %s: %w", o.what, w.slot, err)
		select {
		case o.broken <- err:
		default: // it was not the first
		}
	}
	return err
}

// write takes the bytes that follow, and writes what whole lines there are.
func (p *progress) write(w io.Writer, b []byte) error {
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
		p.whole = len(p.kept) + i + 1
	}
	p.next += int64(len(b))
	lines := b
	if len(p.kept) > 0 || p.whole == 0 {
		lines = append(p.kept, b...)
	}
	if p.kept = lines; p.whole == 0 {
		return nil
	}
	n, err := w.Write(lines[:p.whole])
	p.kept, p.whole = append([]byte(nil), lines[n:]...), p.whole-n
	return err
}
