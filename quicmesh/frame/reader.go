package frame

import (
	"bytes"
	"errors"
	"io"
)

// firstRead is the size of a reader's buffer at first, in bytes.
const firstRead = 256 << 10

// Reader takes frames from a byte stream, as many with one read as there are. It belongs to one
// goroutine.
type Reader struct {
	from io.Reader
	max  int    // body bytes of one frame
	buf  []byte // buf[head:] is read and not yet taken
	head int
	err  error // of from: given when the whole frames before it are taken
}

// NewReader reads from r and takes frames whose body has at most max bytes (and MaxBody).
func NewReader(r io.Reader, max int) *Reader {
	return &Reader{from: r, max: max, buf: make([]byte, 0, firstRead)}
}

// Next gives the next frame, valid until the call after it: the buffer is used again. It returns
// io.EOF between frames, io.ErrUnexpectedEOF within one, and ErrBounds when lengths do not fit or max
// is exceeded; after an error all calls return it, unless Body helps.
func (r *Reader) Next() (Frame, error) {
	for {
		f, n, err := r.parse()
		if err == nil {
			r.head += n
			return f, nil
		}
		if !errors.Is(err, ErrShort) {
			r.err = err
			return Frame{}, err
		}
		if r.err != nil {
			if r.err == io.EOF && r.head < len(r.buf) {
				r.err = io.ErrUnexpectedEOF
			}
			return Frame{}, r.err
		}
		r.fill(n)
	}
}

// Body goes on after a frame that is beyond max, for which Next has returned ErrBounds: it gives the header,
// and a reader of the body, to be read to its end before the next call. Other errors stay.
func (r *Reader) Body() (Header, io.Reader, error) {
	h, err := ParseHeader(r.buf[r.head:])
	if err != nil {
		return h, nil, err
	}
	begin := r.head + HeaderSize
	r.head = min(begin+int(h.Length), len(r.buf))
	r.err = nil
	here := r.buf[begin:r.head]
	return h, io.MultiReader(bytes.NewReader(here), io.LimitReader(r.from, int64(h.Length)-int64(len(here)))), nil
}

// More tells whether Next has a whole frame, or an error, without waiting: whoever handles frames in
// batches ends a batch when there is no more.
func (r *Reader) More() bool {
	_, _, err := r.parse()
	return !errors.Is(err, ErrShort) || r.err != nil
}

// parse looks at the next frame. With ErrShort it returns the bytes that the frame takes in all, as far
// as is known.
func (r *Reader) parse() (Frame, int, error) {
	b := r.buf[r.head:]
	h, err := ParseHeader(b)
	if err != nil {
		return Frame{}, HeaderSize, err
	}
	if int(h.Length) > r.max {
		return Frame{}, 0, ErrBounds
	}
	end := HeaderSize + int(h.Length)
	if len(b) < end {
		return Frame{}, end, ErrShort
	}
	return h.WithBody(b[HeaderSize:end:end]), end, nil
}

// fill reads once, after making room for a frame of want bytes, or for more of it. A buffer that one large
// frame has made large is given back when it is empty.
func (r *Reader) fill(want int) {
	rest := r.buf[r.head:]
	switch {
	case len(rest) == cap(r.buf), cap(r.buf) < Room(want, 0), len(rest) == 0 && cap(r.buf) > firstRead && want <= firstRead:
		r.buf = append(make([]byte, 0, max(Room(want, len(rest)), firstRead)), rest...)
	case r.head > 0:
		r.buf = r.buf[:copy(r.buf, rest)]
	}
	r.head = 0
	n, err := r.from.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf, r.err = r.buf[:len(r.buf)+n], err
}
