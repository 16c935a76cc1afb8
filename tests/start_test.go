package tests

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/localwhisk"
)

// short ends by itself.
const short = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: short}
spec:
  vertices:
    - {name: in, source: {generator: {count: 20, size: 10}}}
    - {name: work, function: {source: work.py}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: work}
    - {from: work, to: out}
`

// needSoak skips the long form of a test unless it was asked for.
func needSoak(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("WEFT_SOAK") == "" {
		t.Skip("make soak runs this: " + what)
	}
}

// TestHeldSink holds the sink's container back until all others wait for it, and then some more: its link
// is dialled before it exists, and the pipeline starts and ends as ever.
func TestHeldSink(t *testing.T) { heldSink(t, 2*time.Second) }

func TestSoakHeldSink(t *testing.T) {
	needSoak(t, "10 s")
	heldSink(t, 10*time.Second)
}

func heldSink(t *testing.T, hold time.Duration) {
	need(t, "python3", "Python 3")
	waited := make(chan struct{})
	release := sync.OnceFunc(func() { close(waited) })
	c := newCluster(t, localwhisk.Placement{Hold: func(action string) time.Duration {
		if action != "guest/short.stages/out" {
			return 0
		}
		<-waited
		return hold
	}})
	t.Cleanup(release) // before the platform ends
	dir := t.TempDir()
	write(t, dir, "p.yaml", short)
	write(t, dir, "work.py", "def main(event):\n    yield event\n")
	deployed(t, c.rest, dir)
	w := c.weft(dir, "start", "short", "--attach", "p.yaml")
	w.eventually("link to a sink that does not exist", func() bool {
		st, ok := c.look(w)
		if !ok || len(slotOf(t, st, "work[0]").Links) == 0 {
			return false
		}
		out, l := slotOf(t, st, "out[0]"), link(t, st, "work[0]", "out[0]")
		if out.Addr != "" || out.Incarnation != 0 || l.Up || st.Phase != control.Starting {
			t.Fatalf("the sink is not held back: %+v, link %+v", out, l)
		}
		return slotOf(t, st, "in[0]").State == "taken" && slotOf(t, st, "work[0]").State == "taken"
	})
	release()
	checkShort(t, w)
}

// look is the status of the only pipeline.
func (c *cluster) look(w *command) (control.PipelineStatus, bool) {
	c.t.Helper()
	s := c.weft(w.dir, "status", "-o", "json")
	s.wait(time.Minute)
	var st control.Status
	if json.Unmarshal([]byte(s.stdout.String()), &st) != nil || len(st.Pipelines) == 0 {
		return control.PipelineStatus{}, false
	}
	return st.Pipelines[0], true
}

// checkShort waits for the end of the pipeline short, and checks its output.
func checkShort(t testing.TB, w *command) {
	t.Helper()
	if code := w.wait(time.Minute); code != 0 {
		t.Fatalf("exit code %d\n%s", code, w.stderr)
	}
	seen := map[int]int{}
	for _, e := range ndjson[struct{ N int }](t, w.stdout.String()) {
		seen[e.N]++
	}
	for n := range 20 {
		if seen[n] != 1 {
			t.Errorf("event %d came %d times", n, seen[n])
		}
	}
	if len(seen) != 20 || !strings.Contains(w.stderr.String(), "restarts: 0") {
		t.Errorf("output %v\n%s", seen, w.stderr)
	}
}

// TestStartAgain: while a second start is on its way, the hook still shows the first run as ended. That is
// not the end of the second.
func TestStartAgain(t *testing.T) {
	need(t, "python3", "Python 3")
	c := newCluster(t, localwhisk.Placement{Hold: func(action string) time.Duration {
		if action == "guest/short.steps/plan" {
			return 500 * time.Millisecond
		}
		return 0
	}})
	dir := t.TempDir()
	write(t, dir, "p.yaml", strings.ReplaceAll(short, "count: 20", "count: 20, rate: 20"))
	write(t, dir, "work.py", "def main(event):\n    yield event\n")
	for range 2 {
		deployed(t, c.rest, dir) // again, so that plan has no container yet
		checkShort(t, c.weft(dir, "start", "short", "--attach", "p.yaml"))
	}
}

// TestShortRuns starts a pipeline of new containers again and again, each container after a time of its
// own, so that they come in every order. Each run ends by itself.
func TestShortRuns(t *testing.T) { shortRuns(t, 40) }

func TestSoakShortRuns(t *testing.T) {
	needSoak(t, "1000 runs")
	shortRuns(t, 1000)
}

func shortRuns(t *testing.T, runs int) {
	need(t, "python3", "Python 3")
	var mu sync.Mutex
	held := map[string]time.Duration{} // stage → how long its container was held back last
	c := newCluster(t, localwhisk.Placement{Hold: func(action string) time.Duration {
		stage, ok := strings.CutPrefix(action, "guest/short.stages/")
		if !ok {
			return 0
		}
		mu.Lock()
		defer mu.Unlock()
		held[stage] = rand.N(30 * time.Millisecond)
		return held[stage]
	}})
	dir := t.TempDir()
	write(t, dir, "p.yaml", short)
	write(t, dir, "work.py", "def main(event):\n    yield event\n")
	deployed(t, c.rest, dir)
	orders := map[string]int{} // of starts → runs
	began := time.Now()
	for n := range runs {
		for _, stage := range []string{"in", "work", "out"} {
			c.renew("actions/short.stages/" + stage)
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			one := *c
			one.t = t
			checkShort(t, one.weft(dir, "start", "short", "--attach", "p.yaml"))
		})
		if t.Failed() {
			t.Fatalf("run %d of %d, held back %v", n+1, runs, held)
		}
		mu.Lock()
		stages := slices.SortedFunc(maps.Keys(held), func(a, b string) int { return cmp.Compare(held[a], held[b]) })
		mu.Unlock()
		orders[strings.Join(stages, ", ")]++
	}
	t.Logf("%d runs in %v; orders of the containers: %v", runs, time.Since(began).Round(time.Millisecond), orders)
}

// renew puts an action again: a new version, which no container has.
func (c *cluster) renew(action string) {
	c.t.Helper()
	var a map[string]any
	if code := c.call("GET", action, nil, &a); code != http.StatusOK {
		c.t.Fatalf("get %s: status %d", action, code)
	}
	delete(a, "version")
	if code := c.call("PUT", action+"?overwrite=true", a, nil); code != http.StatusOK {
		c.t.Fatalf("put %s: status %d", action, code)
	}
}
