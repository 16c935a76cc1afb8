package localwhisk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// sentinel ends an activation's output on each stream.
const sentinel = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"

// Bounds of log collection.
const (
	maxLineBytes   = 1 << 20
	maxBufferBytes = 12 << 20        // more than any log limit
	maxGap         = 2 * time.Second // between two lines while sentinels are missing
)

var errLogs = errors.New("localwhisk: log collection failed")

// logBuffer holds a container's output that no activation has taken yet.
type logBuffer struct {
	mu    sync.Mutex
	off   bool // nobody collects: lines go to the platform's own log
	lines []logLine
	bytes int
	more  chan struct{} // has a token when lines came
	log   zerolog.Logger
}

type logLine struct {
	at     time.Time
	stream string
	text   string
}

func newLogBuffer(off bool, log zerolog.Logger) *logBuffer {
	return &logBuffer{off: off, more: make(chan struct{}, 1), log: log}
}

func (b *logBuffer) setOff(off bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.off = off
}

// readLoop reads one stream to its end and closes it.
func (b *logBuffer) readLoop(r io.ReadCloser, stream string) {
	defer r.Close()
	rd := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for {
		part, err := rd.ReadSlice('\n')
		if room := maxLineBytes - len(line); len(part) > room {
			part = part[:max(0, room)]
		}
		line = append(line, part...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if len(line) > 0 {
			b.add(logLine{time.Now(), stream, strings.TrimRight(string(line), "\r\n")})
		}
		if err != nil {
			return
		}
		line = line[:0]
	}
}

func (b *logBuffer) add(l logLine) {
	b.mu.Lock()
	if b.off && !l.end() {
		b.log.Debug().Str("stream", l.stream).Msg(l.text)
	}
	if !b.off && (b.bytes < maxBufferBytes || l.end()) {
		b.lines = append(b.lines, l)
		b.bytes += len(l.text)
	}
	b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
}

func (l logLine) end() bool { return strings.Contains(l.text, sentinel) }

// String is the form in a record: time in 30 columns, stream, text.
func (l logLine) String() string {
	return fmt.Sprintf("%-30s %s: %s", l.at.UTC().Format(time.RFC3339Nano), l.stream, strings.TrimSpace(l.text))
}

// logSource is where a container's output is kept until an activation takes it.
type logSource interface {
	// take takes lines up to and with the given number of sentinels.
	take(ends int) ([]logLine, error)
	// ready has a token, or is closed, when it is time to look again.
	ready() <-chan struct{}
	setOff(bool) // nobody collects
}

// collect takes an activation's lines: up to both sentinels, or what is there
// if wait is false. On an error the lines end with what was the matter and
// the container must not be used again.
func collect(ctx context.Context, from logSource, limit int, wait bool) ([]string, error) {
	gap, total := time.NewTimer(maxGap), time.NewTimer(maxGap*time.Duration(max(5, limit>>20)))
	defer gap.Stop()
	defer total.Stop()
	const trouble = "There was an issue while collecting your logs. Data might be missing."
	var got []logLine
	size, ends := 0, 0
	cut := false
	for {
		lines, err := from.take(2 - ends)
		if err != nil {
			return render(got, trouble), fmt.Errorf("%w: %w", errLogs, err)
		}
		for _, l := range lines {
			if l.end() {
				ends++
				continue
			}
			if size += len(l.text); size > limit {
				cut = true
				continue
			}
			got = append(got, l)
		}
		switch {
		case cut && (ends == 2 || !wait):
			return render(got, fmt.Sprintf("Logs were truncated because the total bytes size exceeds the limit of %d bytes.", limit)), errLogs
		case ends == 2:
			return render(got, ""), nil
		case !wait:
			return render(got, ""), nil
		}
		if len(lines) > 0 {
			gap.Reset(maxGap)
		}
		select {
		case <-from.ready():
		case <-gap.C:
			return render(got, trouble), errLogs
		case <-total.C:
			return render(got, trouble), errLogs
		case <-ctx.Done():
			return render(got, ""), ctx.Err()
		}
	}
}

// take takes lines up to and with the given number of sentinels.
func (b *logBuffer) take(ends int) ([]logLine, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(b.lines) && ends > 0 {
		if b.lines[n].end() {
			ends--
		}
		b.bytes -= len(b.lines[n].text)
		n++
	}
	out := b.lines[:n:n]
	b.lines = b.lines[n:]
	if len(b.lines) == 0 {
		b.lines = nil
	}
	return out, nil
}

func (b *logBuffer) ready() <-chan struct{} { return b.more }

func render(lines []logLine, trouble string) []string {
	if trouble != "" {
		lines = append(lines, logLine{time.Now(), "stderr", trouble})
	}
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = l.String()
	}
	return out
}
