package process

import (
	"bytes"
	"io"
	"os"
	"sync"
	"syscall"
)

const (
	maxOutputLine = 64 << 10 // a longer line is cut into several
	tailSize      = 2 << 10  // bytes of last words
)

// Sentinel is the line that ends an activation's log on each stream.
const Sentinel = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"

// masked stands for a sentinel that a function prints: collectors would take it for the end of the log.
const masked = "(sentinel removed)"

// output forwards one stream of a process line by line. The pipe doesn't block, so that its bytes are
// taken and forwarded under one lock, by whoever comes: the loop, or drain, which thereby knows that
// nothing is on its way.
type output struct {
	pipe *os.File
	raw  syscall.RawConn

	mu   sync.Mutex
	to   io.Writer
	line []byte // begun, not ended
	tail []byte // the last bytes of the stream
	buf  []byte
}

func newOutput(pipe *os.File, to io.Writer) (*output, error) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return nil, err
	}
	o := &output{pipe: pipe, raw: raw, buf: make([]byte, 32<<10)}
	o.set(to)
	return o, nil
}

func (o *output) set(to io.Writer) {
	if to == nil {
		to = io.Discard
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.to = to
}

func (o *output) writer() io.Writer {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.to
}

// loop forwards until the stream's end, or until the pipe is closed on this side.
func (o *output) loop() {
	_ = o.raw.Read(func(fd uintptr) bool { return o.take(int(fd)) }) // fails only for a closed pipe
}

// drain forwards what is in the pipe.
func (o *output) drain() {
	_ = o.raw.Control(func(fd uintptr) { o.take(int(fd)) }) // a closed pipe has been drained before
	o.mu.Lock()
	defer o.mu.Unlock()
	o.endLine()
}

// take forwards all that is there. It reports whether the stream has ended.
func (o *output) take(fd int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		n, err := syscall.Read(fd, o.buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return false
		case err != nil || n == 0:
			return true
		}
		o.forward(o.buf[:n])
	}
}

func (o *output) forward(b []byte) {
	o.tail = append(o.tail, b...)
	if over := len(o.tail) - tailSize; over > 0 {
		o.tail = o.tail[:copy(o.tail, o.tail[over:])]
	}
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			end = len(b)
		}
		end = min(end, maxOutputLine-len(o.line))
		o.line = append(o.line, b[:end]...)
		b = b[end:]
		switch {
		case len(b) > 0 && b[0] == '\n':
			b = b[1:]
			o.write()
		case len(o.line) == maxOutputLine:
			o.write()
		}
	}
}

func (o *output) endLine() {
	if len(o.line) > 0 {
		o.write()
	}
}

// write forwards the line. A writer that fails loses it: a log is no reason to end a function.
func (o *output) write() {
	line := o.line
	if bytes.Contains(line, []byte(Sentinel)) {
		line = bytes.ReplaceAll(line, []byte(Sentinel), []byte(masked))
	}
	_, _ = o.to.Write(append(line, '\n'))
	o.line = o.line[:0]
}

// lastWords are the stream's last whole lines.
func (o *output) lastWords() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	tail := o.tail
	if len(tail) == tailSize {
		_, tail, _ = bytes.Cut(tail, []byte("\n"))
	}
	return string(bytes.TrimSpace(tail))
}
