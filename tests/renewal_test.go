package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// renewed has a stage of several replicas between a generator and the standard output.
const renewed = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: renewed}
spec:
  vertices:
    - {name: in, source: {generator: {rate: %d, count: %d, size: 32}}}
    - {name: work, function: {source: work.py}, replicas: {min: 2}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: work}
    - {from: work, to: out}
`

// renewals is one run: leases so short that each worker's is renewed many times.
type renewals struct {
	name      string
	placement string
	lease     string // "" for the default, which is not renewed within the run
}

var patterns = []renewals{
	{"without", "", "5m"},
	{"stays", "", ""},
	{"busy a while", "busy", ""},
	{"first elsewhere", "pass-over-last", ""},
}

// TestRenewals runs a few renewals of each pattern; TestSoakRenewals ten minutes with leases of 20 s.
func TestRenewals(t *testing.T) {
	for _, p := range patterns[1:] {
		t.Run(p.name, func(t *testing.T) { p.run(t, "4s", 200, 15*time.Second) })
	}
}

func TestSoakRenewals(t *testing.T) {
	if os.Getenv("WEFT_SOAK") == "" {
		t.Skip("make soak runs this: 10 minutes for each pattern")
	}
	for _, p := range patterns {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			long := 10 * time.Minute
			if p.lease != "" {
				long = 2 * time.Minute // shorter than half of its lease
			}
			p.run(t, "20s", 200, long)
		})
	}
}

func (p renewals) run(t *testing.T, lease string, rate int, long time.Duration) {
	need(t, "python3", "Python 3")
	if p.lease != "" {
		lease = p.lease
	}
	dir := t.TempDir()
	count := rate * int(long.Seconds())
	write(t, dir, "work.py", "def main(event):\n    yield event\n")
	write(t, dir, "p.yaml", fmt.Sprintf(renewed, rate, count))
	args := []string{"run", "p.yaml", "--lease", lease}
	if p.placement != "" {
		args = append(args, "--placement", p.placement)
	}
	w := weftReading(t, dir, args...)
	var last control.PipelineStatus
	why := ""
	for done := false; !done; {
		select {
		case <-w.done:
			done = true
		case <-time.After(time.Second):
			if st, ok := w.status(); ok {
				last, why = st, w.ask("why")
			}
		}
	}
	if code := w.wait(time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	seen := make([]int, count)
	for _, n := range w.numbers {
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
	t.Logf("%s: %d events, %d lost, %d more than once; %d renewals, %d moves, %d restarts; largest gap between outputs %v, p99.9 %v",
		p.name, count, lost, twice, last.Renewals, last.Moves, last.Restarts, w.gap(1), w.gap(0.999))
	if lost > 0 || last.Moves > 0 || last.Restarts > 0 {
		t.Errorf("%d events lost, %d moves, %d restarts\n%s", lost, last.Moves, last.Restarts, why)
	}
	if p.lease == "" && last.Renewals < 4 {
		t.Errorf("only %d renewals", last.Renewals)
	}
}

// reading is a weft whose output is read line by line, with the time of each.
type reading struct {
	*command
	numbers []int
	gaps    []time.Duration
}

func weftReading(t testing.TB, dir string, args ...string) *reading {
	t.Helper()
	r := &reading{}
	var wg sync.WaitGroup
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		defer pr.Close()
		var last time.Time
		for s := bufio.NewScanner(pr); s.Scan(); {
			var e struct{ N int }
			if err := json.Unmarshal(s.Bytes(), &e); err != nil {
				t.Errorf("line %q: %v", s.Text(), err)
				return
			}
			now := time.Now()
			if !last.IsZero() {
				r.gaps = append(r.gaps, now.Sub(last))
			}
			last = now
			r.numbers = append(r.numbers, e.N)
		}
	})
	r.command = weftWith(t, dir, func(c *exec.Cmd) { c.Stdout = pw }, func() { pw.Close(); wg.Wait() }, args...)
	return r
}

// gap is the quantile q of the times between two outputs.
func (r *reading) gap(q float64) time.Duration {
	if len(r.gaps) == 0 {
		return 0
	}
	g := slices.Sorted(slices.Values(r.gaps))
	return g[min(int(q*float64(len(g))), len(g)-1)]
}
