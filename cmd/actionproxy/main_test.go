package main_test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy/process"
)

// command is the built command.
var command string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "weft-actionproxy")
	if err != nil {
		panic(err)
	}
	command = filepath.Join(dir, "actionproxy")
	if out, err := exec.Command("go", "build", "-o", command, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build actionproxy: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func TestVersion(t *testing.T) {
	out, err := exec.Command(command, "-version").Output()
	if err != nil || !strings.Contains(string(out), "v1.17.1") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestCompile(t *testing.T) {
	cmd := exec.Command(command, "-compile", "main")
	cmd.Env = append(os.Environ(), "OW_COMPILER=weft:go", "OW_EXECUTION_ENV=image")
	cmd.Stdin = strings.NewReader("package main\nfunc Main(in map[string]any) map[string]any { return in }\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v %s", err, err.(*exec.ExitError).Stderr)
	}
	z, err := zip.NewReader(bytes.NewReader(out), int64(len(out)))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range z.File {
		names[f.Name] = f.Mode()&0o111 != 0
	}
	if executable, ok := names["exec"]; !ok || !executable || len(names) != 2 {
		t.Errorf("files: %v", names)
	}
}

// serving is a command that runs.
type serving struct {
	cmd            *exec.Cmd
	url            string
	stdout, stderr *bytes.Buffer // read after stop
}

func serve(t *testing.T, attr *syscall.SysProcAttr, env ...string) *serving {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	s := &serving{cmd: exec.Command(command, "-listen", address), url: "http://" + address, stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	s.cmd.Dir, s.cmd.Env, s.cmd.SysProcAttr = t.TempDir(), append(env, "OW_WAIT_FOR_ACK=1"), attr
	s.cmd.Stdout, s.cmd.Stderr = s.stdout, s.stderr
	s.cmd.WaitDelay = 5 * time.Second
	if err := s.cmd.Start(); err != nil && attr != nil && os.Getenv("CI") != "true" {
		t.Skipf("a PID namespace is needed, which root may make: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if resp, err := http.Get(s.url); err == nil {
			resp.Body.Close()
			return s
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func (s *serving) post(t *testing.T, path, body string) string {
	t.Helper()
	resp, err := http.Post(s.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %d %s %v", path, resp.StatusCode, b, err)
	}
	return strings.TrimSuffix(string(b), "\n")
}

// stop asks the command to end, as a platform does, and returns its streams without the lines that end
// activations.
func (s *serving) stop(t *testing.T) (stdout, stderr string) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("end: %v\n%s", err, s.stderr)
	}
	clean := func(b *bytes.Buffer) string { return strings.ReplaceAll(b.String(), process.Sentinel+"\n", "") }
	return clean(s.stdout), clean(s.stderr)
}

func TestServe(t *testing.T) {
	s := serve(t, nil)
	code := `#!/bin/sh\necho '{\"ok\":true}' >&3\nwhile read -r line; do echo printed; echo \"{\\\"pid\\\":$$}\" >&3; done\n`
	s.post(t, "/init", `{"value":{"code":"`+code+`"}}`)
	var pid int
	if _, err := fmt.Sscanf(s.post(t, "/run", `{"value":{}}`), `{"pid":%d}`, &pid); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr := s.stop(t); stdout != "printed\n" || stderr != "" {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("the function is still there")
	}
}

// TestSilentUntilALease: a proxy whose container may never be a worker dials nobody, not when it starts, as
// a prewarmed one does, and not for ordinary activations. Only a lease makes it ask the hook.
func TestSilentUntilALease(t *testing.T) {
	hook, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer hook.Close()
	s := serve(t, nil, "WEFT_HOOK=unix:"+hook.Addr().String())
	s.post(t, "/init", `{"value":{"code":"#!/bin/sh\necho '{\"ok\":true}' >&3\nwhile read -r line; do echo '{}' >&3; done\n"}}`)
	s.post(t, "/run", `{"value":{}}`)
	called := make(chan error, 1)
	if err := hook.(*net.UnixListener).SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if c, err := hook.Accept(); err == nil {
		_ = c.Close()
		t.Fatal("the hook was called before a lease")
	}
	if err := hook.(*net.UnixListener).SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	go func() {
		c, err := hook.Accept()
		if err == nil {
			err = c.Close()
		}
		called <- err
	}()
	token := `{"v":1,"namespace":"guest","pipeline":"p","stage":"f","id":"` + strings.Repeat("ab", 16) + `","expiresMs":9999999999999,"mac":"AAAA"}`
	go func() {
		resp, err := http.Post(s.url+"/run", "application/json", strings.NewReader(`{"namespace":"guest","action_name":"/guest/p.stages/f","activation_id":"`+
			strings.Repeat("a", 32)+`","deadline":"9999999999999","value":{"__weft":`+token+`}}`))
		if err == nil {
			_ = resp.Body.Close()
		}
	}()
	if err := <-called; err != nil {
		t.Fatalf("nor by a lease: %v", err)
	}
}

// As the first process of a container it reaps what loses its parent, hands on signals and ends with
// the proxy's status.
func TestFirstProcess(t *testing.T) {
	s := serve(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
	// Each activation leaves an orphan that ends at once, outside of the function's process group.
	code := `#!/bin/sh\necho '{\"ok\":true}' >&3\nwhile read -r line; do (setsid true 3>&- &); echo '{}' >&3; done\n`
	s.post(t, "/init", `{"value":{"code":"`+code+`","env":{"PATH":"/usr/bin:/bin"}}}`)
	for range 20 {
		s.post(t, "/run", `{"value":{}}`)
	}
	for deadline := time.Now().Add(10 * time.Second); zombies(t, s.cmd.Process.Pid) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d zombies", zombies(t, s.cmd.Process.Pid))
		}
	}
	s.stop(t)
}

// zombies counts the children of a process that nobody has reaped.
func zombies(t *testing.T, parent int) int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range stats {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		line, _ := bufio.NewReader(f).ReadString('\n')
		f.Close()
		var state string
		var ppid int
		if _, rest, ok := strings.Cut(line, ") "); ok {
			fmt.Sscan(rest, &state, &ppid)
		}
		if ppid == parent && state == "Z" {
			n++
		}
	}
	return n
}

// The proxy's threads may be late with their sleeps; the function's are as they are everywhere.
func TestTimerSlack(t *testing.T) {
	s := serve(t, nil)
	s.post(t, "/init", `{"value":{"main":"main","code":"#!/bin/sh\necho '{\"ok\":true}' >&3\nwhile read -r line; do echo \"{\\\"slack\\\":$(cat /proc/$$/timerslack_ns)}\" >&3; done\n"}}`)
	if got := s.post(t, "/run", `{"value":{}}`); !strings.Contains(got, `"slack":50000`) {
		t.Errorf("the function says %s", got)
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", s.cmd.Process.Pid))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("its threads: %v, %v", tasks, err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile("/proc/" + filepath.Base(task) + "/timerslack_ns") // a thread has that only here
		if err == nil && strings.TrimSpace(string(b)) != "500000" {
			t.Errorf("thread %s: %s", task, b)
		} else if err != nil && filepath.Base(task) == fmt.Sprint(s.cmd.Process.Pid) {
			t.Error(err)
		}
	}
}
