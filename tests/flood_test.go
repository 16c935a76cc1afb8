package tests

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// flooding prints far more than anybody can look at: a MiB of lines for each event, and lines without end.
const flooding = `import sys

line = "flood " * 20

def main(event):
    for _ in range(8000):
        print(line)
    sys.stdout.flush()
    sys.stderr.write("x" * 300000)
    sys.stderr.flush()
    yield event
`

// TestFlood: what a function prints costs it time, and nobody else anything: no event is lost, no slot, and
// neither hook nor proxy keeps it.
func TestFlood(t *testing.T) {
	need(t, "python3", "Python 3")
	dir := t.TempDir()
	write(t, dir, "p.yaml", python)
	write(t, dir, "f.py", flooding)
	const events = 150
	in, open := fifo(t, dir)
	w := weftIn(t, dir, "run", "p.yaml", "--in", in, "--lease", "4s")
	feed := input(t, open, w)
	for i := range events {
		fmt.Fprintf(feed, "{\"n\":%d}\n", i)
	}
	w.eventually("all events", func() bool { return strings.Count(w.stdout.String(), "\n") == events })
	w.eventually("renewals under the flood", func() bool { st, ok := w.status(); return ok && st.Renewals >= 3 })
	st, ok := w.status()
	if !ok || st.Phase != control.Running || st.Restarts > 0 || st.Moves > 0 {
		t.Errorf("%+v", st)
	}
	// How many lines are dropped depends on who is faster today; what is kept is bounded, and can be read.
	w.eventually("its last lines", func() bool { return strings.Contains(w.ask("logs", "p", "--stage", "f"), "flood flood") })
	if n := strings.Count(w.ask("logs", "p", "--stage", "f"), "\n"); n > 5000 {
		t.Errorf("the hook has kept %d lines", n)
	}
	for pid, line := range processesWith(w.mark) {
		if mb := peakMB(pid); mb > 300 && (strings.Contains(line, "invokerhook") || strings.Contains(line, "actionproxy")) {
			t.Errorf("%s has used %d MB", line, mb)
		} else if strings.Contains(line, "invokerhook") {
			t.Logf("the hook has used %d MB", mb)
		}
	}
	feed.Close()
	if code := w.wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for i, e := range ndjson[struct{ N int }](t, w.stdout.String()) {
		if e.N != i {
			t.Fatalf("event %d is %d", i, e.N)
		}
	}
}

var peak = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMB is the most memory that a process has had at a time; 0 when it is gone.
func peakMB(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	m := peak.FindSubmatch(b)
	if m == nil {
		return 0
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return kb >> 10
}
