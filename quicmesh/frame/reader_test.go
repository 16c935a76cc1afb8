package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/quicmesh/frame"
)

func TestReaderGivesWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.SliceOfN(rapid.Custom(anyFrame), 0, 20).Draw(t, "frames")
		var b []byte
		for i := range frames {
			if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
				frames[i].Payload = bytes.Repeat([]byte{byte(i)}, 150_000)
			}
			b = frames[i].Append(b)
		}
		cut := rapid.IntRange(0, 10).Draw(t, "cut")
		whole := cut == 0 || cut > len(b)
		if !whole {
			b = b[:len(b)-cut]
		}
		var from io.Reader = bytes.NewReader(b)
		switch rapid.IntRange(0, 2).Draw(t, "reads") {
		case 1:
			from = iotest.HalfReader(from)
		case 2:
			from = iotest.DataErrReader(from)
		}
		r := frame.NewReader(from, 1<<20)
		for i, want := range frames {
			got, err := r.Next()
			if last := i == len(frames)-1; last && !whole {
				if err != io.ErrUnexpectedEOF {
					t.Fatalf("cut in frame %d: %v", i, err)
				}
				return
			}
			if err != nil || !same(want, got) {
				t.Fatalf("frame %d: %+v, %v, want %+v", i, got, err, want)
			}
		}
		for range 2 {
			if _, err := r.Next(); err != io.EOF {
				t.Fatalf("at the end: %v", err)
			}
		}
	})
}

func TestReaderKeepsItsBound(t *testing.T) {
	f := frame.Frame{Payload: make([]byte, 1001)}
	b := f.Append(nil)
	r := frame.NewReader(bytes.NewReader(b), 1000)
	for range 2 {
		if _, err := r.Next(); !errors.Is(err, frame.ErrBounds) {
			t.Errorf("%v, want ErrBounds", err)
		}
	}
	if _, err := frame.NewReader(bytes.NewReader(b), 1001).Next(); err != nil {
		t.Error(err)
	}
}

// Frames beyond the bound are read as streams, between others that are not, however the bytes are cut.
func TestReaderBody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.SliceOfN(rapid.Custom(anyFrame), 1, 20).Draw(t, "frames")
		var b []byte
		for i := range frames {
			if rapid.IntRange(0, 3).Draw(t, "large") == 0 {
				frames[i].Payload = bytes.Repeat([]byte{byte(i)}, rapid.IntRange(2000, 600_000).Draw(t, "size"))
			}
			b = frames[i].Append(b)
		}
		var from io.Reader = bytes.NewReader(b)
		if rapid.Bool().Draw(t, "half") {
			from = iotest.HalfReader(from)
		}
		r := frame.NewReader(from, 1000)
		for i, want := range frames {
			got, err := r.Next()
			if large := want.Size()-frame.HeaderSize > 1000; large != errors.Is(err, frame.ErrBounds) {
				t.Fatalf("frame %d of %d bytes: %v", i, want.Size(), err)
			} else if large {
				h, body, err := r.Body()
				if err != nil {
					t.Fatal(err)
				}
				bytes, err := io.ReadAll(body)
				if err != nil || len(bytes) != int(h.Length) {
					t.Fatalf("frame %d: %d of %d bytes, %v", i, len(bytes), h.Length, err)
				}
				got = h.WithBody(bytes)
			}
			if !same(want, got) {
				t.Fatalf("frame %d: %+v, %v, want %+v", i, got, err, want)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatalf("at the end: %v", err)
		}
	})
}

// A header that claims a gigabyte costs what comes of it.
func TestReaderBelievesNoHeader(t *testing.T) {
	head := (&frame.Frame{}).Append(nil)
	binary.LittleEndian.PutUint32(head[4:], frame.MaxPayload)
	const come = 5 << 20
	r := frame.NewReader(io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, come)), frame.MaxBody)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := r.Next(); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 4*come {
		t.Errorf("%d bytes came, and %d were allocated", come, used)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestReaderMore(t *testing.T) {
	f := frame.Frame{Payload: []byte("x")}
	b := f.Append(f.Append(nil))
	from, to := io.Pipe()
	r := frame.NewReader(from, 100)
	if r.More() {
		t.Error("more before anything was read")
	}
	go func() {
		to.Write(b[:len(b)-1])
		to.Write(b[len(b)-1:])
		to.CloseWithError(io.ErrNoProgress)
	}()
	for _, more := range []bool{false, false} {
		if _, err := r.Next(); err != nil || r.More() != more {
			t.Errorf("%v, more %v", err, r.More())
		}
	}
	if _, err := r.Next(); err != io.ErrNoProgress || !r.More() {
		t.Errorf("the stream's error: %v, more %v", err, r.More())
	}
}

// endless gives the same bytes again and again.
type endless struct {
	b   []byte
	pos int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.b[e.pos:])
	e.pos = (e.pos + n) % len(e.b)
	return n, nil
}

func TestReaderDoesNotAllocate(t *testing.T) {
	f := frame.Frame{Key: []byte("k"), Payload: make([]byte, 4000)}
	r := frame.NewReader(&endless{b: f.Append(nil)}, 1<<20)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := r.Next(); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func FuzzReader(f *testing.F) {
	for _, v := range readVectors(f).all() {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := frame.NewReader(iotest.OneByteReader(bytes.NewReader(b)), 4096)
		for rest := b; ; {
			got, err := r.Next()
			want, n, wantErr := frame.Parse(rest)
			if err != nil {
				if wantErr == nil && len(rest) > 0 && n <= frame.HeaderSize+4096 {
					t.Fatalf("Next: %v, but Parse gives %d bytes", err, n)
				}
				return
			}
			if wantErr != nil || !same(want, got) {
				t.Fatalf("Next and Parse differ: %+v, %+v, %v", got, want, wantErr)
			}
			rest = rest[n:]
		}
	})
}

func BenchmarkReader(b *testing.B) {
	f := frame.Frame{Key: []byte("key"), Payload: make([]byte, 256)}
	r := frame.NewReader(&endless{b: f.Append(nil)}, 1<<20)
	b.ReportAllocs()
	b.SetBytes(int64(f.Size()))
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
