package frame_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// anyFrame draws a frame with all fields anything.
func anyFrame(t *rapid.T) frame.Frame {
	body := rapid.SliceOfN(rapid.Byte(), 0, 50)
	return frame.Frame{
		Header: frame.Header{
			Type:      frame.Type(rapid.Uint8().Draw(t, "type")),
			Flags:     rapid.Uint8().Draw(t, "flags"),
			Edge:      rapid.Uint16().Draw(t, "edge"),
			Attempt:   frame.MakeAttempt(rapid.Uint32().Draw(t, "term"), rapid.Uint32().Draw(t, "n")),
			Seq:       rapid.Uint64().Draw(t, "seq"),
			KeyHash:   rapid.Uint64().Draw(t, "keyHash"),
			EventTime: rapid.Int64().Draw(t, "eventTime"),
			Sent:      rapid.Int64().Draw(t, "sent"),
		},
		ID:      body.Draw(t, "id"),
		Key:     body.Draw(t, "key"),
		Headers: body.Draw(t, "headers"),
		Payload: body.Draw(t, "payload"),
	}
}

// same compares all but the lengths, which only a parsed frame has.
func same(a, b frame.Frame) bool {
	a.Length, a.IDLen, a.KeyLen, a.HeadersLen = b.Length, b.IDLen, b.KeyLen, b.HeadersLen
	return a.Header == b.Header && bytes.Equal(a.ID, b.ID) && bytes.Equal(a.Key, b.Key) &&
		bytes.Equal(a.Headers, b.Headers) && bytes.Equal(a.Payload, b.Payload)
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyFrame(t)
		b := want.Append([]byte("before"))[6:]
		if len(b) != want.Size() {
			t.Fatalf("%d bytes, Size says %d", len(b), want.Size())
		}
		got, n, err := frame.Parse(append(b, "after"...))
		if err != nil || n != len(b) || !same(want, got) {
			t.Fatalf("%+v came back as %+v, %d, %v", want, got, n, err)
		}
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, n, err := frame.Parse(b[:cut]); n != 0 || !errors.Is(err, frame.ErrShort) {
			t.Fatalf("%d of %d bytes: %d, %v, want ErrShort", cut, len(b), n, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, v := range readVectors(f).all() {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		parsed, n, err := frame.Parse(b)
		if err != nil {
			if n != 0 || !errors.Is(err, frame.ErrShort) && !errors.Is(err, frame.ErrBounds) {
				t.Fatalf("%d, %v", n, err)
			}
			return
		}
		if again := parsed.Append(nil); n > len(b) || !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x was parsed and encoded as %x", b[:min(n, len(b))], again)
		}
		total := 0
		err = frame.EachHeader(parsed.Headers, func(name, value []byte) bool {
			total += 4 + len(name) + len(value)
			return true
		})
		if err == nil && total != len(parsed.Headers) {
			t.Fatalf("headers of %d bytes gave %d", len(parsed.Headers), total)
		}
	})
}

func TestHeaders(t *testing.T) {
	b := frame.AppendHeader(nil, "traceparent", "00-1")
	b = frame.AppendHeader(b, "", "")
	b = frame.AppendHeader(b, "a", "b")
	var got []string
	err := frame.EachHeader(b, func(name, value []byte) bool {
		got = append(got, string(name)+"="+string(value))
		return len(got) < 3
	})
	if err != nil || len(got) != 3 || got[0] != "traceparent=00-1" || got[1] != "=" || got[2] != "a=b" {
		t.Errorf("%q, %v", got, err)
	}
	for cut := 1; cut < len(b); cut++ {
		n := 0
		err := frame.EachHeader(b[:cut], func(_, _ []byte) bool { n++; return true })
		if whole := cut == 19 || cut == 23; whole != (err == nil) {
			t.Errorf("%d bytes: %d headers, %v", cut, n, err)
		}
	}
}

func TestBarrier(t *testing.T) {
	for _, version := range []uint64{0, 9} {
		f := frame.Frame{Payload: frame.AppendBarrier(nil, 1<<63|7, version)}
		if n, v, err := f.Barrier(); n != 1<<63|7 || v != version || err != nil {
			t.Errorf("%d, %d, %v", n, v, err)
		}
		f.Payload = f.Payload[:len(f.Payload)-1]
		if _, _, err := f.Barrier(); !errors.Is(err, frame.ErrBounds) {
			t.Errorf("%d bytes: %v", len(f.Payload), err)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		f  frame.Frame
		ok bool
	}{
		"largest id and key": {frame.Frame{ID: make([]byte, 65535), Key: make([]byte, 65535)}, true},
		"id":                 {frame.Frame{ID: make([]byte, 65536)}, false},
		"key":                {frame.Frame{Key: make([]byte, 65536)}, false},
		"largest payload":    {frame.Frame{Payload: make([]byte, frame.MaxBody)}, true},
		"body":               {frame.Frame{Key: []byte("k"), Payload: make([]byte, frame.MaxBody)}, false},
	} {
		if err := c.f.Check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttempt(t *testing.T) {
	a := frame.MakeAttempt(3, 9)
	if a.Term() != 3 || a.N() != 9 || a.String() != "3.9" || a >= frame.MakeAttempt(4, 0) {
		t.Errorf("%v", a)
	}
}

func TestNoAllocations(t *testing.T) {
	f := frame.Frame{ID: []byte("id"), Key: []byte("key"), Payload: make([]byte, 4096)}
	buf := make([]byte, 0, f.Size())
	if n := testing.AllocsPerRun(100, func() {
		buf = f.Append(buf[:0])
		if _, _, err := frame.Parse(buf); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for Append and Parse", n)
	}
}

func BenchmarkAppendParse(b *testing.B) {
	f := frame.Frame{ID: []byte("source/0/123456"), Key: []byte("key"), Payload: make([]byte, 256)}
	buf := make([]byte, 0, f.Size())
	b.ReportAllocs()
	b.SetBytes(int64(f.Size()))
	for b.Loop() {
		buf = f.Append(buf[:0])
		if _, _, err := frame.Parse(buf); err != nil {
			b.Fatal(err)
		}
	}
}
