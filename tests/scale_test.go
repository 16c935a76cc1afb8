package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// scaled has a stage that can have one to four replicas, joined by forward to another, between a generator
// and the standard output.
const scaled = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: scaled}
spec:
  vertices:
    - {name: in, source: {generator: {rate: 1000, count: %d, size: 32}}}
    - {name: work, function: {source: work.py}, replicas: {min: 1, max: 4}}
    - {name: next, function: {source: work.py}, replicas: {min: 1, max: 4}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: work, routing: %s}
    - {from: work, to: next, routing: forward}
    - {from: next, to: out}
`

// exactly checks that each of count events has come once, and nobody was restarted.
func (r *reading) exactly(count int, last control.PipelineStatus) {
	r.t.Helper()
	seen := make([]int, count)
	for _, n := range r.numbers {
		seen[n]++
	}
	lost, twice := 0, 0
	for _, n := range seen {
		if n == 0 {
			lost++
		}
		if n > 1 {
			twice++
		}
	}
	r.t.Logf("%d events, %d lost, %d more than once; %d moves, %d restarts; largest gap between outputs %v, p99.9 %v",
		count, lost, twice, last.Moves, last.Restarts, r.gap(1), r.gap(0.999))
	if lost > 0 || twice > 0 || last.Restarts > 0 {
		r.t.Errorf("%d events lost, %d more than once, %d restarts", lost, twice, last.Restarts)
	}
}

// flowing starts the pipeline, and waits until it runs.
func flowing(t *testing.T, spec string, args ...string) *reading {
	t.Helper()
	need(t, "python3", "Python 3")
	dir := t.TempDir()
	write(t, dir, "work.py", "def main(event):\n    yield event\n")
	write(t, dir, "p.yaml", spec)
	w := weftReading(t, dir, append([]string{"run", "p.yaml"}, args...)...)
	w.running()
	return w
}

// do runs a short command of the conductor action, and gives its exit code and what it says on stderr.
func (c *command) do(args ...string) (code int, said string) {
	c.t.Helper()
	host, key, _ := c.api()
	d := weftIn(c.t, c.dir, append(args, "--apihost", host, "--auth", key)...)
	return d.wait(2 * time.Minute), d.stderr.String()
}

// must is do for what has to succeed.
func (c *command) must(args ...string) {
	c.t.Helper()
	if code, said := c.do(args...); code != 0 {
		c.t.Fatalf("weft %s: exit code %d, %s\nwhy:\n%s", strings.Join(args, " "), code, said, c.why())
	}
}

func (c *command) slots(stage string) (n int) {
	c.t.Helper()
	st, _ := c.status()
	for _, s := range st.Slots {
		if s.Slot.Stage == stage && s.State == "ready" {
			n++
		}
	}
	return n
}

// TestScale goes from one replica to four and back under load: nothing is lost, nothing comes twice.
func TestScale(t *testing.T) {
	for _, routing := range []string{"balance", "key, key: n"} {
		t.Run(strings.Fields(routing)[0], func(t *testing.T) {
			const count = 25_000
			w := flowing(t, fmt.Sprintf(scaled, count, routing))
			for _, n := range []int{4, 2, 1} {
				w.must("scale", "scaled", fmt.Sprintf("work=%d", n))
				if a, b := w.slots("work"), w.slots("next"); a != n || b != n {
					t.Errorf("%d and %d slots after scaling to %d\n%s", a, b, n, w.why())
				}
			}
			if code, said := w.do("scale", "scaled", "work=5"); code != 1 || !strings.Contains(said, "stage work can have 1 to 4 slots, not 5") {
				t.Errorf("more than the spec's most: exit code %d, %s", code, said)
			}
			last, _ := w.status()
			if code := w.wait(2 * time.Minute); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			w.exactly(count, last)
		})
	}
}

// TestRestart gives every slot another container under load, a source and a sink among them.
func TestRestart(t *testing.T) {
	const count = 25_000
	w := flowing(t, fmt.Sprintf(scaled, count, "balance"))
	before := w.running()
	w.must("restart", "scaled")
	after := w.running()
	for _, s := range before.Slots {
		if now := slotOf(t, after, s.Slot.String()); now.PID == s.PID || now.Incarnation != s.Incarnation+1 {
			t.Errorf("%v has process %d, incarnation %d; before %d, %d", s.Slot, now.PID, now.Incarnation, s.PID, s.Incarnation)
		}
	}
	if after.Moves != 4 {
		t.Errorf("%d moves", after.Moves)
	}
	if code := w.wait(2 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.exactly(count, after)
}

// TestRollout deploys other code while the pipeline runs: when leases are renewed, the slots of its stages move
// to containers of the new version, one at a time. Nothing is lost; leases of several stages that end in the
// same moment can make repairs of moves, which repeat events.
func TestRollout(t *testing.T) {
	const count = 40_000
	w := flowing(t, fmt.Sprintf(scaled, count, "balance"), "--lease", "10s")
	w.eventually("a renewal", func() bool { // the composition of the start is over by then
		st, ok := w.status()
		return ok && st.Renewals > 0
	})
	write(t, w.dir, "work.py", "def main(event):\n    yield event # as before\n")
	w.must("deploy", "p.yaml", "--lease", "10s")
	var last control.PipelineStatus
	w.eventually("a roll-out", func() bool {
		st, ok := w.status()
		if !ok {
			return false
		}
		last = st
		for _, s := range st.Slots {
			version := "0.0.1"
			if s.Slot.Stage == "work" || s.Slot.Stage == "next" {
				version = "0.0.2"
			}
			if s.Action != version || s.State != "ready" {
				return false
			}
		}
		return true
	})
	w.explained("roll-out", "work", "0.0.2")
	if code := w.wait(2 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	seen := make([]bool, count)
	for _, n := range w.numbers {
		seen[n] = true
	}
	if i := slices.Index(seen, false); i >= 0 {
		t.Errorf("event %d is lost; %d moves, %d restarts", i, last.Moves, last.Restarts)
	}
}
