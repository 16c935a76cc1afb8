package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrTooLong is in the error of an Exchange whose answer is longer than MaxLine.
var ErrTooLong = errors.New("result too long")

const resultBuffer = 64 << 10

// results reads lines from a process's file descriptor 3. It keeps what was read when a read is
// interrupted by a deadline.
type results struct {
	pipe    *os.File
	buf     []byte // read; the lines before head are given out
	head    int
	scanned int  // no newline in buf[head:scanned]
	skip    bool // the current line is too long: forget it up to its end
	long    int  // length of the last long line: the next long one may be as long
}

func newResults(pipe *os.File) *results {
	return &results{pipe: pipe, buf: make([]byte, 0, resultBuffer)}
}

// readLine returns the next line, which is the caller's to keep.
func (r *results) readLine() ([]byte, error) {
	for {
		if i := bytes.IndexByte(r.buf[r.scanned:], '\n'); i >= 0 {
			line := r.cut(r.scanned + i)
			if r.skip {
				r.skip = false
				return nil, fmt.Errorf("%w: more than %d MiB", ErrTooLong, MaxLine>>20)
			}
			return line, nil
		}
		r.scanned = len(r.buf)
		if len(r.buf)-r.head > MaxLine {
			r.skip = true
			r.buf, r.head, r.scanned = make([]byte, 0, resultBuffer), 0, 0
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// cut takes the line off that ends before the newline at end. A long one takes its buffer with it.
func (r *results) cut(end int) []byte {
	line, rest := r.buf[r.head:end:end], r.buf[end+1:]
	if len(line) < resultBuffer {
		r.head, r.scanned = end+1, end+1
		return bytes.Clone(line)
	}
	r.long = len(line)
	r.buf = append(make([]byte, 0, max(resultBuffer, len(rest))), rest...)
	r.head, r.scanned = 0, 0
	return line
}

// fill reads more behind what is there.
func (r *results) fill() error {
	if r.head == len(r.buf) {
		r.buf, r.head, r.scanned = r.buf[:0], 0, 0
	}
	if len(r.buf) == cap(r.buf) {
		grown := make([]byte, len(r.buf)-r.head, min(max(4*cap(r.buf), r.long+resultBuffer), MaxLine+resultBuffer))
		copy(grown, r.buf[r.head:])
		r.buf, r.scanned, r.head = grown, r.scanned-r.head, 0
	}
	n, err := r.pipe.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// discard forgets lines that nobody asked for: a function's slip must not answer the next activation.
func (r *results) discard() {
	for {
		r.buf, r.head, r.scanned, r.skip = r.buf[:0], 0, 0, false
		if !r.pending() || r.fill() != nil {
			return
		}
	}
}

func (r *results) pending() bool {
	raw, err := r.pipe.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	_ = raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return err == nil && n > 0
}
