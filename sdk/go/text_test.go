package weft_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	weft "github.com/weft-stream/weft/sdk/go"
)

func TestTextReads(t *testing.T) {
	for in, want := range map[string]string{
		`""`:                          "",
		`"plain é"`:                   "plain é",
		`"\udcc3"`:                    "\xc3",
		`"a\uDCFFb\udc80"`:            "a\xffb\x80",
		`"\ud83d\ude00\udcff"`:        "😀\xff",
		`"\ud83d\udcff"`:              "\U0001f4ff", // a pair, not a byte
		`"\\udcff\"\/\n\u00e9\u0000"`: "\\udcff\"/\né\x00",
		`null`:                        "",
	} {
		var got weft.Text
		if err := json.Unmarshal([]byte(in), &got); err != nil || string(got) != want {
			t.Errorf("%s gives %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{`"\ud800"`, `"\udc00"`, `"\ud800\u0041"`, `1`, `{}`} {
		var got weft.Text
		if err := json.Unmarshal([]byte(in), &got); err == nil {
			t.Errorf("%s gives %q", in, got)
		}
	}
}

func FuzzTextKeepsBytes(f *testing.F) {
	for _, s := range []string{"", "a\"\\\n\x00", "\xff\xc3", "é\xc3", "\xed\xa0\x80", "😀\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal(weft.Text(s))
		if err != nil || !utf8.Valid(b) {
			t.Fatalf("%q is written as %q, %v", s, b, err)
		}
		var back weft.Text
		if err := json.Unmarshal(b, &back); err != nil || string(back) != s {
			t.Fatalf("%q comes back as %q, %v, from %s", s, back, err, b)
		}
		var object map[weft.Text]weft.Text // what JSON calls a string is one for us
		_ = json.Unmarshal([]byte(s), &object)
	})
}

func FuzzTextIsAString(f *testing.F) {
	f.Add(`"\ud83d\udc80\u00e9"`)
	f.Fuzz(func(t *testing.T, s string) {
		var plain string
		if json.Unmarshal([]byte(s), &plain) != nil || strings.ContainsRune(plain, utf8.RuneError) {
			return
		}
		var text weft.Text
		if err := json.Unmarshal([]byte(s), &text); err != nil || string(text) != plain {
			t.Fatalf("%s is %q, %v; as a string it is %q", s, text, err, plain)
		}
	})
}
