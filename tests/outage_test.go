package tests

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
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

// way to Kafka, which can be cut.
type way struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (w *way) dial(network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	c, err := net.DialTimeout(network, address, 10*time.Second)
	if err == nil {
		w.conns = append(w.conns, c)
	}
	return c, err
}

// cut breaks the connections there are, and lets no other come to be until it is mended.
func (w *way) cut(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// hookHere starts a hook in the test's process, which reaches Kafka by w.
func (c *cluster) hookHere(kafka string, w *way) (stop func()) {
	c.t.Helper()
	h, err := invokerhook.New(invokerhook.Config{Listen: []string{c.hook}, Kafka: []string{kafka}, APIHost: c.host, Keys: [][]byte{make([]byte, 32)},
		Host: "test", Processes: true, Access: invokerhook.KafkaAccess{Dial: w.dial}, Logger: zerolog.New(c.log)})
	if err == nil {
		err = h.Open(c.t.Context())
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return func() { _ = h.Close() } // the test is over
}

// TestKafkaOutage: the hook doesn't reach Kafka for longer than leases last. Status says so; the workers are frozen
// with what they hold, and go on when it does: nothing is lost, and where nobody lost a slot nothing comes twice.
func TestKafkaOutage(t *testing.T) {
	need(t, "python3", "Python 3")
	kafka := &way{}
	c := newClusterWith(t, localwhisk.Placement{}, func(c *cluster, _, addr string) (stop func()) { return c.hookHere(addr, kafka) })
	dir := t.TempDir()
	write(t, dir, "p.yaml", strings.ReplaceAll(outlasting, "count: 1500", "count: 4000"))
	write(t, dir, "work.py", "def main(event):\n    yield event\n")
	deployed(t, c.rest, dir)
	w := weftReading(t, dir, "start", "outlasting", "--attach", "p.yaml", "--apihost", c.host, "--auth", c.key, "--hook", c.hook)
	until := func(what string, ok func(control.PipelineStatus) bool) (st control.PipelineStatus) {
		t.Helper()
		w.eventually(what, func() (known bool) {
			st, known = c.look(w.command)
			return known && ok(st)
		})
		return st
	}
	st := until("a running pipeline", func(st control.PipelineStatus) bool {
		return st.Phase == control.Running && !slices.ContainsFunc(st.Slots, func(s control.SlotStatus) bool { return s.PID == 0 })
	})
	kafka.cut(true)
	until("a word on it", func(st control.PipelineStatus) bool {
		return st.Phase == control.Running && st.Stalled != nil && st.Stalled.LeasesMS > 0
	})
	table := c.weft(dir, "status", "outlasting")
	table.wait(time.Minute)
	if said := table.stdout.String(); !strings.Contains(said, "stalled: since ") || !strings.Contains(said, "all goes on when Kafka answers") {
		t.Errorf("weft status says\n%s", said)
	}
	w.eventually("frozen workers", func() bool {
		return !slices.ContainsFunc(st.Slots, func(s control.SlotStatus) bool { return !stopped(s.PID) })
	})
	kafka.cut(false)
	last := until("renewals", func(st control.PipelineStatus) bool {
		return st.Stalled == nil && st.Renewals+st.Moves >= len(st.Slots)
	})
	if code := w.wait(2 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	seen := map[int]int{}
	for _, n := range w.numbers {
		seen[n]++
	}
	t.Logf("%d events in %d lines, %d moves, %d restarts, largest gap %v", len(seen), len(w.numbers), last.Moves, last.Restarts, w.gap(1))
	if len(seen) != 4000 || last.Restarts == 0 && len(w.numbers) != 4000 {
		t.Errorf("%d of 4000 events in %d lines", len(seen), len(w.numbers))
	}
}

// stopped tells whether a process is.
func stopped(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(text), ") ")
	return err == nil && strings.HasPrefix(state, "T")
}
