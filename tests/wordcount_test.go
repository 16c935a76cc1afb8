package tests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWordcount runs the first example on a whole book and on ten megabytes of it, and counts again.
func TestWordcount(t *testing.T) {
	need(t, "python3", "Python 3")
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	book, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "src/testdata/Isaac.Newton-Opticks.txt"))
	if err != nil {
		t.Fatal(err)
	}
	// Bytes that are no UTF-8 and white space that is not ASCII's are parts of words.
	odd := []byte("caf\xe9 \xff\xfe a\u00a0b \"quoted\" back\\slash \x01control\n\n\r\n\x0b\x0c tab\tend")
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"empty", nil},
		{"odd bytes", odd},
		{"book", book},
		{"10 MB", bytes.Repeat(append(book, odd...), 10_000_000/len(book)+1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := write(t, t.TempDir(), "text.txt", string(c.text))
			example, err := filepath.Abs("../examples/wordcount/pipeline.yaml")
			if err != nil {
				t.Fatal(err)
			}
			w := weft(t, "run", example, "--in", in)
			if code := w.wait(4 * time.Minute); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			want := count(c.text)
			got := ndjson[struct {
				Word  surrogates
				Count int
			}](t, w.stdout.String())
			if len(got) != len(want) {
				t.Errorf("%d words, want %d", len(got), len(want))
			}
			for i, g := range got {
				if want[string(g.Word)] != g.Count {
					t.Errorf("%q: %d, want %d", g.Word, g.Count, want[string(g.Word)])
				}
				if i > 0 && got[i-1].Count < g.Count {
					t.Errorf("%q stands before %q", got[i-1].Word, g.Word)
				}
			}
		})
	}
}

// count is tr -s '[:space:]' '\n' | grep . | sort | uniq -c under LC_ALL=C.
func count(text []byte) map[string]int {
	out := map[string]int{}
	for _, w := range bytes.FieldsFunc(text, func(r rune) bool { return r < 0x80 && bytes.ContainsRune([]byte(" \t\n\v\f\r"), r) }) {
		out[string(w)]++
	}
	return out
}
