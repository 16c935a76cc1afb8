package worker

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// Bounds of the lines that wait to be sent, and of a line.
const (
	maxLogLines = 2000
	maxLogBatch = 200
	maxLogLine  = 16 << 10 // bytes
	logInterval = 100 * time.Millisecond
	cutMark     = " …" // ends a line that was longer
)

// logs sends what a function prints, and the proxy's own words, to the hook in batches. When the hook is
// slow or away, lines beyond the bound are dropped and counted: a function never waits for its log.
type logs struct {
	send func([]control.Printed) error

	mu      sync.Mutex
	trace   func() string // of the event in work; nil where no function has any
	lines   []control.Printed
	dropped int
	wake    chan struct{} // of one element: there are lines
}

func newLogs(send func([]control.Printed) error) *logs {
	return &logs{send: send, wake: make(chan struct{}, 1)}
}

// say adds a line of the proxy's own.
func (l *logs) say(format string, args ...any) { l.add("proxy", fmt.Sprintf(format, args...), "") }

// print adds a line of the function's.
func (l *logs) print(stream, text string) {
	trace := ""
	if f := l.tracer(); f != nil {
		trace = f()
	}
	l.add(stream, text, trace)
}

func (l *logs) tracer() func() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trace
}

// traceBy says who knows the event in work.
func (l *logs) traceBy(f func() string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trace = f
}

func (l *logs) add(stream, text, trace string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) >= maxLogLines {
		l.dropped++
		return
	}
	l.lines = append(l.lines, control.Printed{Stream: stream, TimeMS: time.Now().UnixMilli(), Trace: trace, Text: text})
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// sendLoop runs until ctx ends and sends what there is then.
func (l *logs) sendLoop(ctx context.Context) {
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			l.flush()
			return
		}
		// A moment for more: one message carries many lines.
		_ = pause(ctx, logInterval)
		if !l.flush() {
			_ = pause(ctx, 10*logInterval)
			l.again()
		}
	}
}

func (l *logs) again() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// flush sends batches until nothing is left, and reports whether it could.
func (l *logs) flush() bool {
	for {
		batch := l.batch()
		if len(batch) == 0 {
			return true
		}
		if l.send(batch) != nil {
			return false
		}
		l.sent(len(batch))
	}
}

// batch gives the first lines; they stay until sent.
func (l *logs) batch() []control.Printed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines[:min(len(l.lines), maxLogBatch)])
}

func (l *logs) sent(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = slices.Delete(l.lines, 0, n)
	if l.dropped > 0 {
		text := fmt.Sprintf("%d lines were dropped: the hook is slower than the function prints", l.dropped)
		l.lines = append(l.lines, control.Printed{Stream: "proxy", TimeMS: time.Now().UnixMilli(), Text: text})
		l.dropped = 0
	}
}

// writer takes a stream's bytes and cuts them into lines.
func (l *logs) writer(stream string) *lineWriter { return &lineWriter{logs: l, stream: stream} }

// lineWriter never fails and never blocks for long.
type lineWriter struct {
	logs   *logs
	stream string

	mu   sync.Mutex
	rest []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			w.rest = append(w.rest, b...)
			break
		}
		w.rest = append(w.rest, b[:i]...)
		w.emit()
		b = b[i+1:]
	}
	if len(w.rest) > maxLogLine {
		w.emit()
	}
	return n, nil
}

func (w *lineWriter) emit() {
	text := w.rest
	if len(text) > maxLogLine {
		text = append(text[:maxLogLine-len(cutMark):maxLogLine-len(cutMark)], cutMark...)
	}
	w.logs.print(w.stream, string(bytes.ToValidUTF8(text, []byte("\uFFFD"))))
	w.rest = w.rest[:0]
}

// logSender tells what the slot's lines are of.
func logSender(hook *hookConn, a *control.Assignment) func([]control.Printed) error {
	return func(lines []control.Printed) error {
		return hook.send(control.TypeLog, control.Log{Namespace: a.Namespace, Pipeline: a.Pipeline.Name, Slot: a.Slot, Lines: lines})
	}
}
