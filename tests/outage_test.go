package tests

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/localwhisk"
)

const outlasting = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: outlasting}
spec:
  lease: 6s
  vertices:
    - {name: in, source: {generator: {rate: 100, count: 1500, size: 32}}}
    - {name: work, function: {source: work.py}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: work}
    - {from: work, to: out}
`

// TestOutage: the platform's API is away for longer than the leases last. The pipeline is suspended with all
// that it has sent confirmed, and goes on by itself when the API is back: nothing is lost, nothing comes twice.
func TestOutage(t *testing.T) {
	need(t, "python3", "Python 3")
	var away atomic.Bool
	c := newClusterBehind(t, localwhisk.Placement{}, func(host string) string {
		to, err := url.Parse(host)
		if err != nil {
			t.Fatal(err)
		}
		api := httputil.NewSingleHostReverseProxy(to)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if away.Load() {
				panic(http.ErrAbortHandler) // the connection breaks
			}
			api.ServeHTTP(w, r)
		}))
		t.Cleanup(s.Close)
		return s.URL
	})
	dir := t.TempDir()
	write(t, dir, "p.yaml", outlasting)
	write(t, dir, "work.py", "def main(event):\n    yield event\n")
	deployed(t, c.rest, dir)
	w := weftReading(t, dir, "start", "outlasting", "--attach", "p.yaml", "--apihost", c.host, "--auth", c.key, "--hook", c.hook)
	until := func(phase control.Phase) (st control.PipelineStatus) {
		w.eventually(string(phase), func() (ok bool) {
			st, ok = c.look(w.command)
			return ok && st.Phase == phase
		})
		return st
	}
	until(control.Running)
	away.Store(true)
	if st := until(control.Suspended); !strings.Contains(st.Error, "the platform does not answer") {
		t.Errorf("it waits: %q", st.Error)
	}
	why := c.weft(dir, "why", "outlasting")
	why.wait(time.Minute)
	away.Store(false)
	if code := w.wait(2 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	seen := map[int]int{}
	for _, n := range w.numbers {
		seen[n]++
	}
	drained := strings.Contains(why.stdout.String(), "all that the sources have sent has been confirmed")
	t.Logf("%d events, %d lines, drained in time: %v", len(seen), len(w.numbers), drained)
	if len(seen) != 1500 || drained && len(w.numbers) != 1500 {
		t.Errorf("%d of 1500 events in %d lines\n%s", len(seen), len(w.numbers), why.stdout)
	}
}
