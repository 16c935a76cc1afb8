package invokerhook_test

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestCloseLeavesNoGoroutine runs alone: the parallel tests wait for it.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	s := newSiteAlone(t, nil)
	p := s.staff(240_000)
	s.client(guestKey)
	done := make(chan struct{})
	go func() { // a transfer that waits for a client
		defer close(done)
		_, _ = p["in"].conn.Call(t.Context(), "pull", transferOf(p["in"], 0), nil, nil)
	}()
	if err := s.hook.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		left := goroutines("weft/invokerhook.(")
		if left == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("left after Close:\n%s", left)
		}
	}
}

// goroutines are the stacks that go through the functions named.
func goroutines(of string) string {
	buf := make([]byte, 1<<20)
	var out []string
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, of) {
			out = append(out, g)
		}
	}
	return strings.Join(out, "\n\n")
}
