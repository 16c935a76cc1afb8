package attach

import (
	"context"
	"fmt"
	"sync"
)

// maxSpool bounds what is kept of a stream, in bytes: all that a rollback may ask for again, plus
// what has been read ahead. A full spool takes nothing until a barrier is complete.
const maxSpool = 64 << 20

// readAhead is how much of a stream is read at a time, in bytes.
const readAhead = 256 << 10

// spool keeps what follows the last complete barrier of something that can't be read twice.
type spool struct {
	limit int // bytes; more than that goes alone

	mu      sync.Mutex
	base    int64         // position of bytes[0]
	bytes   []byte        // bytes base … base+len
	err     error         // nothing is added any more; io.EOF at an orderly end
	changed chan struct{} // closed, and replaced, at every change
}

func newSpool(limit int) spool { return spool{limit: limit, changed: make(chan struct{})} }

// ReadAt fills b from offset as far as it can and waits for at least one byte.
func (s *spool) ReadAt(ctx context.Context, b []byte, offset int64) (int, error) {
	for {
		s.mu.Lock()
		n, err, changed := s.at(b, offset), s.err, s.changed
		base := s.base
		s.mu.Unlock()
		switch {
		case offset < base:
			return 0, fmt.Errorf("position %d is gone: the stream is kept from %d on", offset, base)
		case n > 0:
			return n, nil
		case err != nil:
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-changed:
		}
	}
}

func (s *spool) at(b []byte, offset int64) int {
	if i := offset - s.base; i >= 0 && i < int64(len(s.bytes)) {
		return copy(b, s.bytes[i:])
	}
	return 0
}

// add appends all of b, after waiting for room, or nothing of it: the error is ctx's when there was no
// room in time, and the end's after the end.
func (s *spool) add(ctx context.Context, b []byte) error {
	for {
		s.mu.Lock()
		if s.err != nil || len(s.bytes) == 0 || len(s.bytes)+len(b) <= s.limit {
			break
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.bytes = append(s.bytes, b...)
	s.wake()
	return nil
}

// end says that nothing follows, and why. The first reason stays.
func (s *spool) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.wake()
	}
}

// Trim forgets what is before offset.
func (s *spool) Trim(offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(offset-s.base, int64(len(s.bytes)))
	if n <= 0 {
		return
	}
	s.base += n
	s.bytes = append(make([]byte, 0, len(s.bytes)-int(n)+readAhead), s.bytes[n:]...)
	s.wake()
}

// Size is not known.
func (s *spool) Size() int64 { return -1 }

func (s *spool) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}
