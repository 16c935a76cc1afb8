package tests

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stateless has functions in both languages, each with two replicas, and numbered events.
const stateless = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: stateless}
spec:
  vertices:
    - {name: in, source: {stdin: {}, format: ndjson}}
    - {name: py, function: {source: pass.py}, replicas: {min: 2}}
    - {name: go, function: {source: pass.go}, replicas: {min: 2}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: py}
    - {from: py, to: go, routing: key, key: n}
    - {from: go, to: out}
`

const passPython = "def main(event):\n    yield event\n"

const passGo = `package main

import (
	"context"

	weft "github.com/weft-stream/weft/sdk/go"
)

type Event struct{ N int ` + "`json:\"n\"`" + ` }

func pass(_ context.Context, e Event) (Event, error) { return e, nil }
func main()                                        { weft.Map(pass) }
`

// fed is a pipeline whose source is a FIFO that numbered events flow into until finish.
type fed struct {
	*command
	stop chan struct{}
	done sync.WaitGroup
	n    int // events written, once done
}

// feed runs the spec, with the files it names, with events at about 1000 a second.
func feed(t testing.TB, spec string, also files, args ...string) *fed {
	t.Helper()
	need(t, "python3", "Python 3")
	dir := t.TempDir()
	write(t, dir, "p.yaml", spec)
	write(t, dir, "pass.py", passPython)
	write(t, dir, "pass.go", passGo)
	for name, text := range also {
		write(t, dir, name, text)
	}
	in, open := fifo(t, dir)
	f := &fed{command: weftIn(t, dir, append([]string{"run", "p.yaml", "--in", in}, args...)...), stop: make(chan struct{})}
	f.done.Go(func() {
		if w, err := open(f.command); err == nil { // what has become of weft the test finds
			f.feedLoop(w)
		}
	})
	t.Cleanup(func() { f.finish(); f.interrupt() })
	return f
}

func (f *fed) feedLoop(w io.WriteCloser) {
	defer w.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var b bytes.Buffer
		for range 10 {
			fmt.Fprintf(&b, "{\"n\":%d}\n", f.n)
			f.n++
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			return // weft has ended
		}
		select {
		case <-tick.C:
		case <-f.stop:
			return
		}
	}
}

// finish ends the input.
func (f *fed) finish() {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	f.done.Wait()
}

// why is what weft why says, in lines.
func (c *command) why() string { return c.ask("why") }

// explained waits for a line of why that has all the words.
func (c *command) explained(words ...string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("line of why with %q", words), func() bool {
		for line := range strings.Lines(c.why()) {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return true
			}
		}
		return false
	})
}

// hookPID finds the hook among what this weft has started; 0 while there is none.
func (c *command) hookPID() int {
	for pid := range processesWith(c.mark) {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Base(exe) == "invokerhook" {
			return pid
		}
	}
	return 0
}

// kill sends SIGKILL; pid below 0 means a process group.
func kill(t testing.TB, pid int) {
	t.Helper()
	if pid > -2 && pid < 2 {
		t.Fatalf("no process to kill: %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Logf("kill %d: %v", pid, err)
	}
}

// flows waits until events that were written later than now have come out.
func (f *fed) flows() {
	f.t.Helper()
	lines := strings.Count(f.stdout.String(), "\n")
	f.eventually("further output", func() bool { return strings.Count(f.stdout.String(), "\n") > lines+200 })
}

// complete ends the input, and wants each event at least once and nothing else.
func (f *fed) complete() {
	f.t.Helper()
	f.finish()
	if code := f.wait(2 * time.Minute); code != 0 {
		f.t.Fatalf("exit code %d", code)
	}
	seen := make([]int, f.n)
	total := 0
	for _, e := range ndjson[struct{ N int }](f.t, f.stdout.String()) {
		if e.N < 0 || e.N >= f.n {
			f.t.Fatalf("event %d was never written", e.N)
		}
		seen[e.N]++
		total++
	}
	lost := 0
	for n, times := range seen {
		if times == 0 {
			if lost == 0 {
				f.t.Errorf("event %d of %d is lost", n, f.n)
			}
			lost++
		}
	}
	f.t.Logf("%d events, %d lost, %d came again", f.n, lost, total-(f.n-lost))
}

// TestKillOneAfterTheOther kills a function, a worker and the hook while a pipeline runs.
func TestKillOneAfterTheOther(t *testing.T) {
	f := feed(t, stateless, nil)
	st := f.running()
	f.flows()

	kill(t, slotOf(t, st, "go[0]").FuncPID)
	f.explained("go[0]", "function restarted", "killed")
	f.flows()

	kill(t, -slotOf(t, st, "py[1]").PID)
	f.explained("py[1]", "slot lost")
	f.explained("py[1]", "slot taken", "incarnation 2")
	f.explained("rollback", "py[1]")
	f.flows()

	kill(t, f.hookPID())
	f.explained("hook took over", "term 2")
	f.flows()

	f.running()
	why := f.why()
	f.complete()
	f.leavesNoFiles()
	t.Log(why)
}

// TestKillWeft: what it has started does not outlive it, however it ends.
func TestKillWeft(t *testing.T) {
	f := feed(t, stateless, nil)
	f.running()
	kill(t, f.cmd.Process.Pid)
	<-f.command.done
	eventually(t, "end of all that it has started", func() bool { return len(processesWith(f.mark)) == 0 })
}

// TestKillAtRandom kills workers, functions and hooks in quick succession, the source's and the sink's
// among them, also the worker while there is no hook.
func TestKillAtRandom(t *testing.T) {
	seeds := []uint64{1, 2}
	if os.Getenv("WEFT_SOAK") != "" {
		seeds = append(seeds, uint64(time.Now().UnixNano()))
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			f := feed(t, stateless, nil)
			f.running()
			r := rand.New(rand.NewPCG(seed, 0))
			for range 8 {
				st := f.running()
				s := st.Slots[r.IntN(len(st.Slots))]
				switch what := r.IntN(4); {
				case what == 0 && s.FuncPID != 0:
					t.Logf("kill the function of %s", s.Slot)
					kill(t, s.FuncPID)
				case what == 1:
					t.Log("kill the hook")
					kill(t, f.hookPID())
				case what == 2:
					t.Logf("kill the hook and %s", s.Slot)
					kill(t, f.hookPID())
					kill(t, -s.PID)
				default:
					t.Logf("kill %s", s.Slot)
					kill(t, -s.PID)
				}
				time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond) // the moment is the point
			}
			f.running()
			f.flows()
			f.complete()
		})
	}
}

// TestKillSourceAndSink kills those two workers, whose files are the user's.
func TestKillSourceAndSink(t *testing.T) {
	f := feed(t, stateless, nil)
	for _, slot := range []string{"in[0]", "out[0]"} {
		st := f.running()
		f.flows()
		kill(t, -slotOf(t, st, slot).PID)
		f.explained(slot, "slot lost")
		f.explained(slot, "slot taken")
		f.flows()
	}
	f.complete()
}
