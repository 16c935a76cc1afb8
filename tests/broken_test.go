package tests

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// broken has a good stage on each side of the one whose code is filled in.
const broken = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: broken}
spec:
  vertices:
    - {name: in, source: {generator: {count: 100}}}
    - {name: before, function: {source: good.py}}
    - {name: bad, function: {source: FILE}, replicas: {min: 2}}
    - {name: after, function: {source: good.py}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: before}
    - {from: before, to: bad}
    - {from: bad, to: after}
    - {from: after, to: out}
`

// mistakes are the words by which compilers refuse code.
var mistakes = []struct {
	name, file, code string
	says             []string
	only             *regexp.Regexp // what may be said once only
}{
	{"go", "bad.go", "package main\n\nfunc main() { undefinedThing() }\n", []string{":3:15: undefined: undefinedThing"}, regexp.MustCompile(`undefined: undefinedThing`)},
	{"python", "bad.py", "def main(event):\n    return event +\n", []string{"line 2", "SyntaxError: invalid syntax"}, regexp.MustCompile(`SyntaxError`)},
	{"python at import", "bad.py", "import nothing_of_that_name\n\ndef main(event):\n    return event\n", []string{"No module named 'nothing_of_that_name'"}, regexp.MustCompile(`nothing_of_that_name'`)},
}

// TestBrokenCode starts a pipeline with a stage whose code does not compile, from the command line and by
// HTTP alone: the slot and the compiler's words are told, once, and nothing is left running.
func TestBrokenCode(t *testing.T) {
	need(t, "python3", "Python 3")
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "p.yaml", strings.ReplaceAll(broken, "FILE", m.file))
			write(t, dir, "good.py", "def main(event):\n    yield event\n")
			write(t, dir, m.file, m.code)
			check := func(who, text string) {
				t.Helper()
				t.Logf("%s: %s", who, text)
				if !regexp.MustCompile(`\bbad\[[01]\]`).MatchString(text) {
					t.Errorf("%s names no slot: %s", who, text)
				}
				for _, s := range m.says {
					if !strings.Contains(text, s) {
						t.Errorf("%s misses %q: %s", who, s, text)
					}
				}
				if n := len(m.only.FindAllString(text, -1)); n != 1 {
					t.Errorf("%s says %v %d times: %s", who, m.only, n, text)
				}
			}

			w := weftIn(t, dir, "run", "p.yaml")
			if code := w.wait(time.Minute); code != 1 {
				t.Errorf("weft run: exit code %d, want 1", code)
			}
			if out := w.stdout.String(); out != "" {
				t.Errorf("weft run prints %q on stdout", out)
			}
			const begins = "weft: pipeline broken could not start: bad["
			if n := strings.Count(w.stderr.String(), begins); n != 1 {
				t.Errorf("weft run has %d messages that begin with %q", n, begins)
			}
			check("weft run", w.stderr.String())

			w, r, _ := up(t)
			deployed(t, r, dir)
			var known struct{ Error string }
			if code := r.call("POST", "actions/broken?blocking=true&result=true", map[string]string{"op": "start"}, &known); code != http.StatusBadGateway {
				t.Errorf("the start answers %d", code)
			}
			check("the conductor action", known.Error)
			st := r.status("broken")
			if st.Phase != control.Failed || st.Error == "" {
				t.Errorf("phase %s, error %q", st.Phase, st.Error)
			}
			leftIdle(w)
		})
	}
}

// leftIdle waits until no container has work: each is frozen, or gone. Only those are without an open
// activation.
func leftIdle(w *command) {
	w.t.Helper()
	w.eventually("frozen containers", func() bool {
		for pid, line := range processesWith(w.mark) {
			if strings.Contains(line, "/actionproxy ") && !slices.Contains([]byte{'T', 0}, processState(pid)) {
				return false
			}
		}
		return true
	})
}
