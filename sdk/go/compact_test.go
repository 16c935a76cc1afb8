package weft

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// agrees checks that what is sent as it is is what encoding/json would have made of it.
func agrees(t *testing.T, b []byte) {
	t.Helper()
	var theirs bytes.Buffer
	same := json.Compact(&theirs, b) == nil && bytes.Equal(theirs.Bytes(), b) && b[0] == '{'
	if ours := compact(b); ours && !same || same && !ours && bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) < maxDepth {
		t.Errorf("%q: %v, want %v", b, ours, same)
	}
}

func TestCompact(t *testing.T) {
	values := strings.Fields(`0 -0 1 -12 1.5 1e3 1E-7 -1.25e+10 01 1. .5 - -a 1e 1e+ 0x1 + true false null tru nulls truee ` +
		`"" "a" "é" "\n" "\u00e9" "\udcff" "\u00g0" "\u00" "\x" "a "b" [] [1] [1,"a",{}] [1,] [,1] [1 {} {"a":1} {"a":[{"b":{}}]} {"a"} {a:1} {"a":1,} {"a":1"b":2} {1:2}`)
	for _, v := range append(values, "", "\"\t\"", "\"\xff\"", "1 ", " 1", `"\`, `"\u12`) {
		for _, form := range []string{`{"k":V}`, `{"k":V,"l":[V,V]}`, `[V]`, `V`, `{"k":V}x`, `{"k": V}`, `{"k":V`, ` {"k":V}`} {
			agrees(t, append([]byte(strings.ReplaceAll(form, "V", v)), ""...))
		}
	}
	if deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200); compact([]byte(deep)) {
		t.Error("it looks as deep as anybody wants")
	}
}

func FuzzCompact(f *testing.F) {
	f.Add([]byte(`{"a":[1.5e-3,true,"\u00e9",{}],"b":null}`))
	f.Fuzz(func(t *testing.T, b []byte) { agrees(t, append(b, "}"...)) })
}

// BenchmarkCompact compares the look with what encoding/json does instead.
func BenchmarkCompact(b *testing.B) {
	in := []byte(`{"w":[12345678901234,12345678901234,123456],"p":"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"}`)
	b.Run("look", func(b *testing.B) {
		b.SetBytes(int64(len(in)))
		for b.Loop() {
			if !compact(in) {
				b.Fatal("it is")
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(len(in)))
		var raw any = json.RawMessage(in)
		for e := newEncoder(); b.Loop(); {
			e.buf.Reset()
			if err := e.json.Encode(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}
