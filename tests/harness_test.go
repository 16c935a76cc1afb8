package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/openwhisk"
)

// bin is the folder of the commands, built once for all tests.
var bin string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weft-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-o", dir, "../cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the commands: %v\n%s", err, out)
		return 1
	}
	if _, err := exec.LookPath("gcc"); err == nil { // without it functions in Python run as everywhere without the core
		build = exec.Command("go", "build", "-buildmode=c-shared", "-o", filepath.Join(dir, "libweft.so"), "../sdk/core")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the native core: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

// need skips a test whose program is missing, but fails in CI, where everything is there.
func need(t testing.TB, program, install string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: install %s", program, install)
	}
	t.Skipf("%s is missing: install %s", program, install)
}

// command is a weft that runs.
type command struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdout *lockedBuffer
	stderr *lockedBuffer
	done   chan struct{}
	err    error
	dir    string
	mark   string // in the environment of all that it has started
	props  string // file with the key of a weft run
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// weft starts the command in a folder of its own; it is interrupted at the test's end, and nothing
// that it started may be left.
func weft(t testing.TB, args ...string) *command {
	t.Helper()
	return weftIn(t, t.TempDir(), args...)
}

func weftIn(t testing.TB, dir string, args ...string) *command {
	t.Helper()
	return weftWith(t, dir, func(*exec.Cmd) {}, func() {}, args...)
}

// weftWith lets the caller change the command before its start, and calls after when it has ended.
func weftWith(t testing.TB, dir string, change func(*exec.Cmd), after func(), args ...string) *command {
	t.Helper()
	// A mark in the environment finds what it has started, whoever its parent is by then.
	mark := fmt.Sprintf("TMPDIR=%s", t.TempDir())
	c := &command{t: t, stdout: &lockedBuffer{}, stderr: &lockedBuffer{}, done: make(chan struct{}), dir: dir, mark: mark,
		props: filepath.Join(t.TempDir(), "wskprops")}
	if args[0] == "run" {
		args = append(args, "--wskprops", c.props)
	}
	c.cmd = exec.Command(filepath.Join(bin, "weft"), args...)
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = dir, c.stdout, c.stderr
	c.cmd.Env = append(os.Environ(), mark)
	change(c.cmd)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.err = c.cmd.Wait(); after(); close(c.done) }()
	t.Cleanup(func() {
		c.interrupt()
		if left := processesWith(mark); len(left) > 0 {
			t.Errorf("weft %s left processes behind: %v", strings.Join(args, " "), left)
			for pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if t.Failed() {
			t.Logf("weft %s\nstderr:\n%s", strings.Join(args, " "), tail(c.stderr.String(), 4000))
		}
	})
	return c
}

func tail(s string, n int) string { return s[max(len(s)-n, 0):] }

// interrupt is Ctrl-C, and a kill should that not be enough.
func (c *command) interrupt() {
	select {
	case <-c.done:
		return
	default:
	}
	_ = c.cmd.Process.Signal(os.Interrupt)
	select {
	case <-c.done:
	case <-time.After(30 * time.Second):
		c.t.Errorf("weft did not end after Ctrl-C")
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// wait waits for the end and gives the exit code.
func (c *command) wait(limit time.Duration) int {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(limit):
		c.t.Fatalf("weft still runs after %v\nstderr:\n%s", limit, tail(c.stderr.String(), 4000))
	}
	var exit *exec.ExitError
	if errors.As(c.err, &exit) {
		return exit.ExitCode()
	}
	if c.err != nil {
		c.t.Fatal(c.err)
	}
	return 0
}

// api waits for the line that tells where the platform of a weft run is; the key is in its file.
func (c *command) api() (host, key, hook string) {
	c.t.Helper()
	form := regexp.MustCompile(`API (\S+)  hook (\S+) `)
	var m []string
	c.eventually("the API's address", func() bool {
		m = form.FindStringSubmatch(c.stderr.String())
		return m != nil
	})
	props, err := openwhisk.ReadWskProps(c.props)
	if err != nil {
		c.t.Fatal(err)
	}
	return m[1], props["AUTH"], m[2]
}

// eventually polls until ok, as long as the command lives.
func (c *command) eventually(what string, ok func() bool) {
	c.t.Helper()
	eventually(c.t, what, func() bool {
		if ok() {
			return true
		}
		select {
		case <-c.done:
			c.t.Fatalf("weft ended before %s\nstderr:\n%s", what, tail(c.stderr.String(), 4000))
		default:
		}
		return false
	})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no %s within a minute", what)
		}
	}
}

// ask runs a short weft command against the platform and hook of c; "" when that fails, as it does
// while there is no hook.
func (c *command) ask(args ...string) string {
	c.t.Helper()
	host, key, hook := c.api()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "weft"), append(args, "--apihost", host, "--auth", key, "--hook", hook)...)
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// status is weft status -o json of the only pipeline.
func (c *command) status() (control.PipelineStatus, bool) {
	c.t.Helper()
	var st control.Status
	if json.Unmarshal([]byte(c.ask("status", "-o", "json")), &st) != nil || len(st.Pipelines) == 0 {
		return control.PipelineStatus{}, false
	}
	return st.Pipelines[0], true
}

// running waits until the pipeline is running and every worker has reported.
func (c *command) running() control.PipelineStatus {
	c.t.Helper()
	var st control.PipelineStatus
	c.eventually("a running pipeline", func() bool {
		var ok bool
		if st, ok = c.status(); !ok || st.Phase != control.Running {
			return false
		}
		for _, s := range st.Slots {
			if s.PID == 0 {
				return false
			}
		}
		return true
	})
	return st
}

func slotOf(t testing.TB, st control.PipelineStatus, slot string) control.SlotStatus {
	t.Helper()
	for _, s := range st.Slots {
		if s.Slot.String() == slot {
			return s
		}
	}
	t.Fatalf("no slot %s in %+v", slot, st.Slots)
	return control.SlotStatus{}
}

// processesWith lists the processes that have the mark in their environment: pid → command line.
func processesWith(mark string) map[int]string {
	out := map[int]string{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		env, err := os.ReadFile(d + "/environ")
		if err != nil || !bytes.Contains(env, []byte(mark)) {
			continue
		}
		stat, _ := os.ReadFile(d + "/stat")
		if i := bytes.LastIndexByte(stat, ')'); i >= 0 && bytes.HasPrefix(stat[i:], []byte(") Z")) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(d))
		line, _ := os.ReadFile(d + "/cmdline")
		out[pid] = strings.ReplaceAll(string(line), "\x00", " ")
	}
	return out
}

// write puts a file into dir.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// fifo makes one and gives the function that opens its writing end, which waits for the reader.
func fifo(t testing.TB, dir string) (string, func(reader *command) (io.WriteCloser, error)) {
	t.Helper()
	path := filepath.Join(dir, "in.fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, func(reader *command) (io.WriteCloser, error) {
		for {
			f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
			if !errors.Is(err, syscall.ENXIO) { // nobody reads: a weft that has failed never will
				return f, err
			}
			select {
			case <-reader.done:
				return nil, fmt.Errorf("weft has ended before it opened its input:\n%s", tail(reader.stderr.String(), 4000))
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

// input opens the writing end, for a test that has nothing else to do.
func input(t testing.TB, open func(*command) (io.WriteCloser, error), reader *command) io.WriteCloser {
	t.Helper()
	w, err := open(reader)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// ndjson decodes each line of text.
func ndjson[T any](t testing.TB, text string) []T {
	t.Helper()
	var out []T
	for line := range strings.Lines(text) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("output line %.1000q: %v", line, err)
		}
		out = append(out, v)
	}
	return out
}
