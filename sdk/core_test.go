package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/direct/directtest"
	"github.com/weft-stream/weft/quicmesh/frame"
)

const patience = 30 * time.Second

// core is the native core, built once.
var core = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(functions), "libweft.so")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", path, "./core")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the native core: %w\n%s", err, out)
	}
	return path, nil
})

func needCore(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("gcc is needed for the native core; install gcc")
	}
	path, err := core()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// holds runs a Python function that holds its mesh. Its code is a module that has main.
func holds(t testing.TB, h *directtest.Host, stage, code string) *directtest.Function {
	t.Helper()
	path := needCore(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is needed; install Python 3.9 or newer")
	}
	return h.Function(stage, func(socket string) error {
		cmd := exec.Command(python, "-c", "import sys\nsys.path[:0] = ['python']\n"+code+"\nimport weft\nweft.serve(main)")
		cmd.Env = append(os.Environ(), "WEFT_CORE="+path)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		lines, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		results, theirs, err := os.Pipe()
		if err != nil {
			return err
		}
		defer results.Close()
		cmd.ExtraFiles = []*os.File{theirs}
		err = cmd.Start()
		_ = theirs.Close()
		if err != nil {
			return err
		}
		buf := make([]byte, 200)
		n, _ := results.Read(buf)
		if want := `{"ok":true,"abi":"weft.stream/1","mesh":1}` + "\n"; string(buf[:n]) != want {
			return errors.Join(fmt.Errorf("it acknowledges with %q, not %q", buf[:n], want), cmd.Process.Kill(), cmd.Wait())
		}
		_, err = fmt.Fprintf(lines, `{"weft":{"socket":%q,"mesh":1}}`+"\n", socket)
		go io.Copy(io.Discard, results)
		return errors.Join(err, lines.Close(), cmd.Wait()) // it reads the end of its input after the mesh's
	})
}

// chain is a function in Python between the test's own two ends.
type chain struct {
	t       *testing.T
	ctx     context.Context
	in, out *direct.Place
	items   []quicmesh.Item
	edge    uint16
}

func newChain(t *testing.T, code string) (*chain, *directtest.Function) {
	h := directtest.New(t, "in", "f", "out")
	c := &chain{t: t, out: h.Place("out"), edge: h.EdgeTo("f")}
	f := holds(t, h, "f", code)
	c.in = h.Place("in")
	c.in.SetVersions(h.Everybody(), nil)
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return c, f
}

// send sends a payload from memory that the function reads in place, if it is large.
func (c *chain) send(payload string) {
	c.t.Helper()
	p := []byte(payload)
	if len(payload) >= quicmesh.ReferFrom {
		r := c.in.Alloc(c.ctx, len(payload))
		defer r.Release()
		p = r.Bytes()
		copy(p, payload)
	}
	e := &quicmesh.Event{ID: []byte("in/0"), Payload: p, Headers: frame.AppendHeader(nil, "h", "v"), EventTime: 1_000_000}
	if err := c.in.Send(c.ctx, c.edge, e); err != nil {
		c.t.Fatal(err)
	}
}

// next is what the function makes.
func (c *chain) next() string {
	c.t.Helper()
	for {
		for len(c.items) > 0 {
			it := &c.items[0]
			c.items = c.items[1:]
			if it.Kind == quicmesh.KindEvent {
				defer it.Release()
				return string(it.Frame.Payload)
			}
		}
		var err error
		if c.items, err = c.out.Receive(c.ctx, nil); err != nil {
			c.t.Fatal(err)
		}
	}
}

// lent sends large payloads until the function reads them in place: the first ones may be copied.
func (c *chain) lent(large func(i int) string) {
	c.t.Helper()
	for i := 0; c.in.Stats().Links[0].Referred == 0; i++ {
		c.send(large(i))
		c.next()
	}
}

func largeText(i int) string {
	return fmt.Sprintf(`{"n":%d,"text":"%s"}`, i, strings.Repeat(string(rune('a'+i%26)), 100_000))
}

// TestCorePython: what a function sees of an event, what it makes of it, and how it fails, is the same over the
// core.
func TestCorePython(t *testing.T) {
	c, f := newChain(t, `
def main(event, ctx):
    if event.get("fail"):
        raise ValueError("no good")
    if event.get("text"):
        event["text"] = len(event["text"])
    ctx.emit({"seen": event, "id": ctx.id, "h": ctx.headers, "t": ctx.event_time.timestamp(), "stage": ctx.stage}, key="k")
    return [{"text": "y" * 50000}, {"surrogate": "\udc80"}] if event.get("many") else None
`)
	c.send(`{"n":1}`)
	if got := c.next(); got != `{"seen":{"n":1},"id":"in/0","h":{"h":"v"},"t":1.0,"stage":"f"}` {
		t.Error(got)
	}
	c.send(`{"fail":1}`)
	c.send(`{"many":1}`)
	for i, want := range []string{`{"seen":{"many":1},"id":"in/0","h":{"h":"v"},"t":1.0,"stage":"f"}`,
		`{"text":"` + strings.Repeat("y", 50_000) + `"}`, `{"surrogate":"\udc80"}`} {
		if got := c.next(); got != want {
			t.Errorf("output %d: %.200s", i, got)
		}
	}
	c.lent(largeText)
	c.send(largeText(3))
	if got := c.next(); got != `{"seen":{"n":3,"text":100000},"id":"in/0","h":{"h":"v"},"t":1.0,"stage":"f"}` {
		t.Error(got)
	}
	if n := f.Page.Counts(0); n.Failed.Load() != 1 || f.Page.Working() {
		t.Errorf("%d events failed, working: %v", n.Failed.Load(), f.Page.Working())
	}
}

// TestCoreInPlace: a large payload is the sender's memory, read only, and void when the function has returned; what
// is made of it and still there keeps its bytes, whatever the sender writes.
func TestCoreInPlace(t *testing.T) {
	c, _ := newChain(t, `
last = part = kept = None
def main(event: memoryview):
    global last, part, kept
    gone = late = ""
    if last is not None:
        try:
            last[0]
        except ValueError:
            gone = "yes"
    try:
        event[0] = 0
    except TypeError:
        late = "yes"
    same = part is None or bytes(part) == kept
    if part is None and len(event) > 50000:
        part = event[-1000:-2]
        kept = bytes(part)
    last = event
    return {"gone": gone, "readonly": late, "same": same, "end": bytes(event[-3:]).decode()}
`)
	c.lent(largeText)
	for i := range 40 { // more than an arena has room for beside one that is kept
		c.send(strings.Repeat(" ", 1<<20) + largeText(i))
		want := fmt.Sprintf(`{"gone":"yes","readonly":"yes","same":true,"end":"%c\"}"}`, 'a'+i%26)
		if got := c.next(); got != want {
			t.Fatalf("event %d: %s, want %s", i, got, want)
		}
	}
	if n := c.in.Stats().Links[0].Referred; n < 30 {
		t.Errorf("%d of 40 by reference", n)
	}
	if n := c.in.Memory().Regions; n > 3 {
		t.Errorf("%d regions are held", n)
	}
}

// TestCoreArrays: numpy and pyarrow take a payload without a copy, and one that is there after the event keeps its
// bytes.
func TestCoreArrays(t *testing.T) {
	for name, code := range map[string]string{
		"numpy": `
import numpy
def array(view): return numpy.frombuffer(view, "u1")
def read(a): return int(a[100]), bytes(a[100:200])
def at(a): return a.__array_interface__["data"][0]
`, "pyarrow": `
import pyarrow
def array(view): return pyarrow.py_buffer(view)
def read(a): return a[100], a.slice(100, 100).to_pybytes()
def at(a): return a.address
`} {
		t.Run(name, func(t *testing.T) {
			if exec.Command(python(t), "-c", "import "+name).Run() != nil {
				t.Skipf("%s is needed; install it with pip install %s", name, name)
			}
			c, _ := newChain(t, code+`
kept = []
def main(event: memoryview):
    a = array(event)
    import ctypes
    where = ctypes.addressof(event.obj) if len(event) > 50000 else at(a)
    if not kept:
        kept.append((a, read(a)))
    return {"same": read(kept[0][0]) == kept[0][1], "copied": at(a) != where}
`)
			c.lent(largeText)
			for i := range 100 {
				c.send(largeText(i))
				if got := c.next(); got != `{"same":true,"copied":false}` {
					t.Fatalf("event %d: %s", i, got)
				}
			}
		})
	}
}

// TestCoreAlloc: what a function writes in memory of alloc's, the next one reads there; a part of it, the payload
// itself, and what no stage has room for in place are outputs as well.
func TestCoreAlloc(t *testing.T) {
	c, f := newChain(t, `
import weft
last = None
def main(event: memoryview, ctx):
    global last
    if last is not None:
        try:
            last[0] = 1
            raise SystemExit("memory that is another event's was written")
        except ValueError:
            pass
    if len(event) > 50000:
        return event
    out = weft.alloc(200000)
    last = out
    out[:] = b'{"x":"' + b"z" * 199992 + b'"}'
    ctx.emit(out)
    small = weft.alloc(10)
    small[:] = b'{"a":1234}'
    ctx.emit(small)
    out[99998:100000] = b'"}'
    return out[:100000]
`)
	for i := range 20 {
		c.send(`{"n":1}`)
		for _, want := range []string{"200000 {\"x\":\"z", "10 {\"a\":12", "100000 {\"x\":\"z"} {
			if got := c.next(); fmt.Sprintf("%d %s", len(got), got[:7]) != want {
				t.Fatalf("round %d: %d bytes, %.20s, want %s", i, len(got), got, want)
			}
		}
		c.send(largeText(i))
		if got := c.next(); got != largeText(i) {
			t.Fatalf("round %d: %d bytes came back", i, len(got))
		}
	}
	for referred := uint64(0); referred < 20; {
		select {
		case s := <-f.Stats:
			for _, l := range s.Links {
				if l.Out {
					referred = l.Referred
				}
			}
		case <-c.ctx.Done():
			t.Fatalf("%d of 40 outputs by reference", referred)
		}
	}
}

// TestCoreSignals: a handler runs while the function waits for an event.
func TestCoreSignals(t *testing.T) {
	c, _ := newChain(t, `
import os, signal
def main(event):
    def handler(*_):
        with open(event["fifo"], "w") as f:
            f.write("handled")
    signal.signal(signal.SIGTERM, handler)
    return {"pid": os.getpid()}
`)
	fifo := filepath.Join(t.TempDir(), "fifo")
	check(t, syscall.Mkfifo(fifo, 0o600))
	for range 2 {
		c.send(fmt.Sprintf(`{"fifo":%q}`, fifo))
		var p struct{ Pid int }
		check(t, json.Unmarshal([]byte(c.next()), &p))
		check(t, syscall.Kill(p.Pid, syscall.SIGTERM))
		got, err := os.ReadFile(fifo) // waits for the handler
		check(t, err)
		if string(got) != "handled" {
			t.Errorf("%q", got)
		}
	}
}

// TestCoreFork: a child of the function's is no function, and harms nothing.
func TestCoreFork(t *testing.T) {
	c, _ := newChain(t, `
import multiprocessing, os, subprocess, sys, weft
def work(q):
    m = weft.alloc(100000)
    m[0] = 7
    q.put(m[0])
def main(event: memoryview):
    q = multiprocessing.get_context("fork").SimpleQueue()
    p = multiprocessing.get_context("fork").Process(target=work, args=(q,))
    p.start()
    p.join()
    pid = os.fork()
    if pid == 0:
        return None  # as if it were the function
    return {"fork": q.get(), "exit": p.exitcode, "other": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]),
            "process": subprocess.run([sys.executable, "-c", "print(42)"], capture_output=True).stdout.decode().strip()}
`)
	for range 2 {
		c.send(largeText(0))
		if got := c.next(); got != `{"fork":7,"exit":0,"other":1,"process":"42"}` {
			t.Error(got)
		}
	}
}

// TestCoreForkThatStays: the function's process ends though a child of its has all that it had.
func TestCoreForkThatStays(t *testing.T) {
	c, _ := newChain(t, `
import multiprocessing, time
child = None
def main(event):
    global child
    if child is None:
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,), daemon=True)
        child.start()
    return {"child": child.is_alive()}
`)
	c.send(`{}`)
	if got := c.next(); got != `{"child":true}` {
		t.Error(got)
	}
}

// TestCoreOutputsAreOfTheirTime: an output is what it was when it was emitted, whatever becomes of its memory, and
// other threads get memory of their own.
func TestCoreOutputsAreOfTheirTime(t *testing.T) {
	c, _ := newChain(t, `
import threading, weft
def main(event, ctx):
    text = bytearray(b'{"n":1}')
    ctx.emit(text)
    text[5:6] = b"2"
    ctx.emit(memoryview(text))
    text[5:] = b'3,"longer":true}'
    ctx.emit(text)
    made = []
    def other():
        made.append(weft.alloc(100000))
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    made[0][:7] = b'{"n":4}'
    ctx.emit(made[0][:7])
    made[0][5:6] = b"5"
`)
	c.send(`{}`)
	for _, want := range []string{`{"n":1}`, `{"n":2}`, `{"n":3,"longer":true}`, `{"n":4}`} {
		if got := c.next(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// BenchmarkHopPython is an event at a time through a chain of functions in Python.
func BenchmarkHopPython(b *testing.B) {
	for _, n := range []int{1, 4, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			stages := []string{"in"}
			for i := range n {
				stages = append(stages, fmt.Sprint("f", i))
			}
			h := directtest.New(b, append(stages, "out")...)
			out := h.Place("out")
			for i := n; i > 0; i-- {
				holds(b, h, stages[i], "def main(event):\n    return event\n")
			}
			in := h.Place("in")
			in.SetVersions(h.Everybody(), nil)
			ctx, cancel := context.WithTimeout(b.Context(), patience)
			defer cancel()
			var items []quicmesh.Item
			for i := range 100 + b.N {
				if i == 100 {
					b.ResetTimer()
				}
				err := in.Send(ctx, h.EdgeTo("f0"), &quicmesh.Event{ID: []byte("in/0"), Payload: []byte(`{"n":1}`)})
				if err == nil {
					items, err = out.Receive(ctx, items)
				}
				if err != nil {
					b.Fatal(err)
				}
				for i := range items {
					items[i].Release()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*(n+1)), "µs/hop")
		})
	}
}
