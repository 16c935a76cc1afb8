package invokerhook_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
)

// TestContainersAreAttested: real proxies in containers hold slots at their containers' addresses, over a
// restart of the hook; a killed one is told of with Docker's word for it.
func TestContainersAreAttested(t *testing.T) {
	y := newYard(t)
	s := newSite(t, withDocker)
	c := y.staffed(s, 600_000, s.addr)
	at := func(st control.PipelineStatus, stage string) (addr string) {
		for _, slot := range st.Slots {
			if slot.Slot.Stage == stage {
				addr, _, _ = net.SplitHostPort(slot.Addr)
			}
		}
		return addr
	}
	st := s.status()
	for stage, crate := range c {
		if got := at(st, stage); got != crate.ip {
			t.Errorf("%s is at %s, its container at %s", stage, got, crate.ip)
		}
	}
	if err := s.hook.Close(); err != nil {
		t.Fatal(err)
	}
	s.open()
	s.until("back at the next hook", func(st control.PipelineStatus) bool { return st.Phase == control.Running && st.Term == 2 })
	time.Sleep(6 * time.Second) // longer than it waits for those that don't come back
	if st := s.status(); st.Restarts != 0 || st.Moves != 0 {
		t.Fatalf("after the hook's restart: %+v\n%s", st, s.why())
	}
	pid, err := strconv.Atoi(docker(t, "inspect", "-f", "{{.State.Pid}}", c["out"].name))
	if err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.until("told of the death", func(control.PipelineStatus) bool {
		return strings.Contains(s.why(), "container "+c["out"].name+" has ended (exit code 137)")
	})
	t.Logf("a killed container was noticed, with its cause, after %v", s.when("slot lost").Sub(killed))
}

// when is when the first such thing has happened to the pipeline.
func (s *site) when(what string) time.Time {
	s.t.Helper()
	var why control.Why
	if err := call(s.t, s.client(guestKey), control.TypeWhy, control.Query{Pipeline: "p"}, &why); err != nil {
		s.t.Fatal(err)
	}
	for _, e := range why.Entries {
		if e.What == what {
			return time.UnixMilli(e.TimeMS)
		}
	}
	s.t.Fatalf("nothing like %q has happened: %+v", what, why)
	return time.Time{}
}

// TestOOMIsNamed has a holder eat all the memory that its container has.
func TestOOMIsNamed(t *testing.T) {
	y := newYard(t)
	s := newSite(t, withDocker)
	y.begin(s, "guest", guestKey, "p", 600_000)
	f := s.next()
	c := y.other("guest_"+f.token.Stage, append(mount(s.addr, hookIn), "--memory", "48m", "--memory-swap", "48m")...)
	if o := c.do(job{Do: "lease", Know: c.bringing(f)}); o.Reply.Verdict != control.Take {
		t.Fatalf("%+v", o)
	}
	// A function that does so is killed alone, and its container lives on.
	if _, err := c.inside("0").in.Write([]byte(`{"Do":"eat"}` + "\n")); err != nil {
		t.Fatal(err)
	}
	s.until("told of the function's end", func(control.PipelineStatus) bool { return strings.Contains(s.why(), "out of memory") })
	if why := s.why(); strings.Contains(why, "slot lost") {
		t.Fatalf("the slot is lost with the function: %s", why)
	}
	if _, err := c.in.Write([]byte(`{"Do":"eat"}` + "\n")); err != nil {
		t.Fatal(err)
	}
	s.until("told of the cause", func(control.PipelineStatus) bool {
		return strings.Contains(s.why(), "container "+c.name+" has ended: OOM killed (exit code 137)")
	})
}

// TestPausedContainer pauses a holder, as an invoker must not.
func TestPausedContainer(t *testing.T) {
	y := newYard(t)
	s := newSite(t, withDocker)
	c := y.staffed(s, 600_000, s.addr)
	docker(t, "pause", c["out"].name)
	if f := s.next(); f.token.Stage != "out" {
		t.Fatalf("a lease for %s", f.token.Stage)
	}
	if why := s.why(); !strings.Contains(why, "frozen: its proxy has been kept from running") {
		t.Fatalf("why: %s", why)
	}
	docker(t, "unpause", c["out"].name)
}

// bringing is what a container knows that brings a lease as a proxy does.
func (c *crate) bringing(f firing) knowledge {
	ns, _, _ := strings.Cut(strings.TrimPrefix(f.action, "/"), "/")
	return knowledge{Hook: "unix:" + hookIn, Worker: "other", Lease: control.Lease{Token: f.token, Namespace: ns, Action: f.action,
		ActivationID: f.activation, DeadlineMS: time.Now().Add(10 * time.Minute).UnixMilli(), Addr: net.JoinHostPort(c.ip, "4433")}}
}

// TestTCPIsAttested: without the socket the source address names the container.
func TestTCPIsAttested(t *testing.T) {
	y := newYard(t)
	gateway := y.gateway()
	s := newSite(t, func(c *invokerhook.Config) {
		withDocker(c)
		c.Listen = append(c.Listen, "tcp:"+gateway+":0")
	})
	tcp := s.hook.Addrs()[2]
	c := y.staffed(s, 600_000, tcp)
	docker(t, "kill", c["in"].name)
	s.until("told of the death", func(control.PipelineStatus) bool {
		return strings.Contains(s.why(), "container "+c["in"].name+" has ended (exit code 137)")
	})
	// From the host, the same listener is nobody's.
	conn := dial(t, tcp, func(*control.Message, bool, func(control.Answer)) {})
	err := call(t, conn, control.TypeHello, control.Hello{Version: control.Version, Role: control.RoleProxy, Worker: "w"}, nil)
	if err == nil || !strings.Contains(err.Error(), "no container has the address") {
		t.Fatalf("a worker from the host: %v", err)
	}
}

// TestLyingContainers: each is refused for what it is, and counted.
func TestLyingContainers(t *testing.T) {
	y := newYard(t)
	s := newSite(t, withDocker)
	y.begin(s, "guest", guestKey, "p", 600_000)
	f := s.next()
	socket := mount(s.addr, hookIn)
	check := func(what string, c *crate, change func(*knowledge), kind invokerhook.Refusal, words string) {
		t.Helper()
		k := c.bringing(f)
		if change != nil {
			change(&k)
		}
		before := s.hook.Refused()[kind]
		o := c.do(job{Do: "lease", Know: k})
		if o.Reply.Verdict == control.Take || !strings.Contains(o.Err+o.Reply.Reason, words) {
			t.Errorf("%s: %+v, want %q", what, o, words)
		}
		if n := s.hook.Refused()[kind]; n != before+1 {
			t.Errorf("%s: %d were refused as %s, then %d", what, before, kind, n)
		}
	}
	stage := f.token.Stage
	check("another namespace's", y.other("other_"+stage, socket...), nil, invokerhook.RefusedNamespace, "runs no")
	check("another stage's", y.other("guest_another", socket...), nil, invokerhook.RefusedNamespace, "runs no")
	none := y.other("x", socket...)
	docker(t, "rename", none.name, "attest-"+none.name)
	none.name = "attest-" + none.name
	check("no action's", none, nil, invokerhook.RefusedNamespace, "is no action's")
	honest := y.other("guest_"+stage, socket...)
	check("at another's address", honest, func(k *knowledge) { k.Lease.Addr = "169.254.169.254:80" }, invokerhook.RefusedAddress, "has not the address")
	// The same container under a second name, while the first is there.
	second := honest.inside("0")
	check("registering twice", second, func(k *knowledge) { k.Worker = "second" }, invokerhook.RefusedTwice, "registered as another worker")
	check("of a function's user", honest.inside("65534"), nil, invokerhook.RefusedCaller, "of user 65534")
	// From the host itself, in no container.
	conn := dial(t, s.addr, func(*control.Message, bool, func(control.Answer)) {})
	err := call(t, conn, control.TypeHello, control.Hello{Version: control.Version, Role: control.RoleProxy, Worker: "w"}, nil)
	if err == nil || !strings.Contains(err.Error(), "is in no container") {
		t.Errorf("a process in no container: %v", err)
	}
	// Nothing of that has used the lease up.
	if o := honest.do(job{Do: "lease", Know: honest.bringing(f)}); o.Reply.Verdict != control.Take {
		t.Fatalf("the honest one: %+v", o)
	}
	// Nor can it work for another pipeline now, though its name fits.
	y.begin(s, "guest", guestKey, "q", 600_000)
	for f = s.next(); f.token.Pipeline != "q" || f.token.Stage != stage; f = s.next() {
	}
	check("of a second pipeline", honest, nil, invokerhook.RefusedPipeline, "has worked for another pipeline")
}

// TestSocketsFolderHasNothingElse: the operator is told, since every tenant would see it.
func TestSocketsFolderHasNothingElse(t *testing.T) {
	newYard(t)
	s := newSite(t, func(c *invokerhook.Config) {
		withDocker(c)
		c.Listen = c.Listen[:1]
		if err := os.WriteFile(filepath.Join(filepath.Dir(strings.TrimPrefix(c.Listen[0], "unix:")), "cluster.key"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	s.logged("give the socket one of its own")
}
