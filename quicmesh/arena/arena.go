// Package arena is memory for payloads that the receivers of this host read where the sender has written them. An
// Arena is the sender's: memory files, which a broker (the host's hook) has made and nobody else can write, with
// regions in them, one a payload. Loans are the receiver's: what one peer has lent it, mapped to read only.
//
// A region lives as long as anybody holds it: who writes it, the log of each link that it was sent on, and each
// receiver that was given a reference. Memory is never given back before the Arena's end: a mapping can't be
// revoked, so that a broker could count it as free only on its user's word. It is bounded, and reused.
package arena

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/weft-stream/weft/internal/shm"
)

const (
	// MaxFiles is how many files an arena has at most, and a peer lends over one stream.
	MaxFiles = 64
	// MaxSize bounds one file, in bytes: that of the largest payload.
	MaxSize = 1 << 30
	// MinSize is the size of the first file; each payload that fits in none gets a new one.
	MinSize = 8 << 20
	// align is what regions begin at: what vectors and cache lines begin at too.
	align = 64
	// A broker that has refused memory is not asked again for firstPause, then for twice as long each time.
	firstPause = time.Second
	lastPause  = time.Minute
)

// ErrFull says that there is no memory left for a region of that size, until others are released.
var ErrFull = errors.New("arena: full")

// Config of an Arena.
type Config struct {
	// Make gives a file of size bytes, as shm.CreateArena makes it.
	Make func(ctx context.Context, size int) (*os.File, error)
	// Most bounds the bytes of all files.
	Most int
	// Grown is called after there is a further file. Optional.
	Grown func()
}

// Arena is where one process writes its payloads. Its methods are safe for concurrent use.
type Arena struct {
	config Config
	making chan struct{} // of one element: one call of Make at a time

	mu     sync.Mutex
	files  []*File      // only grows
	count  atomic.Int32 // of them
	made   int          // bytes of all
	live   int          // regions
	spare  []*Region
	after  time.Time     // Make is not called before
	pause  time.Duration // the last one; 0 after it has given memory
	closed bool
}

// File is one memory file of an arena.
type File struct {
	Number uint32
	File   *os.File // to be lent; closed with the arena
	memory *shm.Memory
	live   []*Region // by their places
}

// Region is memory for one payload. Bytes are the holder's to write until the first Send; afterwards they must not
// change any more.
type Region struct {
	arena *Arena
	file  *File // nil: plain memory
	at    int
	b     []byte
	refs  atomic.Int32
}

// New makes an arena without memory.
func New(c Config) *Arena { return &Arena{config: c, making: make(chan struct{}, 1)} }

// Plain gives a region of n bytes that is in no arena.
func Plain(n int) *Region {
	r := &Region{b: make([]byte, n)}
	r.refs.Store(1)
	return r
}

// Alloc gives a region of n bytes, n > 0, which the caller releases. What it holds is of earlier payloads. It
// returns ErrFull when there is no room and no more memory.
func (a *Arena) Alloc(ctx context.Context, n int) (*Region, error) {
	if r := a.place(n); r != nil {
		return r, nil
	}
	select {
	case a.making <- struct{}{}:
		defer func() { <-a.making }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrFull, ctx.Err())
	}
	if r := a.place(n); r != nil {
		return r, nil
	}
	if err := a.grow(ctx, n); err != nil {
		return nil, err
	}
	if a.config.Grown != nil {
		a.config.Grown()
	}
	if r := a.place(n); r != nil {
		return r, nil
	}
	return nil, ErrFull // others were faster
}

// place finds room in the files that there are, the smallest first.
func (a *Arena) place(n int) *Region {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	var in *File
	var at, index int
	for _, f := range a.files {
		if in != nil && f.size() >= in.size() {
			continue
		}
		if place, i, ok := f.gap(n); ok {
			in, at, index = f, place, i
		}
	}
	if in == nil {
		return nil
	}
	var r *Region
	if last := len(a.spare) - 1; last >= 0 {
		r, a.spare = a.spare[last], a.spare[:last]
	} else {
		r = new(Region)
	}
	r.arena, r.file, r.at, r.b = a, in, at, in.memory.Bytes()[at:at+n:at+n]
	r.refs.Store(1)
	in.live = slices.Insert(in.live, index, r)
	a.live++
	return r
}

// grow adds a file that n bytes fit in. The caller has making's element.
func (a *Arena) grow(ctx context.Context, n int) error {
	if n > MaxSize {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrFull, n, MaxSize)
	}
	size := MinSize
	if n > size {
		size = 1 << bits.Len(uint(n-1))
	}
	a.mu.Lock()
	count, made, after, closed := len(a.files), a.made, a.after, a.closed
	a.mu.Unlock()
	if closed || count == MaxFiles || made+size > a.config.Most || time.Now().Before(after) {
		return ErrFull
	}
	f, memory, err := a.file(ctx, size)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil:
		a.pause = min(max(2*a.pause, firstPause), lastPause)
		a.after = time.Now().Add(a.pause)
		return fmt.Errorf("%w: %w", ErrFull, err)
	case a.closed:
		return errors.Join(ErrFull, f.Close(), memory.Close())
	}
	a.files = append(a.files, &File{Number: uint32(count), File: f, memory: memory})
	a.count.Add(1)
	a.made += size
	a.pause = 0
	return nil
}

func (a *Arena) file(ctx context.Context, size int) (*os.File, *shm.Memory, error) {
	f, err := a.config.Make(ctx, size)
	if err != nil {
		return nil, nil, err
	}
	memory, err := shm.MapOwner(f, size)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, memory, nil
}

func (f *File) size() int { return len(f.memory.Bytes()) }

// gap is the first place for n bytes, and its region's index.
func (f *File) gap(n int) (at, index int, ok bool) {
	for i, r := range f.live {
		if r.at-at >= n {
			return at, i, true
		}
		at = (r.at + len(r.b) + align - 1) &^ (align - 1)
	}
	return at, len(f.live), f.size()-at >= n
}

// Find gives the region that p lies in, held once more, or nil.
func (a *Arena) Find(p []byte) *Region {
	if len(p) == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.files {
		at, ok := within(f.memory.Bytes(), p)
		if !ok || a.closed && len(f.live) == 0 {
			continue
		}
		i, exact := slices.BinarySearchFunc(f.live, at, func(r *Region, at int) int { return r.at - at })
		if !exact {
			i--
		}
		if i < 0 || at+len(p) > f.live[i].at+len(f.live[i].b) {
			return nil
		}
		f.live[i].refs.Add(1) // it is more than 0: whoever makes it 0 holds mu
		return f.live[i]
	}
	return nil
}

// within is where p begins in b, if it lies in it.
func within(b, p []byte) (at int, ok bool) {
	at = int(uintptr(unsafe.Pointer(unsafe.SliceData(p))) - uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	return at, at >= 0 && at <= len(b) && len(p) <= len(b)-at
}

// Files are those that there are; the slice only grows.
func (a *Arena) Files() []*File {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.files[:len(a.files):len(a.files)]
}

// Count is how many files there are.
func (a *Arena) Count() int { return int(a.count.Load()) }

// Use is what an arena holds.
type Use struct {
	Made    int // bytes of its files
	Regions int // that somebody holds
}

// Use now.
func (a *Arena) Use() Use {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Use{Made: a.made, Regions: a.live}
}

// Close gives the memory back: a file's as soon as nobody holds a region of it.
func (a *Arena) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	for _, f := range a.files {
		_ = f.File.Close() // nothing was written to it that could fail
		f.unmap()
	}
}

// unmap ends a closed arena's file that nobody uses.
func (f *File) unmap() {
	if len(f.live) == 0 {
		_ = f.memory.Close()
	}
}

// Bytes are the region's, void after the last Release.
func (r *Region) Bytes() []byte { return r.b }

// Holds tells whether p lies in the region.
func (r *Region) Holds(p []byte) bool {
	_, ok := within(r.b, p)
	return ok
}

// Shared tells whether peers can read the region in place.
func (r *Region) Shared() bool { return r.file != nil }

// Retain holds the region once more; the caller holds it already.
func (r *Region) Retain() { r.refs.Add(1) }

// Release gives one hold back; with the last one the memory is free for others.
func (r *Region) Release() {
	if r.file == nil {
		return // the garbage collector's
	}
	a := r.arena
	a.mu.Lock()
	defer a.mu.Unlock()
	switch refs := r.refs.Add(-1); {
	case refs < 0:
		panic("arena: Release without a hold")
	case refs > 0:
		return
	}
	f := r.file
	i, _ := slices.BinarySearchFunc(f.live, r.at, func(r *Region, at int) int { return r.at - at })
	f.live = slices.Delete(f.live, i, i+1)
	a.live--
	r.b = nil
	a.spare = append(a.spare, r)
	if a.closed {
		f.unmap()
	}
}
