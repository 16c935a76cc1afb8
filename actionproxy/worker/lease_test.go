package worker_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// A lease is released and renewed while events flow: the worker goes on, nothing is lost.
func TestReleaseAndRenew(t *testing.T) {
	eachABI(t, upper, func(t *testing.T, code string) {
		h := newTestHook(t, chain(nil))
		h.open = true
		r := start(t, h, code)
		h.heard(control.TypeReady, slotOf("in"))
		lines := 0
		for round := range 3 {
			h.feed(lines, 200)
			lines += 200
			for stage, c := range r.containers {
				h.mu.Lock()
				id := h.holders[slotOf(stage)].leaseID
				h.mu.Unlock()
				h.send(control.TypeRelease, control.Release{Term: 1, LeaseID: id}, slotOf(stage))
				a := await(t, r.runs[stage])
				if weft, _ := a.reply["weft"].(map[string]any); a.status != 200 || weft["released"] != true {
					t.Errorf("the released lease of %s answers %v", stage, a)
				}
				h.feed(lines, 50)
				lines += 50
				next := fmt.Sprintf("lease-%s-%d", stage, round)
				r.runs[stage] = c.lease(h, stage, next)
				h.until("the renewal of "+stage, func() bool { return h.holders[slotOf(stage)].leaseID == next })
			}
		}
		h.finish()
		h.heard(control.TypeEnded, slotOf("out"))
		r.wantTexts(uppers(lines))
		r.terminate()
	})
}

// feed adds lines to the source's input, from a number on.
func (h *testHook) feed(from, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range n {
		h.input = fmt.Appendf(h.input, "line %d\n", from+i)
	}
}

// finish ends the input.
func (h *testHook) finish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = false
}

// The verdicts that give no slot.
func TestVerdicts(t *testing.T) {
	h := newTestHook(t, chain(nil))
	var verdict control.LeaseReply
	h.verdict = func(control.Lease) *control.LeaseReply { return &verdict }
	c := startContainer(t, h.addr())
	c.init("weft:sink")
	for _, test := range []struct {
		verdict control.Verdict
		status  int
		words   string
	}{{control.Leave, 502, "not needed"}, {control.Refused, 200, "lease refused: because"}} {
		h.mu.Lock()
		verdict = control.LeaseReply{Verdict: test.verdict, Reason: "because"}
		h.mu.Unlock()
		a := await(t, c.lease(h, "out", "x"))
		text, _ := a.reply["error"].(string)
		if a.status != test.status || !strings.Contains(text, test.words) || !strings.Contains(text, "because") {
			t.Errorf("%s is answered %v", test.verdict, a)
		}
	}
}

// What only looks like a lease is an ordinary error; the hook isn't asked.
func TestNoLease(t *testing.T) {
	c := startContainer(t, "unix:/nonexistent/hook.sock")
	c.init("weft:sink")
	a := await(t, c.run(map[string]any{"__weft": "me"}, patience))
	if text, _ := a.reply["error"].(string); a.status != 200 || !strings.Contains(text, "reserved") {
		t.Errorf("it answers %v", a)
	}
}

// A lease is answered before the platform's deadline, whatever the hook does, and the worker goes on.
func TestDeadline(t *testing.T) {
	h := newTestHook(t, chain(nil))
	c := startContainer(t, h.addr())
	c.init("weft:sink")
	began := time.Now()
	const life = 2 * time.Second
	run := c.run(map[string]any{"__weft": control.Token{V: 1, Namespace: namespace, Pipeline: "p", Stage: "out", ID: "x"}}, life)
	a := await(t, run)
	if weft, _ := a.reply["weft"].(map[string]any); a.status != 200 || weft["released"] != true {
		t.Errorf("it answers %v", a)
	}
	if time.Since(began) >= life {
		t.Error("it was answered after the deadline")
	}
	if c.worker.Holding() != "p" {
		t.Error("the worker does not hold its slot any more")
	}
}

// The platform's connection goes away: the worker goes on, and takes another lease.
// TestOtherClock: the platform's clock is hours away from the container's, either way. The worker works,
// and an ordinary activation is answered.
func TestOtherClock(t *testing.T) {
	for _, ahead := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		h := newTestHook(t, chain(nil))
		h.open = true
		c := startContainer(t, h.addr())
		c.init("weft:source")
		value := map[string]any{"__weft": control.Token{V: 1, Namespace: namespace, Pipeline: "p", Stage: "in", ID: "x"}}
		run := c.run(value, ahead+5*time.Minute)
		h.until("the slot's holder", func() bool { return h.holders[slotOf("in")] != nil })
		h.send(control.TypeRelease, control.Release{Term: 1, LeaseID: "x"})
		if a := await(t, run); a.status != 200 || a.reply["error"] != nil {
			t.Errorf("deadline %v away: %v", ahead, a)
		}
		step := startContainer(t, h.addr())
		step.init("weft:step")
		if a := await(t, step.run(map[string]any{"step": "status"}, ahead)); a.status != 200 || a.reply["step"] != "status" {
			t.Errorf("deadline %v away: the step answers %v", ahead, a)
		}
	}
}

func TestPeerGone(t *testing.T) {
	h := newTestHook(t, chain(nil))
	c := startContainer(t, h.addr())
	c.init("weft:sink")
	ctx, cancel := context.WithCancel(t.Context())
	body := `{"value":{"__weft":{"v":1,"ns":"guest","pipeline":"p","stage":"out","id":"x"}}}`
	req, err := http.NewRequestWithContext(ctx, "POST", c.url+"/run", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Error("the lease was answered")
		}
	}()
	h.heard(control.TypeReady, slotOf("out"))
	cancel()
	<-gone
	run := c.lease(h, "out", "y")
	h.until("the renewal", func() bool { return h.holders[slotOf("out")].leaseID == "y" })
	h.send(control.TypeTerminate, control.Terminate{Term: 1, Reason: "ended"})
	if a := await(t, run); a.status != 200 || a.reply["weft"] == nil {
		t.Errorf("the second lease answers %v", a)
	}
}

// The hook dies and comes back: events flow on, the worker says what it holds, and what it had to say.
func TestHookComesBack(t *testing.T) {
	h := newTestHook(t, chain(nil))
	h.open = true
	h.feed(0, 100)
	needPython(t)
	r := start(t, h, streaming(upper))
	h.until("the first output", func() bool { return len(h.output) > 0 })
	h.heard(control.TypeReady, slotOf("in"))
	h.down()
	h.mu.Lock()
	h.hellos = nil
	h.mu.Unlock()
	h.feed(100, 100)
	h.listen()
	h.until("the workers' return", func() bool { return len(h.hellos) >= 3 })
	h.mu.Lock()
	for _, hello := range h.hellos {
		inv := hello.Inventory
		if inv == nil || !inv.Ready || inv.Incarnation != 1 || inv.LeaseID != "lease-"+inv.Slot.Stage || inv.Addr == "" {
			t.Errorf("a worker came back with %+v", inv)
		}
	}
	h.mu.Unlock()
	h.finish()
	h.heard(control.TypeEnded, slotOf("out"))
	r.wantTexts(uppers(200))
	r.terminate()
}

// A hook that doesn't know the worker any more stops it.
func TestHookForgets(t *testing.T) {
	h := newTestHook(t, chain(nil))
	c := startContainer(t, h.addr())
	c.init("weft:sink")
	run := c.lease(h, "out", "x")
	h.heard(control.TypeReady, slotOf("out"))
	h.down()
	h.mu.Lock()
	h.refused = true
	h.mu.Unlock()
	h.listen()
	a := await(t, run)
	if text, _ := a.reply["error"].(string); a.status != 200 || !strings.Contains(text, "does not know") {
		t.Errorf("it answers %v", a)
	}
	if c.worker.Holding() != "" {
		t.Error("the worker still holds its slot")
	}
}

// An owner that was replaced has no say.
func TestOldTerm(t *testing.T) {
	h := newTestHook(t, chain(nil))
	c := startContainer(t, h.addr())
	c.init("weft:sink")
	run := c.lease(h, "out", "x")
	h.heard(control.TypeReady, slotOf("out"))
	h.send(control.TypePeers, control.Peers{Term: 3})
	h.send(control.TypeTerminate, control.Terminate{Term: 2, Reason: "old", Error: "old"})
	h.send(control.TypeRollback, control.Rollback{Term: 2, Attempt: frame.MakeAttempt(2, 1)})
	h.send(control.TypeTerminate, control.Terminate{Term: 3, Reason: "new"})
	a := await(t, run)
	if weft, _ := a.reply["weft"].(map[string]any); weft["reason"] != "new" {
		t.Errorf("it answers %v", a)
	}
}

// A step of the conductor action is the hook's to do.
func TestStep(t *testing.T) {
	h := newTestHook(t, chain(nil))
	c := startContainer(t, h.addr())
	c.init("weft:step")
	a := await(t, c.run(map[string]any{"step": "await", "stage": "out", "pipeline": h.pipeline}, patience))
	if a.status != 200 || a.reply["step"] != "await" {
		t.Errorf("it answers %v", a)
	}
	s := h.steps[0]
	if s.Namespace != namespace || s.APIKey != "key:secret" || s.Name != "p" || s.Stage != "out" || len(s.Pipeline.Stages) != 3 {
		t.Errorf("the hook was asked for %+v", s)
	}
	a = await(t, c.run(map[string]any{"step": "broken"}, patience))
	if text, _ := a.reply["error"].(string); a.status != 200 || !strings.Contains(text, "the step is broken") {
		t.Errorf("it answers %v", a)
	}
}

// TestStepOutlivesTheHook: a question is asked again when the hook dies over it; what changes something isn't.
func TestStepOutlivesTheHook(t *testing.T) {
	for step, again := range map[string]bool{"await": true, "report": true, "status": true, "start": false, "stop": false} {
		h := newTestHook(t, chain(nil))
		c := startContainer(t, h.addr())
		c.init("weft:step")
		a := await(t, c.run(map[string]any{"step": step, "stage": "dies", "name": "p"}, patience))
		if answered := a.reply["step"] == step; answered != again || a.status != 200 {
			t.Errorf("%s: it answers %v", step, a)
		}
	}
}
