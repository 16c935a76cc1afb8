package localwhisk_test

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
)

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) minuteLater() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Minute)
}

// procState is the state letter of a process, 0 if it is gone.
func procState(pid int) byte {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	return b[bytes.LastIndexByte(b, ')')+2]
}

// settle waits until no container is busy any more: a completion follows the
// answer, and the container is free only then.
func settle(t *testing.T, p *localwhisk.Platform) {
	t.Helper()
	eventually(t, "quiet pool", func() bool {
		return !slices.ContainsFunc(p.Containers(), func(c localwhisk.ContainerInfo) bool { return c.State == "busy" })
	})
}

type who struct{ Pid, Served int }

func ask(t *testing.T, c *openwhisk.Client, name string) who {
	t.Helper()
	inv := invoke(t, c, name, params{"mode": "who"})
	if inv.Status != 200 {
		t.Fatalf("%d %s", inv.Status, inv.Result)
	}
	return result[who](t, inv.Result)
}

// together runs n at once, each in a container of its own.
func together(t *testing.T, c *openwhisk.Client, name string, n int) []int {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		inv, err := c.Invoke(t.Context(), name, params{"mode": "who", "ms": 400}, openwhisk.InvokeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = inv.ActivationID
	}
	pids := make([]int, n)
	for i, id := range ids {
		pids[i] = result[who](t, record(t, c, id).Response.Result).Pid
	}
	return pids
}

func TestPauseAndResume(t *testing.T) {
	_, c := start(t, func(c *localwhisk.Config) { c.PauseGrace, c.IdleTimeout = 200*time.Millisecond, 4*time.Second })
	put(t, c, "m", nil)
	pids := result[struct{ Pid, Child int }](t, invoke(t, c, "m", params{"mode": "child"}).Result)
	eventually(t, "paused group", func() bool { return procState(pids.Pid) == 'T' && procState(pids.Child) == 'T' })
	if w := ask(t, c, "m"); w.Pid != pids.Pid || w.Served != 2 {
		t.Errorf("after the pause: %+v, before it process %d", w, pids.Pid)
	}
	eventually(t, "end of an idle container", func() bool { return procState(pids.Pid) == 0 })
	eventually(t, "end of its child", func() bool { s := procState(pids.Child); return s == 0 || s == 'Z' })
}

func TestEvictionAndWaiting(t *testing.T) {
	p, c := start(t, func(c *localwhisk.Config) { c.UserMemoryMB = 256 })
	for _, name := range []string{"a", "b", "d"} {
		put(t, c, name, nil)
	}
	a := ask(t, c, "a")
	settle(t, p)
	b := ask(t, c, "b")
	settle(t, p)
	ask(t, c, "d") // the memory holds two: the oldest idle one goes
	if procState(a.Pid) != 0 || procState(b.Pid) == 0 {
		t.Errorf("states of a and b: %q %q", procState(a.Pid), procState(b.Pid))
	}
	// Four at once in room for two: two wait, none is lost.
	pids := together(t, c, "a", 4)
	distinct := map[int]bool{}
	for _, p := range pids {
		distinct[p] = true
	}
	if len(distinct) != 2 {
		t.Errorf("containers used: %v", pids)
	}
}

// TestNoEvictionInVain: nothing goes while all that is idle would not be
// enough; when it is, the waiting run gets it.
func TestNoEvictionInVain(t *testing.T) {
	p, c := start(t, func(c *localwhisk.Config) { c.UserMemoryMB = 384 })
	put(t, c, "a", nil)
	put(t, c, "b", nil)
	put(t, c, "large", func(a *openwhisk.Action) { a.Limits = openwhisk.NewLimits(10000, 384, 1) })
	a := ask(t, c, "a")
	settle(t, p)
	busy, err := c.Invoke(t.Context(), "b", params{"mode": "sleep", "ms": 1000}, openwhisk.InvokeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "start of b", func() bool { return len(p.Containers()) == 2 })
	waits, err := c.Invoke(t.Context(), "large", nil, openwhisk.InvokeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "end of a", func() bool { return procState(a.Pid) == 0 })
	if _, err := c.GetActivation(t.Context(), busy.ActivationID); err != nil {
		t.Errorf("a went before b was over: %v", err)
	}
	b, large := record(t, c, busy.ActivationID), record(t, c, waits.ActivationID)
	if large.Start < b.End {
		t.Errorf("large began %d ms before b ended", b.End-large.Start)
	}
}

// TestRenewalBeforeCompletion: while a completion is not through, the next
// run of the action starts another container.
func TestRenewalBeforeCompletion(t *testing.T) {
	_, c := start(t, func(c *localwhisk.Config) { c.Placement.CompletionDelay = 10 * time.Second })
	put(t, c, "m", nil)
	first := ask(t, c, "m") // the answer is here before the completion is out
	if second := ask(t, c, "m"); second.Pid == first.Pid {
		t.Error("the renewal came back to a container that was still busy")
	}
}

// TestLongestIdleFirst: of several idle containers the longest idle one is
// taken, each time; with one idle the action stays on it.
func TestLongestIdleFirst(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "m", nil)
	next := func() int {
		w := ask(t, c, "m")
		settle(t, p)
		return w.Pid
	}
	alone := next()
	for range 3 {
		if p := next(); p != alone {
			t.Fatalf("with one container: %d and %d", alone, p)
		}
	}
	together(t, c, "m", 3)
	settle(t, p)
	round := []int{next(), next(), next()}
	for i, want := range append(round, round...) {
		if p := next(); p != want {
			t.Errorf("turn %d: process %d, wanted %d of %v", i, p, want, round)
		}
	}
}

func TestPassOverLast(t *testing.T) {
	p, c := start(t, func(c *localwhisk.Config) { c.Placement.PassOverLast = true })
	put(t, c, "m", nil)
	last := 0
	for range 4 {
		w := ask(t, c, "m")
		settle(t, p)
		if w.Pid == last {
			t.Errorf("process %d ran twice in a row", w.Pid)
		}
		last = w.Pid
	}
	if n := len(p.Containers()); n != 2 {
		t.Errorf("%d containers", n)
	}
}

func TestHold(t *testing.T) {
	asked := make(chan string, 1)
	release := 300 * time.Millisecond
	_, c := start(t, func(c *localwhisk.Config) {
		c.Placement.Hold = func(action string) time.Duration { asked <- action; return release }
	})
	put(t, c, "m", nil)
	a := invoke(t, c, "m", nil).Activation
	if got := <-asked; got != "guest/m" {
		t.Errorf("asked about %q", got)
	}
	if wait := result[int](t, a.Annotations.Get("waitTime")); wait < int(release.Milliseconds()) {
		t.Errorf("waited %d ms only", wait)
	}
}

func TestPrewarm(t *testing.T) {
	_, c := start(t, func(c *localwhisk.Config) {
		r := c.Runtimes["go:1.26"]
		r.Prewarm = 1
		c.Runtimes["go:1.26"] = r
		c.UserMemoryMB = 256 // room for the prewarmed one only
	})
	put(t, c, "m", func(a *openwhisk.Action) { a.Limits = openwhisk.NewLimits(10000, 256, 1) })
	if inv := invoke(t, c, "m", nil); inv.Status != 200 || inv.Activation.Annotations.Get("initTime") == nil {
		t.Errorf("%d %v", inv.Status, inv.Activation.Annotations)
	}
}

// TestDeadContainer: a container that ended while idle is not noticed until
// the next run, which goes to another.
func TestDeadContainer(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "m", nil)
	w := ask(t, c, "m")
	settle(t, p)
	if err := syscall.Kill(w.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "death", func() bool { return procState(w.Pid) == 0 })
	if n := ask(t, c, "m"); n.Pid == w.Pid || n.Served != 1 {
		t.Errorf("%+v after %+v", n, w)
	}
}

func TestNothingLeftAfterClose(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "m", nil)
	pids := result[struct{ Pid, Child int }](t, invoke(t, c, "m", params{"mode": "child"}).Result)
	inv, err := c.Invoke(t.Context(), "m", params{"mode": "sleep", "ms": 60000}, openwhisk.InvokeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if s := procState(pids.Pid); s != 0 {
		t.Errorf("container is in state %q", s)
	}
	eventually(t, "end of the child", func() bool { s := procState(pids.Child); return s == 0 || s == 'Z' })
	if _, err := c.GetActivation(t.Context(), inv.ActivationID); err == nil {
		t.Error("the API still answers")
	}
	if err := p.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}
