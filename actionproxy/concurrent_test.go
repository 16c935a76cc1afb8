package actionproxy_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/actionproxy/process"
)

func TestOneInitWins(t *testing.T) {
	p := startProxy(t, actionproxy.Config{Env: actionproxy.ReadEnvironment([]string{"OW_WAIT_FOR_ACK=1"})})
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			switch status, body := p.init(t, []byte("#!/bin/sh\necho '{\"ok\":true}' >&3\nread x\n"), "main", nil); {
			case status == http.StatusOK:
				won.Add(1)
			case status == http.StatusForbidden && body == `{"error":"Cannot initialize the action more than once."}`:
				lost.Add(1)
			default:
				t.Errorf("%d %s", status, body)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != 99 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
}

// Of two inits at the same time one wins, whichever: 10,000 pairs, each on a proxy of its own.
func TestPairsOfInits(t *testing.T) {
	body := []byte(`{"value":{"code":"weft:echo"}}`)
	for pair := range 10_000 {
		p, err := actionproxy.New(actionproxy.Config{Stdout: io.Discard, Stderr: io.Discard,
			Builtins: map[string]actionproxy.Builtin{"echo": builtin{}}})
		if err != nil {
			t.Fatal(err)
		}
		var codes [2]int
		var both sync.WaitGroup
		for i := range codes {
			both.Go(func() { codes[i] = post(p, "/init", body).Code })
		}
		both.Wait()
		if codes != [2]int{200, 403} && codes != [2]int{403, 200} {
			t.Fatalf("pair %d: %v", pair, codes)
		}
		if code := post(p, "/init", body).Code; code != http.StatusForbidden {
			t.Fatalf("a third: %d", code)
		}
	}
}

func TestRunsAreNeverMixedUp(t *testing.T) {
	p := startBehaviour(t, actionproxy.Config{})
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() { p.expect(t, fmt.Sprintf(`{"n":%d}`, i), 200, fmt.Sprintf(`{"got":{"n":%d}}`, i)) })
		if i%10 == 0 {
			all.Go(func() { p.expect(t, `{"mode":"print"}`, 200, `{"printed":3}`) })
		}
	}
	all.Wait()
	end := process.Sentinel + "\n"
	for log := range strings.SplitAfterSeq(p.stdout.String(), end) {
		if log = strings.TrimSuffix(log, end); log != "" && log != "line 0\nline 1\nline 2\n" {
			t.Errorf("an activation's log: %q", log)
		}
	}
}

func TestAThousandRunsLeaveNothing(t *testing.T) {
	p := startBehaviour(t, actionproxy.Config{})
	round := func(n int) {
		for i := range n {
			p.expect(t, `{"n":`+strconv.Itoa(i)+`}`, 200, `{"got":{"n":`+strconv.Itoa(i)+`}}`)
		}
	}
	round(10)
	goroutines, fds := left()
	before := inUse()
	round(1000)
	if grown := inUse() - before; grown > 1<<20 { // what the test keeps of the log is a tenth of it
		t.Errorf("%d bytes more memory after 1000 runs", grown)
	}
	for deadline := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		g, f := left()
		if g <= goroutines && f <= fds {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and %d files; before %d and %d", g, f, goroutines, fds)
		}
	}
}

func left() (goroutines, fds int) {
	open, _ := os.ReadDir("/proc/self/fd")
	return runtime.NumGoroutine(), len(open)
}

// inUse is the memory of all that is reachable, in bytes.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools have held on to
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
