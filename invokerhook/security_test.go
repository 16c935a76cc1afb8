package invokerhook_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
)

func TestBadLeasesAreRefused(t *testing.T) {
	s := newSite(t, nil)
	s.start(60_000)
	f := s.next()
	p := newProxy(t, s.addr)
	lease := func(change func(*control.Lease)) control.Lease {
		l := control.Lease{Token: f.token, Namespace: "guest", Action: f.action, ActivationID: f.activation, CSR: p.key.Request(), Addr: "127.0.0.1:1"}
		change(&l)
		return l
	}
	for name, l := range map[string]control.Lease{
		"forged": lease(func(l *control.Lease) { l.Token.MAC = strings.Repeat("00", 32) }),
		"of another key": lease(func(l *control.Lease) {
			l.Token = control.SignToken(otherClusterKey, "guest", "p", f.token.Stage, strings.Repeat("0", 32), time.Now().Add(time.Hour))
		}),
		"of another stage":  lease(func(l *control.Lease) { l.Token.Stage = "other" }),
		"at another action": lease(func(l *control.Lease) { l.Action = "/guest/p.stages/other" }),
		"in another namespace": lease(func(l *control.Lease) {
			l.Namespace, l.Action = "other", "/other/p.stages/"+f.token.Stage
		}),
		"expired": lease(func(l *control.Lease) {
			l.Token = control.SignToken(clusterKey, "guest", "p", f.token.Stage, f.token.ID, time.Now().Add(-time.Second))
		}),
		"never fired": lease(func(l *control.Lease) {
			l.Token = control.SignToken(clusterKey, "guest", "p", f.token.Stage, strings.Repeat("0", 32), time.Now().Add(time.Hour))
		}),
		"of no pipeline here": lease(func(l *control.Lease) {
			l.Token = control.SignToken(clusterKey, "guest", "q", "s", strings.Repeat("0", 32), time.Now().Add(time.Hour))
			l.Action = "/guest/q.stages/s"
		}),
		"without a request":     lease(func(l *control.Lease) { l.CSR = nil }),
		"with a broken request": lease(func(l *control.Lease) { l.CSR = []byte{0x30, 0x80} }),
		"claiming a slot": lease(func(l *control.Lease) {
			l.Holding = &control.Inventory{Namespace: "guest", Pipeline: "p", Incarnation: 1}
		}),
	} {
		if r := p.bringLease(l); r.Verdict != control.Refused || r.Reason == "" || r.Assignment != nil {
			t.Errorf("a lease %s: %+v", name, r)
		}
	}
	// None of them has used the good one up; but it is good only once.
	if r := p.bring(f); r.Verdict != control.Take {
		t.Fatalf("the good lease: %+v", r)
	}
	second := newProxy(t, s.addr)
	again := lease(func(l *control.Lease) { l.ActivationID = strings.Repeat("f", 32) })
	if r := second.bringLease(again); r.Verdict != control.Refused {
		t.Fatalf("the lease replayed: %+v", r)
	}
	// Nor has that changed what is known of the lease's own activation.
	s.fail(f.activation, "boom")
	s.until("told of the activation's failure", func(control.PipelineStatus) bool { return strings.Contains(s.why(), "boom") })
	if strings.Contains(s.log.String(), f.token.MAC) {
		t.Error("a token is in the log")
	}
}

func TestClientSeesItsNamespaceOnly(t *testing.T) {
	s := newSite(t, nil)
	s.staff(60_000)
	for _, auth := range []string{"", "guest-uuid:wrong", "no colon"} {
		c := dial(t, s.addr, func(*control.Message, bool, func(control.Answer)) {})
		if err := call(t, c, control.TypeHello, control.Hello{Version: control.Version, Role: control.RoleClient, Auth: auth}, nil); err == nil {
			t.Errorf("key %q was accepted", auth)
		}
		if err := call(t, c, control.TypeStatus, control.Query{}, nil); err == nil {
			t.Errorf("key %q: status was answered", auth)
		}
	}
	c := s.client(otherKey)
	for _, q := range []control.Query{{Pipeline: "p"}, {Namespace: "guest", Pipeline: "p"}, {Namespace: "guest", Pipeline: "absent"}} {
		for _, typ := range []string{control.TypeStatus, control.TypeWhy, control.TypeLogs, control.TypeStop} {
			err := call(t, c, typ, q, nil)
			if err == nil || !strings.HasPrefix(err.Error(), "no pipeline ") {
				t.Errorf("%s %+v: %v", typ, q, err)
			}
		}
	}
	var st control.Status
	if err := call(t, c, control.TypeStatus, control.Query{Namespace: "guest"}, &st); err != nil || len(st.Pipelines) != 0 {
		t.Errorf("all of guest's: %+v, %v", st, err)
	}
	if err := call(t, c, control.TypeAttach, control.Attach{Namespace: "guest", Pipeline: "p", Sources: []string{"in"}}, nil); err == nil {
		t.Error("attached to another's files")
	}
	// A proxy needs the namespace's key for a step, too.
	p := newProxy(t, s.addr)
	for _, step := range []control.Step{{Step: "stop", Namespace: "guest", Name: "p"}, {Step: "stop", Namespace: "guest", Name: "p", APIKey: otherKey}} {
		if err := call(t, p.conn, control.TypeStep, step, nil); err == nil {
			t.Error("stopped without the key")
		}
	}
	if st := s.status(); st.Phase != control.Running {
		t.Errorf("status %+v", st)
	}
}

func TestHelloComesFirstAndOnce(t *testing.T) {
	s := newSite(t, nil)
	c := dial(t, s.addr, func(*control.Message, bool, func(control.Answer)) {})
	hello := control.Hello{Version: control.Version + 1, Role: control.RoleProxy, Worker: "w"}
	if err := call(t, c, control.TypeLease, control.Lease{}, nil); err == nil {
		t.Error("heard before hello")
	}
	if err := call(t, c, control.TypeHello, hello, nil); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("another version: %v", err)
	}
	hello.Version = control.Version
	if err := call(t, c, control.TypeHello, hello, nil); err == nil {
		t.Error("a second hello was accepted")
	}
}

// hears waits until the hook has heard what makes it so.
func (s *site) hears(so func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatal("the hook has not heard it")
		}
	}
}

// TestContainerThatNeverComes: a lease was fired and nobody brings it. It is counted, and another is fired.
func TestContainerThatNeverComes(t *testing.T) {
	if os.Getenv("WEFT_SOAK") == "" {
		t.Skip("it takes the minute that a lease may be on its way: set WEFT_SOAK=1")
	}
	s := newSite(t, nil)
	p := s.staff(3_600_000)
	_ = p["out"].conn.Close()
	first := s.next()
	late := time.After(2 * time.Minute)
	for again := first; again.token.ID == first.token.ID || again.token.Stage != first.token.Stage; {
		select {
		case again = <-s.fired:
		case <-late:
			t.Fatal("no other lease was fired")
		}
	}
	if n := s.hook.Refused()[invokerhook.NeverCame]; n != 1 {
		t.Errorf("%d are counted", n)
	}
	s.logged("no container has brought it")
	if r := newProxy(t, s.addr).bring(first); r.Verdict != control.Refused {
		t.Errorf("the late one: %+v", r)
	}
}
