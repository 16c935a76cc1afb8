package process_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-stream/weft/actionproxy/process"
)

// The test binary is also the function: a process started with variable FUNCTION says how it acts.
func TestMain(m *testing.M) {
	if how := os.Getenv("FUNCTION"); how != "" {
		function(how)
		os.Exit(0)
	}
	// Some shells leave files open to what they start; the proxy's main does this as well.
	unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	os.Exit(m.Run())
}

func function(how string) {
	results := os.NewFile(3, "results")
	switch how {
	case "dies":
		fmt.Fprintln(os.Stderr, "no such thing")
		os.Exit(3)
	case "noack":
		fmt.Fprintln(results, `{"ok":false}`)
	case "silent":
		time.Sleep(time.Hour)
	case "stream":
		fmt.Fprintln(results, `{"ok":true,"abi":"weft.stream/1"}`)
	default:
		fmt.Fprintln(results, `{"ok":true}`)
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		obey(verb, arg, results)
	}
}

func obey(verb, arg string, results *os.File) {
	n, _ := strconv.Atoi(arg)
	switch verb {
	case "exit":
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(n)
	case "print":
		fmt.Print(strings.ReplaceAll(arg, "|", "\n"))
		fmt.Fprintln(os.Stderr, "err", arg)
	case "flood":
		for i := range n {
			fmt.Println("line", i)
		}
	case "size":
		fmt.Fprintf(results, "%s\n", bytes.Repeat([]byte("x"), n))
		return
	case "twice":
		fmt.Fprintf(results, "first\nsecond\n")
		return
	case "sleep":
		time.Sleep(time.Duration(n) * time.Millisecond)
	case "close":
		results.Close()
		time.Sleep(time.Hour)
	case "orphan": // a process of another group keeps all pipes open
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{"FUNCTION=silent"}
		cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{results}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Fprintln(results, cmd.Process.Pid)
		return
	case "fds":
		entries, _ := os.ReadDir("/proc/self/fd")
		var names []string
		for _, e := range entries {
			if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(to, "pipe:") {
				names = append(names, e.Name())
			}
		}
		fmt.Fprintln(results, names)
		return
	}
	fmt.Fprintln(results, "did "+verb)
}

// log is where output goes; safe to look at while it does.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

type running struct {
	*process.Process
	t              *testing.T
	stdout, stderr *log
}

func start(t *testing.T, how string) *running {
	r := &running{t: t, stdout: &log{}, stderr: &log{}}
	var err error
	if r.Process, err = process.Start(t.Context(), config(how, r.stdout, r.stderr)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func config(how string, stdout, stderr *log) process.Config {
	return process.Config{Path: os.Args[0], Env: []string{"FUNCTION=" + how, "GORACE=atexit_sleep_ms=0"}, WaitForAck: true, Stdout: stdout, Stderr: stderr}
}

// do is an Exchange that has to succeed.
func (r *running) do(line string) string {
	r.t.Helper()
	answer, err := r.Exchange(r.t.Context(), []byte(line))
	if err != nil {
		r.t.Fatalf("%s: %v", line, err)
	}
	return string(answer)
}
