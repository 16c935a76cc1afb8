package worker_test

import (
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// asked is the next question that the hook is to decide on.
func (h *testHook) asked() question {
	h.t.Helper()
	select {
	case q := <-h.parked:
		return q
	case <-time.After(patience):
		h.t.Fatal("nobody has asked")
		return question{}
	}
}

func released(a answer) bool {
	weft, _ := a.reply["weft"].(map[string]any)
	return a.status == 200 && weft["released"] == true
}

// A container stands by while the hook does not decide on its lease: it asks again when the hook was away,
// gives the lease back when that is to be renewed, and takes a slot with the next one.
func TestStandBy(t *testing.T) {
	h := newTestHook(t, chain(nil))
	h.parked = make(chan question, 10)
	c := startContainer(t, h.addr())
	c.init("weft:sink")
	run := c.lease(h, "out", "first")
	first := h.asked()
	h.down()
	h.listen()
	again := h.asked()
	if again.worker != first.worker || again.lease.Token != first.lease.Token || string(again.lease.CSR) != string(first.lease.CSR) {
		t.Errorf("it asked for %+v, then for %+v", first, again)
	}
	again.reply(control.Answer{Body: control.LeaseReply{Verdict: control.Released}})
	if a := await(t, run); !released(a) {
		t.Errorf("the lease that is to be renewed answers %v", a)
	}

	run = c.lease(h, "out", "second")
	q := h.asked()
	h.mu.Lock()
	h.parked = nil
	take := h.lease(q.worker, q.lease)
	h.mu.Unlock()
	q.reply(control.Answer{Body: take})
	h.until("the slot's holder", func() bool { return c.worker.Holding() == "p" })
	h.send(control.TypeRelease, control.Release{Term: 1, LeaseID: "second"}, slotOf("out"))
	if a := await(t, run); !released(a) {
		t.Errorf("the lease that brought the slot answers %v", a)
	}
}

// The lease of a container that stands by ends before the platform's deadline, in order.
func TestStandByDeadline(t *testing.T) {
	h := newTestHook(t, chain(nil))
	h.parked = make(chan question, 10)
	c := startContainer(t, h.addr())
	c.init("weft:sink")
	run := c.run(map[string]any{"__weft": control.Token{V: 1, Namespace: namespace, Pipeline: "p", Stage: "out", ID: "x"}}, 2*time.Second)
	h.asked()
	if a := await(t, run); !released(a) {
		t.Errorf("it answers %v", a)
	}
}

// A proxy that stops does not wait for the hook's word.
func TestStandByEndsWithItsProxy(t *testing.T) {
	h := newTestHook(t, chain(nil))
	h.parked = make(chan question, 10)
	c := startContainer(t, h.addr())
	c.init("weft:sink")
	run := c.lease(h, "out", "x")
	h.asked()
	if err := c.worker.Close(); err != nil {
		t.Fatal(err)
	}
	if a := await(t, run); a.status != 200 || a.reply["error"] == nil {
		t.Errorf("it answers %v", a)
	}
}
