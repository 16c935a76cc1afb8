package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// maxCopied bounds the lines that are copied to have their newline behind them, in bytes.
const maxCopied = 64 << 10

var newline = []byte{'\n'}

// past as a deadline ends a read or write at once.
var past = time.Unix(1, 0)

// Exchange writes one line and returns the line that answers it, without its newline. Exchanges happen
// one after the other. When ctx ends before the answer comes, the next Exchange waits for that answer
// first and drops it, so that answers are never mixed up.
func (p *Process) Exchange(ctx context.Context, line []byte) ([]byte, error) {
	if err := p.take(ctx); err != nil {
		return nil, err
	}
	defer p.give()
	for p.owed > 0 {
		if _, err := p.read(ctx); err != nil && !errors.Is(err, ErrTooLong) {
			return nil, err
		}
		p.owed--
	}
	p.results.discard()
	if err := p.write(ctx, line); err != nil {
		return nil, err
	}
	answer, err := p.read(ctx)
	if err != nil && ctx.Err() != nil {
		p.owed++
	}
	return answer, err
}

// WriteLine writes a line that has no answer.
func (p *Process) WriteLine(line []byte) error {
	ctx := context.Background()
	if err := p.take(ctx); err != nil {
		return err
	}
	defer p.give()
	return p.write(ctx, line)
}

func (p *Process) take(ctx context.Context) error {
	select {
	case <-p.turn:
		return nil
	case <-p.done:
		return ErrExited
	case <-ctx.Done():
		return fmt.Errorf("wait for the function's earlier activation: %w", context.Cause(ctx))
	}
}

func (p *Process) give() { p.turn <- struct{}{} }

// write hands a line over, with its newline in one write: the function wakes once. A long one it reads in
// several goes anyway, and a copy would cost more than that.
func (p *Process) write(ctx context.Context, line []byte) error {
	stop := context.AfterFunc(ctx, func() { p.input.SetWriteDeadline(past) })
	defer stop()
	if len(line) > maxCopied {
		if err := p.writeRest(ctx, line, false); err != nil {
			return err
		}
		return p.writeRest(ctx, newline, true)
	}
	p.line = append(append(p.line[:0], line...), newline...)
	return p.writeRest(ctx, p.line, false)
}

// writeRest writes until nothing is left. Half a line can't be taken back: then the process is killed.
func (p *Process) writeRest(ctx context.Context, rest []byte, begun bool) error {
	for {
		n, err := p.input.Write(rest)
		rest, begun = rest[n:], begun || n > 0
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return p.ended()
		}
		p.input.SetWriteDeadline(time.Time{}) // it may be of a ctx before this one
		if ctx.Err() == nil {
			continue
		}
		if begun {
			p.Kill()
		}
		return fmt.Errorf("write activation: the function doesn't read: %w", context.Cause(ctx))
	}
}

// read waits for one line of the results.
func (p *Process) read(ctx context.Context) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { p.results.pipe.SetReadDeadline(past) })
	defer stop()
	last := false
	for {
		line, err := p.results.readLine()
		switch {
		case err == nil || errors.Is(err, ErrTooLong):
			return line, err
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, p.ended()
		}
		p.results.pipe.SetReadDeadline(time.Time{}) // it may be of a ctx before this one
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wait for the function's result: %w", context.Cause(ctx))
		}
		select {
		case <-p.done:
			if last {
				return nil, ErrExited // a grandchild holds the pipe open
			}
			last = true
			p.results.pipe.SetReadDeadline(time.Now().Add(linger))
		default:
		}
	}
}

// ended is called when a pipe has broken: the process is about to end, or is of no more use.
func (p *Process) ended() error {
	select {
	case <-p.done:
	case <-time.After(grace):
		p.Kill()
		<-p.done
	}
	return ErrExited
}
