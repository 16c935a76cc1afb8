package worker

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/weft-stream/weft/pipeline"
)

// cutUp feeds a splitter pieces of n bytes and gives the lines with their positions.
func cutUp(s *splitter, input []byte, n int) (out []line) {
	take := func(last bool) {
		for l, ok := s.next(last); ok; l, ok = s.next(last) {
			l.text = bytes.Clone(l.text)
			out = append(out, l)
		}
	}
	for len(input) > 0 {
		k := min(n, len(input))
		s.feed(input[:k])
		take(false)
		input = input[k:]
	}
	take(true)
	return out
}

// Whatever the pieces are, the lines are those of the whole, each at its position, and a splitter that
// begins at a line's position gives the rest.
func FuzzSplitter(f *testing.F) {
	f.Add([]byte("a\nbc\n\nlast"), uint8(1))
	f.Add([]byte("\n\n"), uint8(3))
	f.Fuzz(func(t *testing.T, input []byte, piece uint8) {
		got := cutUp(&splitter{}, input, int(piece)+1)
		want := bytes.Split(input, []byte("\n"))
		if len(want[len(want)-1]) == 0 {
			want = want[:len(want)-1]
		}
		if len(got) != len(want) {
			t.Fatalf("%d lines, want %d", len(got), len(want))
		}
		at := int64(0)
		for i, l := range got {
			if !bytes.Equal(l.text, want[i]) || l.position != at {
				t.Fatalf("line %d is %q at %d, want %q at %d", i, l.text, l.position, want[i], at)
			}
			at += int64(len(want[i])) + 1
			if rest := cutUp(&splitter{from: l.position}, input[l.position:], 7); len(rest) != len(want)-i {
				t.Fatalf("from line %d on there are %d, want %d", i, len(rest), len(want)-i)
			}
		}
	})
}

// A line that is too long is given out once, at its position; until its end, the place to go on is its
// beginning.
func TestLongLine(t *testing.T) {
	var s splitter
	s.feed([]byte("a\n" + strings.Repeat("x", maxLine)))
	if l, ok := s.next(false); !ok || string(l.text) != "a" {
		t.Fatalf("first %q", l.text)
	}
	if _, ok := s.next(false); ok {
		t.Fatal("a line without its end")
	}
	s.feed([]byte("xx"))
	l, ok := s.next(false)
	if !ok || !l.long || l.position != 2 || s.cut() != 2 {
		t.Fatalf("long %v at %d, cut %d", l.long, l.position, s.cut())
	}
	if _, _, err := l.event(pipeline.Lines); err == nil {
		t.Error("it is an event")
	}
	s.feed([]byte("xxx\nb\n"))
	if l, ok = s.next(false); !ok || string(l.text) != "b" || l.position != int64(2+maxLine+6) {
		t.Fatalf("after it %q at %d", l.text, l.position)
	}
}

// Text in UTF-8 comes back from JSON as it was; other bytes are the surrogates of their values.
func FuzzAppendLine(f *testing.F) {
	f.Add([]byte("plain \"quoted\" \\ \x00\x1f\t \u2028 ü 🧵"))
	f.Add([]byte("\xff\xc3("))
	f.Fuzz(func(t *testing.T, text []byte) {
		b := appendLine(nil, text)
		var v struct{ Line string }
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if want := string([]rune(string(text))); v.Line != want { // invalid bytes are U+FFFD to encoding/json, one each
			t.Fatalf("%q became %q", text, v.Line)
		}
	})
}

func TestAppendLine(t *testing.T) {
	for text, want := range map[string]string{
		"a<b>&c":         `{"line":"a<b>&c"}`,
		"\xff\x80é":      `{"line":"\udcff\udc80é"}`,
		"\"\\\n\r\t\x01": `{"line":"\"\\\n\r\t\u0001"}`,
		"":               `{"line":""}`,
	} {
		if got := appendLine(nil, []byte(text)); string(got) != want {
			t.Errorf("%q becomes %s, want %s", text, got, want)
		}
	}
}

func TestNDJSON(t *testing.T) {
	for text, want := range map[string]struct {
		ok, bad bool
	}{
		`{"a":1}`: {ok: true}, " {} ": {ok: true}, "": {}, " \t\r": {},
		`[1]`: {ok: true, bad: true}, `{"a":1} x`: {ok: true, bad: true}, `7`: {ok: true, bad: true},
	} {
		payload, ok, err := line{text: []byte(text)}.event(pipeline.NDJSON)
		if ok != want.ok || (err != nil) != want.bad || err == nil && string(payload) != strings.TrimSpace(text) {
			t.Errorf("%q gives %q, %v, %v", text, payload, ok, err)
		}
	}
}
