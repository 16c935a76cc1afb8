package invokerhook_test

import (
	"strings"
	"testing"

	"github.com/weft-stream/weft/internal/control"
)

func TestQuota(t *testing.T) {
	s := newSite(t, nil)
	p := newProxy(t, s.addr)
	pl := twoStages(60_000)
	start := func(limits string, noHeadroom bool) error {
		s.mu.Lock()
		s.limits = limits
		s.mu.Unlock()
		return call(t, p.conn, control.TypeStep, control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: "p", NoHeadroom: noHeadroom}, nil)
	}
	for limits, want := range map[string]string{
		`{"concurrentInvocations":1,"invocationsPerMinute":600}`: "needs 3 containers of 256 MB and 3 concurrent activations (2 slots, 1 to replace lost ones); namespace guest has 1, of which other pipelines hold 0",
		`{"concurrentInvocations":2,"invocationsPerMinute":600}`: "and 3 concurrent activations",
		`{"concurrentInvocations":3,"invocationsPerMinute":7}`:   "renews 4 leases a minute",
	} {
		if err := start(limits, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("limits %s: %v", limits, err)
		}
	}
	if err := start(`{"concurrentInvocations":1,"invocationsPerMinute":1}`, true); err == nil || strings.Contains(err.Error(), "--no-headroom") {
		t.Error("more slots than the namespace may have")
	}
	if err := start(`{"concurrentInvocations":2,"invocationsPerMinute":3}`, true); err == nil || !strings.Contains(err.Error(), "renews 4 leases a minute") || strings.Contains(err.Error(), "--no-headroom") {
		t.Errorf("leases that can't be renewed: %v", err)
	}
	if err := start(`{"concurrentInvocations":2,"invocationsPerMinute":4}`, true); err != nil {
		t.Error(err)
	}
	if err := start(`{}`, false); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second start: %v", err)
	}
}

// TestMemoryQuota: the invokers say in their pings what they have; without those nothing is refused.
func TestMemoryQuota(t *testing.T) {
	s := newSite(t, nil)
	p := newProxy(t, s.addr)
	start := func(name string, noHeadroom bool) error {
		pl := twoStages(60_000)
		pl.Name, pl.Stages[0].MemoryMB = name, 512 // and the platform's 256 MB for the other
		return call(t, p.conn, control.TypeStep, control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: name, NoHeadroom: noHeadroom}, nil)
	}
	if err := start("first", false); err != nil {
		t.Fatal(err)
	}
	tooMuch := func(err error) bool { return err != nil && strings.Contains(err.Error(), "MB") }
	want := "pipeline second needs 3 containers (2 of 512 MB, 1 of 256 MB), 1280 MB in all (768 MB for its 2 slots, 512 MB to replace lost ones); the 1 invokers that live have 1535 MB, of which other pipelines hold 768 MB"
	s.ping("invoker0", "1609564160 B")
	s.hears(func() bool { return s.hookStatus().Invokers == 1 })
	s.hears(func() bool { err := start("second", false); return tooMuch(err) && strings.Contains(err.Error(), want) })
	if err := start("second", true); !tooMuch(err) || strings.Contains(err.Error(), "--no-headroom") {
		t.Errorf("without headroom it doesn't fit either: %v", err)
	}
	s.ping("invoker0", "1536 MB")
	s.hears(func() bool {
		err := start("second", false)
		return tooMuch(err) && strings.Contains(err.Error(), "or start with --no-headroom")
	})
	if err := start("second", true); err != nil {
		t.Error(err)
	}
	s.ping("invoker1", "?")
	s.hears(func() bool { return start("third", true) == nil })
}

// TestHeadroom: with several invokers, the successors of all that one of them may hold have to find room, each
// container in one piece.
func TestHeadroom(t *testing.T) {
	s := newSite(t, nil)
	p := newProxy(t, s.addr)
	start := func(memoryMB int, limit string) error {
		s.mu.Lock()
		s.limits = limit
		s.mu.Unlock()
		pl := twoStages(60_000)
		pl.Stages[0].MemoryMB = memoryMB
		pl.Stages[1].Replicas.Min, pl.Stages[1].Replicas.Max = 3, 3
		return call(t, p.conn, control.TypeStep, control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: "p"}, nil)
	}
	s.ping("invoker0", "2048 MB")
	s.ping("invoker1", "640 MB")
	s.hears(func() bool { return s.hookStatus().Invokers == 2 })
	for _, c := range []struct {
		memoryMB    int
		limit, want string
	}{
		{256, `{"concurrentInvocations":7}`, "8 concurrent activations (4 slots, 4 to replace lost ones)"},
		{512, `{}`, ""}, // 2 of 512 MB and 6 of 256 MB fill both invokers
	} {
		err := start(c.memoryMB, c.limit)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestContainersInOnePiece: memory that is enough in all is not, when no invoker has room for a container.
func TestContainersInOnePiece(t *testing.T) {
	s := newSite(t, nil)
	p := newProxy(t, s.addr)
	for _, invoker := range []string{"invoker0", "invoker1", "invoker2"} {
		s.ping(invoker, "500 MB")
	}
	s.hears(func() bool { return s.hookStatus().Invokers == 3 })
	pl := twoStages(60_000)
	pl.Stages[0].MemoryMB = 512
	err := call(t, p.conn, control.TypeStep, control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: "p", NoHeadroom: true}, nil)
	if err == nil || !strings.Contains(err.Error(), "have 1500 MB") || !strings.Contains(err.Error(), "in one piece") {
		t.Error(err)
	}
}

// TestRenewalQuota: the namespace's rate is for the renewals of all its pipelines.
func TestRenewalQuota(t *testing.T) {
	s := newSite(t, nil)
	p := newProxy(t, s.addr)
	s.mu.Lock()
	s.limits = `{"invocationsPerMinute":15}`
	s.mu.Unlock()
	start := func(name string, noHeadroom bool) error {
		pl := twoStages(60_000)
		pl.Name = name
		return call(t, p.conn, control.TypeStep, control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: name, NoHeadroom: noHeadroom}, nil)
	}
	if err := start("first", false); err != nil {
		t.Fatal(err)
	}
	if err := start("second", false); err == nil || !strings.Contains(err.Error(), "renews 4 leases a minute, and the namespace's other pipelines 4: more than half of the 15") {
		t.Error(err)
	}
	if err := start("second", true); err != nil {
		t.Error(err)
	}
}

// ping is a sign of life of an invoker, with the memory that it has for containers.
func (s *site) ping(invoker, memory string) {
	s.produce("health", `{"isEnabled":true,"name":{"instance":0,"instanceType":"invoker","uniqueName":"`+invoker+`","userMemory":"`+memory+`"}}`)
}
