package tests

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// TestProcesses looks at the first example from outside while it runs: the platform knows a lease of each
// slot and the steps of the start, every slot is a process of the proxy, the hook one of its own.
func TestProcesses(t *testing.T) {
	need(t, "python3", "Python 3")
	example, err := filepath.Abs("../examples/wordcount/pipeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	in, open := fifo(t, dir)
	w := weftIn(t, dir, "run", example, "--in", in, "--lease", "4s")
	feed := input(t, open, w)
	defer feed.Close()
	st := w.running()
	if _, err := io.WriteString(feed, "one two two\n"); err != nil {
		t.Fatal(err)
	}

	host, key, hook := w.api()
	r := rest{t, host, key}
	if got := len(st.Slots); got != 6 {
		t.Errorf("%d slots, want 6", got)
	}
	pids := map[int]string{}
	for _, s := range st.Slots {
		if other, twice := pids[s.PID]; twice {
			t.Errorf("%s and %s are the same process", other, s.Slot)
		}
		pids[s.PID] = s.Slot.String()
		if exe := executable(t, s.PID); exe != filepath.Join(bin, "actionproxy") {
			t.Errorf("slot %s runs %s", s.Slot, exe)
		}
	}
	if exe := executable(t, listener(t, strings.TrimPrefix(hook, "unix:"), w.mark)); exe != filepath.Join(bin, "invokerhook") {
		t.Errorf("the hook runs %s", exe)
	}

	// A record is written when its activation ends; with short leases that is soon.
	leases := map[string]bool{}
	var start activation
	w.eventually("lease of each slot", func() bool {
		for _, a := range r.activations() {
			switch path := a.annotation("path"); {
			case path == "guest/wordcount.stages/"+a.Name:
				if l := a.lease(t); l.Slot != "" {
					leases[l.Slot] = true
				}
			case path == "guest/wordcount" && a.Cause == "" && len(a.Logs) > 0:
				start = a
			}
		}
		return len(leases) >= len(st.Slots)
	})
	for _, s := range st.Slots {
		if !leases[s.Slot.String()] {
			t.Errorf("no lease of %s among %v", s.Slot, leases)
		}
	}
	want := []string{"plan", "await-out", "await-sort", "await-count", "await-split", "await-in", "report"}
	if got := r.components(start); !slices.Equal(got, want) {
		t.Errorf("the conductor's steps are %v, want %v", got, want)
	}

	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	if code := w.wait(time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if got := w.stdout.String(); got != `{"word":"two","count":2}`+"\n"+`{"word":"one","count":1}`+"\n" {
		t.Errorf("output %s", got)
	}
	for pid, slot := range pids {
		if processState(pid) != 0 {
			t.Errorf("the process of %s is still there", slot)
		}
	}
}

// executable is the file that a process runs.
func executable(t testing.TB, pid int) string {
	t.Helper()
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// listener is the process with the mark that listens on a Unix socket.
func listener(t testing.TB, path, mark string) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	// Flags 00010000 are those of a listening socket; the inode comes before the path.
	m := regexp.MustCompile(`(?m)^\S+ \S+ \S+ 00010000 \S+ \S+ +(\d+) ` + regexp.QuoteMeta(path) + `$`).FindSubmatch(table)
	if m == nil {
		t.Fatalf("nobody listens on %s", path)
	}
	for pid := range processesWith(mark) {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && to == "socket:["+string(m[1])+"]" {
				return pid
			}
		}
	}
	t.Fatalf("the process that listens on %s is not one of weft's", path)
	return 0
}

// processState is the kernel's letter, T for a stopped process; 0 when there is none, or only its remains.
func processState(pid int) byte {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	text := string(stat)
	state := text[strings.LastIndexByte(text, ')')+2]
	if state == 'Z' || state == 'X' {
		return 0
	}
	return state
}

// slowly has a last function that waits for a file before it is ready.
const slowly = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: slowly}
spec:
  vertices:
    - {name: in, source: {generator: {count: 100}}}
    - {name: first, function: {source: first.py}, replicas: {min: 2}}
    - {name: last, function: {source: last.py}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: first}
    - {from: first, to: last}
    - {from: last, to: out}
`

// TestReadiness: a stage is ready only when those it sends to are, however long these take.
func TestReadiness(t *testing.T) {
	need(t, "python3", "Python 3")
	dir := t.TempDir()
	gate := filepath.Join(dir, "gate")
	write(t, dir, "p.yaml", slowly)
	write(t, dir, "first.py", "def main(event):\n    yield event\n")
	write(t, dir, "last.py", fmt.Sprintf(`import os, time
while not os.path.exists(%q):
    time.sleep(0.01)

def main(event):
    yield event
`, gate))
	w := weftIn(t, dir, "run", "p.yaml")
	order := []string{"out", "last", "first", "in"} // the stages, sinks first
	inOrder := func() (ready map[string]int, phase control.Phase) {
		st, ok := w.status()
		ready = map[string]int{}
		for _, s := range st.Slots {
			if s.State == "ready" {
				ready[s.Slot.Stage]++
			}
		}
		for i, stage := range order[1:] {
			if ok && st.Phase == control.Starting && ready[stage] > 0 && ready[order[i]] == 0 {
				t.Errorf("%s is ready, %s is not: %v", stage, order[i], ready)
			}
		}
		return ready, st.Phase
	}
	w.eventually("ready sink", func() bool {
		ready, _ := inOrder()
		return ready["out"] == 1
	})
	for range 20 { // time enough for the others, did they not wait
		if ready, _ := inOrder(); len(ready) != 1 {
			t.Fatalf("ready are %v, and last can't be", ready)
		}
	}
	write(t, dir, "gate", "")
	w.eventually("pipeline that has started", func() bool {
		_, phase := inOrder()
		return phase == control.Running || phase == control.Ended
	})
	if code := w.wait(time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	var told []string
	for _, l := range regexp.MustCompile(`(?m)^weft: (\w+) +ready`).FindAllStringSubmatch(w.stderr.String(), -1) {
		told = append(told, l[1])
	}
	if !slices.Equal(told, order) {
		t.Errorf("weft told of %v, want %v", told, order)
	}
}
