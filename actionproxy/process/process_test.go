package process_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy/process"
)

func TestABI(t *testing.T) {
	if got := start(t, "lines").ABI(); got != "" {
		t.Errorf("lines: %q", got)
	}
	if got := start(t, "stream").ABI(); got != "weft.stream/1" {
		t.Errorf("stream: %q", got)
	}
}

func TestStartsThatFail(t *testing.T) {
	for how, want := range map[string]string{"dies": "exit status 3: no such thing", "noack": `want {"ok":true}`, "silent": "deadline"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if how == "silent" {
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		}
		_, err := process.Start(ctx, config(how, &log{}, &log{}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q in it", how, err, want)
		}
		cancel()
	}
	if _, err := process.Start(t.Context(), process.Config{Path: "/none"}); err == nil {
		t.Error("a program that isn't there was started")
	}
}

func TestEarlyExitWithoutAck(t *testing.T) {
	c := config("dies", &log{}, &log{})
	c.WaitForAck = false
	p, err := process.Start(t.Context(), c) // 5 ms are a bet: either way the death is seen
	if err == nil {
		<-p.Done()
		p.Close()
	} else if !errors.Is(err, process.ErrExited) {
		t.Error(err)
	}
}

func TestOutputIsThereAfterDrain(t *testing.T) {
	p := start(t, "lines")
	p.do("flood 5000")
	p.Drain()
	if got := strings.Count(p.stdout.take(), "\n"); got != 5000 {
		t.Errorf("%d lines of 5000", got)
	}
	p.do("print one|two")
	p.Drain()
	if got := p.stdout.take(); got != "one\ntwo\n" {
		t.Errorf("an unended line: %q", got)
	}
	other := &log{}
	p.SetOutput(other, other)
	p.do("print x")
	p.Drain()
	if got := other.take(); !strings.Contains(got, "x\n") || p.stdout.take() != "" {
		t.Errorf("after SetOutput: %q", got)
	}
}

func TestSentinelsOfTheFunctionAreRemoved(t *testing.T) {
	p := start(t, "lines")
	p.do("print a " + process.Sentinel + " b|c|")
	p.Drain()
	if got := p.stdout.take(); got != "a (sentinel removed) b\nc\n" {
		t.Errorf("stdout: %q", got)
	}
	if got := p.stderr.take(); strings.Contains(got, process.Sentinel) {
		t.Errorf("stderr: %q", got)
	}
	p.do("print " + strings.Repeat("y", 64<<10-10) + process.Sentinel)
	p.Drain()
	if got := p.stdout.take(); strings.Contains(got, process.Sentinel) || strings.Count(got, "\n") != 2 {
		t.Errorf("a long line ends in %q", got[len(got)-60:])
	}
}

func TestLargeResults(t *testing.T) {
	p := start(t, "lines")
	for _, n := range []int{0, 1, 64 << 10, 10 << 20, process.MaxLine} {
		if got := len(p.do("size " + strconv.Itoa(n))); got != n {
			t.Errorf("%d bytes: got %d", n, got)
		}
	}
	if _, err := p.Exchange(t.Context(), []byte("size "+strconv.Itoa(process.MaxLine+process.MaxLine/2))); !errors.Is(err, process.ErrTooLong) {
		t.Errorf("a result that is too long: %v", err)
	}
	if got := p.do("echo " + strings.Repeat("z", 3<<20)); got != "did echo" {
		t.Errorf("after it: %.40q", got)
	}
}

func TestDeathIsNoticed(t *testing.T) {
	p := start(t, "lines")
	if _, err := p.Exchange(t.Context(), []byte("exit 3")); !errors.Is(err, process.ErrExited) {
		t.Errorf("exchange: %v", err)
	}
	<-p.Done()
	if got := p.ExitReason(); got != "exit status 3: last words" {
		t.Errorf("reason: %q", got)
	}
	if got := p.stderr.take(); got != "last words\n" {
		t.Errorf("stderr: %q", got)
	}
	if _, err := p.Exchange(t.Context(), []byte("echo")); !errors.Is(err, process.ErrExited) {
		t.Errorf("exchange with the dead: %v", err)
	}
	idle := start(t, "lines")
	idle.Kill()
	<-idle.Done()
	if got := idle.ExitReason(); got != "signal: killed" {
		t.Errorf("reason: %q", got)
	}
}

func TestFunctionThatClosesItsResults(t *testing.T) {
	p := start(t, "lines")
	if _, err := p.Exchange(t.Context(), []byte("close")); !errors.Is(err, process.ErrExited) {
		t.Errorf("exchange: %v", err)
	}
}

func TestOrphansDontHoldAnythingUp(t *testing.T) {
	p := start(t, "lines")
	pid, err := strconv.Atoi(p.do("orphan"))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	if _, err := p.Exchange(t.Context(), []byte("exit 1")); !errors.Is(err, process.ErrExited) {
		t.Errorf("exchange: %v", err)
	}
}

func TestAnswersAreNeverMixedUp(t *testing.T) {
	p := start(t, "lines")
	if got := p.do("twice"); got != "first" {
		t.Errorf("twice: %q", got)
	}
	if got := p.do("echo"); got != "did echo" {
		t.Errorf("after a line too many: %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Exchange(ctx, []byte("sleep 200")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("given up: %v", err)
	}
	if got := p.do("echo"); got != "did echo" {
		t.Errorf("after one that was given up: %q", got)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			n := strconv.Itoa(1000 + i)
			if got, err := p.Exchange(t.Context(), []byte("size "+n)); err != nil || len(got) != 1000+i {
				t.Errorf("size %s: %d bytes, %v", n, len(got), err)
			}
		})
	}
	all.Wait()
}

func TestFunctionHasOnlyItsPipes(t *testing.T) {
	if got := start(t, "lines").do("fds"); got != "[0 1 2 3]" {
		t.Errorf("pipes: %s", got)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	once := func() {
		p, err := process.Start(t.Context(), config("lines", &log{}, &log{}))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := p.Exchange(t.Context(), []byte("echo")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.Exchange(t.Context(), []byte("exit 0")); !errors.Is(err, process.ErrExited) {
			t.Fatal(err)
		}
		p.Close()
	}
	once()
	runtime.GC() // what earlier tests have dropped is gone before we count
	var before [2]int
	before[0], before[1] = left()
	for range 10 {
		once()
	}
	goroutines, fds := left()
	for deadline := time.Now().Add(5 * time.Second); goroutines > before[0] || fds > before[1]; goroutines, fds = left() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and %d files; before %v", goroutines, fds, before)
		}
		runtime.Gosched()
	}
}

func left() (goroutines, fds int) {
	open, _ := os.ReadDir("/proc/self/fd")
	return runtime.NumGoroutine(), len(open)
}

func TestWriteLine(t *testing.T) {
	p := start(t, "lines")
	if err := p.WriteLine([]byte("size 10")); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := p.WriteLine([]byte("size 10")); !errors.Is(err, process.ErrExited) {
		t.Errorf("after Close: %v", err)
	}
}
