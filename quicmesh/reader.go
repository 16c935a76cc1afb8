package quicmesh

import (
	"errors"
	"fmt"
	"io"

	"github.com/weft-stream/weft/quicmesh/buf"
	"github.com/weft-stream/weft/quicmesh/frame"
)

const (
	readSize     = 64 << 10  // one read takes at most this of small frames
	mostRead     = 512 << 10 // … and of larger ones
	leastRead    = 4 << 10   // a buffer with less room is changed for a new one
	controlLimit = 4 << 10   // bytes after the header of anything but an event
)

// errFrame is a frame that breaks the link.
var errFrame = errors.New("malformed frame")

// readError is a stream that has failed.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// reader cuts frames from a stream. The frames it returns lie in its buffer; who keeps one beyond the
// next fill retains the buffer. It has one reference to it, given back by close.
type reader struct {
	stream  io.Reader
	maxData int // bytes after the header of an event
	size    int // of a usual buffer; grows with the frames

	buf        *buf.Buf
	start, end int  // bytes read and not cut yet
	large      bool // the last frame was: of the next one the header is read first
}

func newReader(s io.Reader, size, maxData int) *reader {
	return &reader{stream: s, maxData: maxData, size: size, buf: buf.Get(size)}
}

// next cuts the next frame into f, if all of it is here.
func (r *reader) next(f *frame.Frame) (ok bool, err error) {
	b := r.buf.B[r.start:r.end:r.end]
	if len(b) < frame.HeaderSize {
		return false, nil
	}
	if err := r.header(&f.Header, b); err != nil {
		return false, err
	}
	size := frame.HeaderSize + int(f.Length)
	if len(b) < size {
		return false, nil
	}
	r.start, r.large = r.start+size, size > mostRead
	f.SetBody(b[frame.HeaderSize:size:size])
	return true, nil
}

// header parses and checks the header of the frame that begins in b, all of which is there.
func (r *reader) header(h *frame.Header, b []byte) error {
	if err := h.Parse(b); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	if h.Type == frame.Data && int(h.Length) > r.maxData || h.Type != frame.Data && h.Length > controlLimit {
		return fmt.Errorf("%w: %d bytes after the header of type %d are too many", errFrame, h.Length, h.Type)
	}
	return nil
}

// fill reads more, at least one byte.
func (r *reader) fill() error {
	need := r.makeRoom()
	b := r.buf.B[:cap(r.buf.B)]
	most := len(b)
	switch { // what is read of the frame behind a large one is copied into a buffer of its own
	case need > mostRead:
		most = r.start + need
	case r.large:
		most = min(most, r.end+leastRead)
	}
	n, err := r.stream.Read(b[r.end:most])
	r.end += n
	r.buf.B = b[:r.end]
	if n > 0 || err == nil {
		return nil
	}
	return &readError{err}
}

// makeRoom sees to it that the frame under way fits and a read is worth its while. A header may claim what never
// comes: a large buffer's memory is there when it is written, see package buf. It returns the bytes of that frame,
// as far as they are known.
func (r *reader) makeRoom() (need int) {
	pending := r.end - r.start
	need = frame.HeaderSize
	if pending == 0 && !r.buf.Shared() {
		r.start, r.end = 0, 0
		return need
	}
	var h frame.Header
	if pending >= frame.HeaderSize && r.header(&h, r.buf.B[r.start:r.end]) == nil {
		need += int(h.Length)
	}
	free := cap(r.buf.B) - r.end
	if cap(r.buf.B)-r.start >= need && (free >= leastRead || pending >= leastRead) {
		return need
	}
	r.size = max(r.size, min(4*need, mostRead))
	next := buf.Get(max(r.size, need))
	next.B = append(next.B, r.buf.B[r.start:r.end]...)
	r.buf.Release()
	r.buf, r.start, r.end = next, 0, pending
	return need
}

// one waits for one frame: the first of a stream.
func (r *reader) one() (frame.Frame, error) {
	var f frame.Frame
	for {
		ok, err := r.next(&f)
		if ok || err != nil {
			return f, err
		}
		if err := r.fill(); err != nil {
			return f, err
		}
	}
}

func (r *reader) close() { r.buf.Release() }
