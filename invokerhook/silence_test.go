package invokerhook_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
)

// pinging gives an invoker's signs of life until the test ends, or it is silenced.
func (s *site) pinging(invoker int) (silence func(bool)) {
	var silent atomic.Bool
	stop, done := make(chan struct{}), make(chan struct{})
	ping := fmt.Sprintf(`{"isEnabled":true,"name":{"instance":%d,"instanceType":"invoker","uniqueName":"host%d","userMemory":"2048 MB","tags":[],"newer":{"field":1}}}`, invoker, invoker)
	go func() {
		defer close(done)
		for {
			if !silent.Load() {
				s.produce("health", ping)
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	s.t.Cleanup(func() { close(stop); <-done })
	return silent.Store
}

func (s *site) place(p *proxy, invoker int) {
	s.produce(fmt.Sprint("invoker", invoker), `{"activationId":"`+p.lease.activation+`","action":{"name":"x","path":"guest/p.stages"},"content":{"canary":1},"transid":["t",1],"user":{"namespace":{"name":"guest"}}}`)
}

// TestSilentInvoker: what has its activation on an invoker without signs of life is replaced, and weft why
// says why; what is on another stays. When nobody is heard of, that says nothing of any invoker.
func TestSilentInvoker(t *testing.T) { onBoth(t, testSilentInvoker) }

func testSilentInvoker(t *testing.T, newSite siteMaker) {
	s := newSite(t, func(c *invokerhook.Config) { c.InvokerSilence = 2 * time.Second })
	s.create(t, 1, "invoker1")
	p := s.staff(60_000)
	silence := []func(bool){s.pinging(0), s.pinging(1)}
	s.place(p["in"], 0)
	s.place(p["out"], 1)
	s.until("placed", func(st control.PipelineStatus) bool {
		return st.Slots[0].Invoker == "invoker0" && st.Slots[1].Invoker == "invoker1"
	})
	s.hears(func() bool { return s.hookStatus().Invokers == 2 })

	// All are silent: for as long as one that is gone alone would be told of.
	silence[0](true)
	silence[1](true)
	time.Sleep(4 * time.Second) // nothing may happen in it
	if st := s.status(); st.Restarts != 0 {
		t.Fatalf("replaced while nobody is heard of: %+v", st)
	}
	silence[0](false)
	f := s.next()
	if f.token.Stage != "out" {
		t.Fatalf("a lease of %s", f.token.Stage)
	}
	var end control.Terminate
	p["out"].await(control.TypeTerminate, &end)
	if !strings.Contains(end.Error, "invoker1, which has its activation, has given no sign of life") {
		t.Fatalf("%+v", end)
	}
	// This lease goes to the same invoker, which the platform doesn't know to be down yet: it is fired again.
	s.produce("invoker1", `{"activationId":"`+f.activation+`","action":{"name":"out","path":"guest/p.stages"},"transid":["t",1]}`)
	again := newProxy(t, s.addr)
	if r := again.bring(s.next()); r.Verdict != control.Take || r.Assignment.Slot.Stage != "out" {
		t.Fatalf("the successor: %+v", r)
	}
	var why control.Why
	if err := call(t, s.client(guestKey), control.TypeWhy, control.Query{Pipeline: "p"}, &why); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, e := range why.Entries {
		if strings.HasSuffix(e.What, "lost") && strings.Contains(e.Reason, "invoker1") {
			lost++
		}
	}
	if st := s.status(); lost != 2 || st.Restarts != 1 || st.Slots[0].Incarnation != 1 {
		t.Errorf("%d entries of why name it: %+v\n%+v", lost, why, st)
	}
	s.logged("invoker gives no sign of life")
}
