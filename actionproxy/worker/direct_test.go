package worker_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy/worker"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/memnet"
)

// odd is a function in Go, which holds the mesh in its own process.
func odd(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a Go program")
	}
	code, err := os.ReadFile("testdata/odd.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(code)
}

// Whatever a function that holds the mesh does with an event, the others get through once, and that one is found
// among the dead letters with what happened to it.
func TestDirectBadEvents(t *testing.T) {
	h := newTestHook(t, chain(func(p *pipeline.Pipeline) {
		p.Stages[1].TimeoutMS = 3000
		p.Edges[1].MaxPayload = 1 << 20
	}))
	var in strings.Builder
	for i, what := range []string{"fail", "panic", "exit", "hang", "large"} {
		fmt.Fprintf(&in, "a%d\n%s\nb%d\n", i, what, i)
	}
	h.input = []byte(in.String())
	r := start(t, h, odd(t))
	h.heard(control.TypeEnded, slotOf("out"))
	r.wantTexts([]string{"A0", "A1", "A2", "A3", "A4", "B0", "B1", "B2", "B3", "B4"})
	letters := h.letters()
	for what, want := range map[string]string{
		"fail": "failed", "panic": "panicked", "exit": "exit status 3: last words", "hang": "stalled", "": "too large",
	} {
		l, ok := letters[what]
		if text := fmt.Sprint(l.Error); !ok || !strings.Contains(text, want) || l.Stage != "f" {
			t.Errorf("%s: the letter is %.300v, want %q", what, l, want)
		}
		if (what == "exit" || what == "hang") && len(l.History) != 2 {
			t.Errorf("%s: history %q, want two deaths", what, l.History)
		}
	}
	if len(letters) != 5 {
		t.Errorf("%d dead letters, want 5: %s", len(letters), h.dead)
	}
	h.heard(control.TypeRestarted, slotOf("f"))
	h.until("the log line", func() bool { return h.logged("last words") })
	h.until("the counters, in which what was done again counts again", func() bool {
		for _, s := range h.said {
			if s.typ == control.TypeStats && s.slot == slotOf("f") && s.stats.Out >= 10 && s.stats.Failed >= 5 {
				return s.stats.Restarts == 4 && len(s.stats.HopUS) > 0 && len(s.stats.Links) == 1
			}
		}
		return false
	})
	r.terminate()
	a := await(t, r.containers["f"].run(map[string]any{"line": "x"}, patience))
	if a.status != 200 || a.reply["line"] != "X" {
		t.Errorf("an activation after the lease: %v", a)
	}
}

// A function that holds the mesh and dies is replaced, and goes on where it was, without a rollback: nothing is
// lost, and only what was in work may come twice.
func TestDirectDeath(t *testing.T) {
	h := newTestHook(t, chain(nil))
	dir := t.TempDir()
	h.input = []byte(numbered(700) + "once " + dir + "/a\n" + "once " + dir + "/b\n" + strings.TrimPrefix(numbered(1500), numbered(700)))
	r := start(t, h, odd(t))
	h.heard(control.TypeEnded, slotOf("out"))
	want := append(uppers(1500), "ONCE", "ONCE")
	slices.Sort(want)
	r.mu.Lock()
	got := r.texts()
	r.mu.Unlock()
	twice := len(got) - len(want)
	if got = slices.Compact(got); !slices.Equal(got, slices.Compact(want)) {
		t.Errorf("the sink has %d different lines, want %d; %s", len(got), len(want), r.describe())
	}
	t.Logf("%d came twice", twice)
	if said := h.heard(control.TypeRestarted, slotOf("f")); !strings.Contains(said.state.Reason, "exit status 4") {
		t.Errorf("the reason of the restart is %q", said.state.Reason)
	}
	if len(h.letters()) != 0 {
		t.Errorf("dead letters %s", h.dead)
	}
	r.terminate()
}

// holdUp is a network on which the first link out of f stops when the test says so.
type holdUp struct {
	memory
	link chan *heldUp
}

func (n holdUp) Transport(self transport.Identity, cert tls.Certificate, ca *x509.CertPool) (transport.Transport, error) {
	inner, err := n.memory.Transport(self, cert, ca)
	if err == nil && self.Stage == "f" {
		inner = holdUpTransport{inner, n.link}
	}
	return inner, err
}

type holdUpTransport struct {
	transport.Transport
	link chan *heldUp
}

func (n holdUpTransport) Dial(ctx context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	s, err := n.Transport.Dial(ctx, addr, peer)
	if err != nil {
		return nil, err
	}
	h := &heldUp{Stream: s}
	select {
	case n.link <- h:
		return h, nil
	default:
		return s, nil // a later one
	}
}

// heldUp is that link's stream. What has been read waits as long as reads are locked, and what is to be written as long
// as writes are.
type heldUp struct {
	transport.Stream
	reads, writes sync.Mutex
}

func (h *heldUp) Read(b []byte) (int, error) {
	n, err := h.Stream.Read(b)
	h.reads.Lock()
	defer h.reads.Unlock()
	return n, err
}

func (h *heldUp) Write(b []byte) (int, error) {
	h.writes.Lock()
	defer h.writes.Unlock()
	return h.Stream.Write(b)
}

// What a function has said before it dies arrives where its proxy carries it, though what comes to it can't be
// delivered any more: it is restarted without a rollback, and nothing is lost.
func TestDirectLastWords(t *testing.T) {
	network := memnet.New(memnet.Config{})
	link := make(chan *heldUp, 1)
	var number atomic.Int32
	h := newTestHook(t, chain(func(p *pipeline.Pipeline) { p.Edges[1].Transport = pipeline.QUIC }))
	h.listens = append(h.listens, func() (worker.Endpoint, error) {
		return holdUp{memory{network, fmt.Sprint("m", number.Add(1))}, link}, nil
	})
	h.open = true
	r := start(t, h, odd(t))
	h.heard(control.TypeReady, slotOf("in"))
	s := <-link
	s.reads.Lock() // acknowledgements wait from now on
	h.feed(0, 1000)
	h.until("all output", func() bool { return len(h.lines()) == 1000 })
	s.writes.Lock()
	h.feed(1000, 500)
	pid := 0
	h.until("output that waits", func() bool {
		for _, s := range h.said {
			if s.typ == control.TypeStats && s.slot == slotOf("f") && s.stats.Out == 1500 {
				pid = s.stats.FuncPID
			}
		}
		return pid > 0
	})
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	h.heard(control.TypeRestarted, slotOf("f"))
	s.reads.Unlock()
	for range 1000 {
		runtime.Gosched() // who reads finds that the function has gone
	}
	s.writes.Unlock()
	h.feed(1500, 500)
	h.finish()
	h.heard(control.TypeEnded, slotOf("out"))
	r.mu.Lock()
	got := r.texts()
	r.mu.Unlock()
	if got = slices.Compact(got); !slices.Equal(got, uppers(2000)) {
		t.Errorf("the sink has %d different lines, want 2000; %s", len(got), r.describe())
	}
	r.terminate()
}

// timed is a network on which it takes 7 ms to a peer and back, as its streams say.
type timed struct{ memory }

func (n timed) Transport(self transport.Identity, cert tls.Certificate, ca *x509.CertPool) (transport.Transport, error) {
	inner, err := n.memory.Transport(self, cert, ca)
	return timedTransport{inner}, err
}

type timedTransport struct{ transport.Transport }

func (n timedTransport) Dial(ctx context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	s, err := n.Transport.Dial(ctx, addr, peer)
	if err != nil {
		return nil, err
	}
	return timedStream{s}, nil
}

type timedStream struct{ transport.Stream }

func (timedStream) RTT() time.Duration { return 7 * time.Millisecond }

// What a stream knows of the way to the peer is told of a function's link, too, which knows but the socket to its proxy.
func TestDirectRTT(t *testing.T) {
	network := memnet.New(memnet.Config{})
	var number atomic.Int32
	h := newTestHook(t, chain(func(p *pipeline.Pipeline) { p.Edges[1].Transport = pipeline.QUIC }))
	h.listens = append(h.listens, func() (worker.Endpoint, error) {
		return timed{memory{network, fmt.Sprint("m", number.Add(1))}}, nil
	})
	h.input = []byte(numbered(100))
	r := start(t, h, odd(t))
	h.until("the time to the peer and back", func() bool {
		for _, s := range h.said {
			if s.typ == control.TypeStats && s.slot == slotOf("f") && len(s.stats.Links) == 1 && s.stats.Links[0].RTTUS == 7000 {
				return true
			}
		}
		return false
	})
	h.heard(control.TypeEnded, slotOf("out"))
	r.terminate()
}

// A rollback reaches a function that holds the mesh: the source's events come again, all of them.
func TestDirectRollback(t *testing.T) {
	h := newTestHook(t, chain(nil))
	h.open = true
	r := start(t, h, odd(t))
	h.heard(control.TypeReady, slotOf("in"))
	h.feed(0, 500)
	h.until("some output", func() bool { return len(h.output) > 1000 })
	h.mu.Lock()
	h.attempt = frame.MakeAttempt(1, 1)
	h.mu.Unlock()
	h.send(control.TypeRollback, control.Rollback{Term: 1, Attempt: frame.MakeAttempt(1, 1)})
	h.feed(500, 500)
	h.finish()
	h.until("the end of the attempt", func() bool {
		for _, s := range h.said {
			if s.typ == control.TypeEnded && s.slot == slotOf("out") && s.state.Attempt == frame.MakeAttempt(1, 1) {
				return true
			}
		}
		return false
	})
	r.mu.Lock()
	got := r.texts()
	r.mu.Unlock()
	if got = slices.Compact(got); !slices.Equal(got, uppers(1000)) {
		t.Errorf("the sink has %d different lines; %s", len(got), r.describe())
	}
	r.terminate()
}
