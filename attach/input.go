package attach

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
)

// Input is a source's bytes with positions. Positions are bytes from the beginning.
type Input interface {
	// ReadAt fills b from offset as far as it can and waits for at least one byte. io.EOF: nothing
	// follows. It may be called by one goroutine at a time.
	ReadAt(ctx context.Context, b []byte, offset int64) (int, error)
	// Trim says that nothing before offset is asked for any more.
	Trim(offset int64)
	// Close ends reads and releases the file.
	Close() error
	// Size is the whole input's length in bytes; -1 when it is not known.
	Size() int64
}

// Open opens a file or a FIFO as an input. "-" is standard input.
func Open(name string) (Input, error) {
	if name == "-" {
		return newStream(func() (io.ReadCloser, error) { return os.Stdin, nil }), nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a folder; a source is a file", name)
	}
	if !info.Mode().IsRegular() {
		return newStream(func() (io.ReadCloser, error) { return os.Open(name) }), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return &file{f: f, size: info.Size()}, nil
}

type file struct {
	f    *os.File
	size int64
}

func (f *file) ReadAt(_ context.Context, b []byte, offset int64) (int, error) {
	n, err := f.f.ReadAt(b, offset)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (f *file) Trim(int64)   {}
func (f *file) Close() error { return f.f.Close() }
func (f *file) Size() int64  { return f.size }

// stream is what can't be read twice: standard input, a FIFO.
type stream struct {
	spool
	open func() (io.ReadCloser, error) // a FIFO's waits for its writer
	once sync.Once

	held   sync.Mutex
	r      io.ReadCloser // once open
	closed bool
}

func newStream(open func() (io.ReadCloser, error)) *stream {
	return &stream{spool: newSpool(maxSpool), open: open}
}

// ReadAt starts the reading with its first call: a FIFO's writer may come late.
func (s *stream) ReadAt(ctx context.Context, b []byte, offset int64) (int, error) {
	s.once.Do(func() { go s.readLoop() })
	return s.spool.ReadAt(ctx, b, offset)
}

func (s *stream) readLoop() {
	r, err := s.open()
	if err != nil {
		s.end(err)
		return
	}
	s.held.Lock()
	s.r = r
	closed := s.closed
	s.held.Unlock()
	if closed {
		_ = r.Close() // it was opened for nobody
		return
	}
	b := make([]byte, readAhead)
	for {
		n, err := r.Read(b)
		if s.add(context.Background(), b[:n]) != nil { // Close ends the waiting
			return
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// Close ends the reading. A read that blocks in the operating system, as on a terminal, ends with
// the process.
func (s *stream) Close() error {
	s.end(os.ErrClosed)
	s.held.Lock()
	s.closed = true
	r := s.r
	s.held.Unlock()
	if r == nil {
		return nil
	}
	return r.Close()
}
