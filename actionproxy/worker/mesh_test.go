package worker_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy/worker"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/memnet"
)

// TestMain also looks for goroutines that workers have left behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leaked(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines of workers are left:\n"+left)
		code = 1
	}
	os.Exit(code)
}

func leaked() (left string) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		buf := make([]byte, 4<<20)
		buf = buf[:runtime.Stack(buf, true)]
		left = ""
		for _, stack := range strings.Split(string(buf), "\n\n") {
			if strings.Contains(stack, "weft/actionproxy/worker.(") {
				left += stack + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
	}
	return left
}

// memory is an address in a network in memory.
type memory struct {
	network *memnet.Network
	addr    string
}

func (m memory) Addr() string { return m.addr }
func (m memory) Close() error { return nil }

func (m memory) Transport(self transport.Identity, _ tls.Certificate, _ *x509.CertPool) (transport.Transport, error) {
	return m.network.Listen(self, m.addr), nil
}

// Connections between workers break while events flow: nothing is lost, nothing comes twice.
func TestCutLinks(t *testing.T) {
	eachABI(t, upper, func(t *testing.T, code string) {
		network := memnet.New(memnet.Config{Seed: 5})
		var number atomic.Int32
		h := newTestHook(t, chain(nil))
		h.listens = append(h.listens, func() (worker.Endpoint, error) {
			return memory{network, fmt.Sprint("m", number.Add(1))}, nil
		})
		h.open = true
		r := start(t, h, code)
		h.heard(control.TypeReady, slotOf("in"))
		lines := 0
		for round := range 4 {
			h.feed(lines, 500)
			lines += 500
			h.until("some output", func() bool { return len(h.output) > 4000*round })
			h.mu.Lock()
			in, f, out := h.holders[slotOf("in")].addr, h.holders[slotOf("f")].addr, h.holders[slotOf("out")].addr
			h.mu.Unlock()
			network.Cut(in, f)
			network.Cut(f, out)
			h.feed(lines, 100)
			lines += 100
			network.Heal(in, f)
			network.Heal(f, out)
		}
		h.finish()
		h.heard(control.TypeEnded, slotOf("out"))
		r.wantTexts(uppers(lines))
	})
}

// With an error edge, what fails goes to its stage as an event, and not to the dead letters.
func TestErrorEdge(t *testing.T) {
	eachABI(t, `
def main(args):
    if args["line"] == "line 7":
        raise ValueError("seven")
    return {"line": args["line"].upper()}
`, func(t *testing.T, code string) {
		h := newTestHook(t, chain(func(p *pipeline.Pipeline) {
			errs := p.Stages[2]
			errs.Name = "errs"
			p.Stages = append(p.Stages, errs)
			p.Edges = append(p.Edges, pipeline.Edge{From: "f", To: "errs", Routing: pipeline.Balance, OnError: true})
		}))
		h.input = []byte(numbered(20))
		start(t, h, code)
		h.heard(control.TypeEnded, slotOf("out"))
		h.heard(control.TypeEnded, slotOf("errs"))
		failed := 0
		for _, l := range h.lines() {
			if strings.Contains(l, `"stage":"f"`) && strings.Contains(l, "seven") && strings.Contains(l, `"event":{"line":"line 7"}`) {
				failed++
			}
		}
		if len(h.lines()) != 20 || failed != 1 || len(h.dead) != 0 {
			t.Errorf("%d lines, %d of failed events, dead letters %q; %s", len(h.lines()), failed, h.dead, h.describe())
		}
	})
}

// An edge that insists on shared memory where there is none is the worker's failure, with the reason; one that
// doesn't says why it goes another way.
func TestForcedSharedMemory(t *testing.T) {
	needPython(t)
	h := newTestHook(t, chain(func(p *pipeline.Pipeline) { p.Edges[1].Transport = pipeline.SHM }))
	h.input = []byte(numbered(10))
	r := start(t, h, streaming(upper))
	got := h.heard(control.TypeFailed, slotOf("f")).state.Reason
	if !strings.Contains(got, "link to out[0]: its edge wants transport: shm, which can't be had: this hook has no rings") {
		t.Errorf("the worker says %q", got)
	}
	h.until("all slots are held", func() bool { return len(h.holders) == 3 })
	h.send(control.TypeTerminate, control.Terminate{Term: 1, Reason: "failed", Error: got})
	for _, run := range r.runs {
		await(t, run)
	}
}

// What workers count reaches the hook.
func TestStats(t *testing.T) {
	needPython(t)
	h := newTestHook(t, chain(nil))
	h.input = []byte(numbered(300))
	start(t, h, streaming(upper))
	h.heard(control.TypeEnded, slotOf("out"))
	h.until("the counters", func() bool {
		for _, s := range h.said {
			if s.typ == control.TypeStats && s.slot == slotOf("f") && s.stats.In == 300 && s.stats.Out == 300 {
				return s.stats.FuncPID > 0 && len(s.stats.HopUS) > 0 && len(s.stats.Links) == 1 && s.stats.Links[0].Events == 300 &&
					s.stats.Links[0].Carrier == "quic: this hook has no rings"
			}
		}
		return false
	})
}
