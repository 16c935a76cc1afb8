package invokerhook_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/weft-stream/weft/internal/control"
)

// TestSilentProxyIsReplaced: the kernel lets a holder run, but its heartbeat ends.
func TestSilentProxyIsReplaced(t *testing.T) {
	s := newSite(t, withLongReturn)
	s.start(60_000)
	h := s.holder()
	if err := h.in.Close(); err != nil {
		t.Fatal(err)
	}
	s.until("told of the silence", func(control.PipelineStatus) bool {
		return strings.Contains(s.why(), "frozen: its proxy's heartbeat has stopped")
	})
	h.await(control.TypeTerminate)
}

// TestFrozenProxyIsReplaced stops a holder's process: its connection stays open, its heartbeat ends.
func TestFrozenProxyIsReplaced(t *testing.T) {
	s := newSite(t, withLongReturn)
	s.start(60_000)
	h := s.holder()
	if err := h.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	f := s.next() // the pipeline's other lease
	if f.token.Stage == h.stage {
		t.Fatalf("a second lease for %s", f.token.Stage)
	}
	if f = s.next(); f.token.Stage != h.stage {
		t.Fatalf("a lease for %s", f.token.Stage)
	}
	if r := newProxy(t, s.addr).bring(f); r.Verdict != control.Take || r.Assignment.Incarnation != 2 {
		t.Fatalf("the successor: %+v", r)
	}
	if why := s.why(); !strings.Contains(why, "frozen: its proxy has been kept from running") {
		t.Fatalf("why: %s", why)
	}
	// Thawed, it is told that it holds nothing any more.
	if err := h.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	h.await(control.TypeTerminate)
}

// TestSilenceOverTCP: without shared memory the heartbeat is a message.
func TestSilenceOverTCP(t *testing.T) {
	s := newSite(t, withLongReturn)
	s.start(60_000)
	f := s.next()
	p := newProxy(t, s.hook.Addrs()[1])
	if r := p.bring(f); r.Verdict != control.Take {
		t.Fatalf("%+v", r)
	}
	p.freeze()
	s.until("told of the silence", func(control.PipelineStatus) bool {
		return strings.Contains(s.why(), "frozen: nothing was heard of its proxy")
	})
	var end control.Terminate
	p.await(control.TypeTerminate, &end)
}
