package invokerhook_test

import (
	"context"
	"strings"
	"testing"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// asks gives the hook a lease that it doesn't decide on yet.
func (p *proxy) asks(f firing) <-chan control.LeaseReply {
	out := make(chan control.LeaseReply, 1)
	l := control.Lease{Token: f.token, Namespace: "guest", Action: f.action, ActivationID: f.activation, CSR: p.key.Request(), Addr: "127.0.0.1:1"}
	conn := p.conn
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
		defer cancel()
		var reply control.LeaseReply
		if _, err := conn.Call(ctx, control.TypeLease, l, nil, &reply); err == nil {
			out <- reply
		}
	}()
	return out
}

func standing(state string) func(control.PipelineStatus) bool {
	return func(st control.PipelineStatus) bool { return len(st.StandBys) == 1 && st.StandBys[0].State == state }
}

func standbyOfOut(leaseMS int64) pipeline.Pipeline {
	pl := twoStages(leaseMS)
	pl.Stages[1].Standby = 1
	return pl
}

// TestStandByTakesOver: who stands by asks the next hook again; when the worker is lost it has the slot, and
// another is fired for.
func TestStandByTakesOver(t *testing.T) { onBoth(t, testStandByTakesOver) }

func testStandByTakesOver(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	p := s.staffOf(standbyOfOut(60_000))
	f, spare := s.next(), newProxy(t, s.addr)
	if f.token.Stage != "out" {
		t.Fatalf("fired for %s", f.token.Stage)
	}
	before := spare.asks(f)
	s.until("a stand-by", standing("ready"))
	if err := s.hook.Close(); err != nil {
		t.Fatal(err)
	}
	<-spare.conn.Done()
	select {
	case r := <-before:
		t.Fatalf("a hook that closes answers %+v", r)
	default:
	}
	s.open()
	for stage, w := range p {
		if r := w.comeBack(s.addr); !r.Keep {
			t.Fatalf("%s was sent away: %s", stage, r.Reason)
		}
	}
	spare.connect(nil)
	answer := spare.asks(f)
	s.until("running with a stand-by", func(st control.PipelineStatus) bool {
		return st.Term == 2 && st.Phase == control.Running && standing("ready")(st)
	})
	_ = p["out"].conn.Close()
	r := <-answer
	if r.Verdict != control.Take || r.Assignment == nil || r.Assignment.Slot.Stage != "out" || r.Assignment.Incarnation != 2 {
		t.Fatalf("it is told %+v", r)
	}
	spare.assignment, spare.lease = r.Assignment, f
	spare.send(control.TypeReady, spare.state())
	if f = s.next(); f.token.Stage != "out" {
		t.Fatalf("fired for %s", f.token.Stage)
	}
	next := newProxy(t, s.addr)
	answer = next.asks(f)
	s.until("another stand-by", standing("ready"))
	if err := call(t, s.client(guestKey), control.TypeStop, control.Query{Pipeline: "p"}, nil); err != nil {
		t.Fatal(err)
	}
	if r := <-answer; r.Verdict != control.Released {
		t.Fatalf("at the end it is told %+v", r)
	}
}

// TestStandByIsGivenUp: at the namespace's limit a lost slot's lease is had by giving up a stand-by of another stage.
func TestStandByIsGivenUp(t *testing.T) {
	s := newSite(t, nil)
	p := s.staffOf(standbyOfOut(60_000))
	f, spare := s.next(), newProxy(t, s.addr)
	answer := spare.asks(f)
	s.until("a stand-by", standing("ready"))
	s.mu.Lock()
	s.full, s.room, s.refusal = true, 0, "Too many concurrent requests in flight (count: 3, allowed: 3)."
	s.mu.Unlock()
	_ = p["in"].conn.Close()
	if r := <-answer; r.Verdict != control.Released || !strings.Contains(r.Reason, "for a worker of in") {
		t.Fatalf("it is told %+v", r)
	}
	s.until("no stand-by", standing("missing"))
	s.mu.Lock()
	s.full, s.room = false, 0
	s.mu.Unlock()
	if f := s.next(); f.token.Stage != "in" {
		t.Fatalf("fired for %s", f.token.Stage)
	}
}

// TestStandByIsRenewed: its lease is given back and comes again, and a stand-by that is lost is replaced.
func TestStandByIsRenewed(t *testing.T) {
	s := newSite(t, nil)
	s.staffOf(standbyOfOut(60_000))
	f, spare := s.next(), newProxy(t, s.addr)
	spare.asks(f)
	s.until("a stand-by", standing("ready"))
	s.mu.Lock() // its proxy could wait no longer
	s.records[f.activation] = `{"activationId":"` + f.activation + `","response":{"status":"success","success":true}}`
	s.mu.Unlock()
	s.complete(f.activation)
	f = s.next()
	answer := spare.asks(f)
	s.until("one renewal", func(st control.PipelineStatus) bool { return st.Renewals == 1 && standing("ready")(st) })
	_ = spare.conn.Close()
	if f = s.next(); f.token.Stage != "out" {
		t.Fatalf("fired for %s", f.token.Stage)
	}
	newProxy(t, s.addr).asks(f)
	s.until("another stand-by", func(st control.PipelineStatus) bool { return st.Restarts == 0 && standing("ready")(st) })
	select {
	case r := <-answer:
		t.Fatalf("the lost one was told %+v", r)
	default:
	}
}

// TestStandByQuota: stand-bys need activations and memory like workers, and renewals.
func TestStandByQuota(t *testing.T) {
	s := newSite(t, nil)
	p := newProxy(t, s.addr)
	pl := standbyOfOut(60_000)
	for limits, want := range map[string]string{
		`{"concurrentInvocations":3,"invocationsPerMinute":600}`: "needs 4 containers of 256 MB and 4 concurrent activations (2 slots, 1 stand-by, 1 to replace lost ones)",
		`{"concurrentInvocations":9,"invocationsPerMinute":11}`:  "renews 7 leases a minute",
	} {
		s.mu.Lock()
		s.limits = limits
		s.mu.Unlock()
		err := call(t, p.conn, control.TypeStep, control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: "p"}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("limits %s: %v", limits, err)
		}
	}
}
