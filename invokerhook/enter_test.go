package invokerhook_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/identity"
)

func withIngress() pipeline.Pipeline {
	p := twoStages(60_000)
	p.Guarantee = pipeline.BestEffort
	p.Stages[0].Source = &pipeline.Source{Ingress: true}
	p.Stages[1].Sink = &pipeline.Sink{Reply: true}
	return p
}

// The container of an event's invocation is shown to the ingress's worker, as a guest that is no slot.
func TestEnter(t *testing.T) {
	s := newSite(t, nil)
	s.staffOf(withIngress())
	seen := map[uint64]bool{}
	for range 3 {
		p := newProxy(t, s.addr)
		var way control.Way
		p.call(control.TypeEnter, control.Enter{Namespace: "guest", Pipeline: "p", Action: "/guest/p", APIKey: guestKey, CSR: p.key.Request()}, &way)
		cert, err := x509.ParseCertificate(way.Cert)
		if err != nil {
			t.Fatal(err)
		}
		id, err := identity.Of(cert)
		if err != nil || id.Namespace != "guest" || id.Pipeline != "p" || id.Stage != pipeline.IngressName || id.Incarnation != way.Incarnation || seen[id.Incarnation] {
			t.Errorf("certificate of %v, %v", id, err)
		}
		seen[id.Incarnation] = true
		pool, err := identity.Pool(way.CA)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: identity.ServerName}); err != nil {
			t.Error(err)
		}
		if life := time.Until(cert.NotAfter); life > 2*time.Minute {
			t.Errorf("the certificate is good for %v", life)
		}
		want := control.Peer{Slot: pipeline.Slot{Stage: "in"}, Incarnation: 1, Addr: "127.0.0.1:1"}
		if way.Ingress != want {
			t.Errorf("the ingress is %+v, want %+v", way.Ingress, want)
		}
	}
}

// What a container says of its activation entitles to nothing: the key of the activation does.
func TestForgedEntriesAreRefused(t *testing.T) {
	s := newSite(t, nil)
	s.staffOf(withIngress())
	p := newProxy(t, s.addr)
	good := control.Enter{Namespace: "guest", Pipeline: "p", Action: "/guest/p.stages/ingress", APIKey: guestKey, CSR: p.key.Request()}
	for name, change := range map[string]func(*control.Enter){
		"without a key":            func(e *control.Enter) { e.APIKey = "" },
		"a key of nobody":          func(e *control.Enter) { e.APIKey = "guest-uuid:wrong" },
		"another namespace's key":  func(e *control.Enter) { e.APIKey = otherKey },
		"its own namespace":        func(e *control.Enter) { e.APIKey, e.Namespace = otherKey, "other" },
		"its own, by default":      func(e *control.Enter) { e.APIKey, e.Namespace = otherKey, "_" },
		"another action":           func(e *control.Enter) { e.Action = "/guest/p.stages/in" },
		"another's action":         func(e *control.Enter) { e.Action = "/other/p.stages/ingress" },
		"another pipeline":         func(e *control.Enter) { e.Pipeline = "q" },
		"a name with a namespace":  func(e *control.Enter) { e.Namespace, e.APIKey, e.Pipeline = "other", otherKey, "../guest/p" },
		"without a request":        func(e *control.Enter) { e.CSR = nil },
		"with a broken request":    func(e *control.Enter) { e.CSR = []byte{0x30, 0x80} },
		"with the request changed": func(e *control.Enter) { e.CSR = append([]byte(nil), e.CSR...); e.CSR[len(e.CSR)-1]++ },
	} {
		e := good
		change(&e)
		var way control.Way
		if err := call(t, p.conn, control.TypeEnter, e, &way); err == nil || way.Cert != nil {
			t.Errorf("%s: entered, %v", name, way.Ingress)
		}
	}
	// Weft commands and those who have not said who they are don't enter, whatever key they have.
	if err := call(t, s.client(guestKey), control.TypeEnter, good, nil); err == nil {
		t.Error("a client has entered")
	}
	if err := call(t, dial(t, s.addr, func(*control.Message, bool, func(control.Answer)) {}), control.TypeEnter, good, nil); err == nil {
		t.Error("entered before hello")
	}
	if n := s.hook.Refused()[invokerhook.RefusedEvent]; n != 12 {
		t.Errorf("%d refusals are counted, want 12", n)
	}
	s.logged(`"refusal":"event"`)
	if err := call(t, p.conn, control.TypeEnter, good, nil); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// Who comes while the pipeline starts is let in when it can take events; after its end it is told.
func TestEnterWaitsForTheStart(t *testing.T) {
	s := newSite(t, nil)
	p := newProxy(t, s.addr)
	e := control.Enter{Namespace: "guest", Pipeline: "p", Action: "/guest/p", APIKey: guestKey, CSR: p.key.Request()}
	if err := call(t, p.conn, control.TypeEnter, e, nil); err == nil || !strings.Contains(err.Error(), "start it first") {
		t.Errorf("before the start: %v", err)
	}
	s.startOf(withIngress())
	entered := make(chan error, 1)
	var way control.Way
	go func() { entered <- call(t, p.conn, control.TypeEnter, e, &way) }()
	holders := map[string]*proxy{}
	for range 2 {
		f := s.next()
		h := newProxy(t, s.addr)
		h.bring(f)
		holders[f.token.Stage] = h
	}
	for _, stage := range []string{"out", "in"} {
		select {
		case err := <-entered:
			t.Fatalf("entered before %s was ready: %v", stage, err)
		default:
		}
		holders[stage].send(control.TypeReady, holders[stage].state())
	}
	if err := <-entered; err != nil || way.Ingress.Incarnation != 1 {
		t.Errorf("%+v, %v", way.Ingress, err)
	}
	s.step(control.Step{Step: "stop", WaitMS: 1})
	s.until("stopped", func(st control.PipelineStatus) bool { return st.Phase != control.Running })
	if err := call(t, p.conn, control.TypeEnter, e, nil); err == nil || !strings.Contains(err.Error(), "has stopped") {
		t.Errorf("after the stop: %v", err)
	}
}

// Who has a link to the ingress hears at once that its worker is lost, and is led to the next.
func TestGuestsHearOfTheLoss(t *testing.T) {
	s := newSite(t, nil)
	workers := s.staffOf(withIngress())
	p := newProxy(t, s.addr)
	e := control.Enter{Namespace: "guest", Pipeline: "p", Action: "/guest/p", APIKey: guestKey, CSR: p.key.Request()}
	var way, again control.Way
	p.call(control.TypeEnter, e, &way)
	_ = workers["in"].conn.Close()
	var astray control.Astray
	p.await(control.TypeAstray, &astray)
	if astray.Incarnation != way.Incarnation {
		t.Errorf("astray is %d, the way was for %d", astray.Incarnation, way.Incarnation)
	}
	f := s.next()
	next := newProxy(t, s.addr)
	if r := next.bring(f); r.Verdict != control.Take {
		t.Fatalf("the successor's lease is answered with %s: %s", r.Verdict, r.Reason)
	}
	next.send(control.TypeReady, next.state())
	p.call(control.TypeEnter, e, &again)
	if again.Ingress.Incarnation != 2 || again.Incarnation == way.Incarnation {
		t.Errorf("the way to the successor: %+v", again)
	}
}

func TestOnlyAnIngressIsEntered(t *testing.T) {
	s := newSite(t, nil)
	s.staff(240_000)
	p := newProxy(t, s.addr)
	e := control.Enter{Namespace: "guest", Pipeline: "p", Action: "/guest/p", APIKey: guestKey, CSR: p.key.Request()}
	if err := call(t, p.conn, control.TypeEnter, e, nil); err == nil || !strings.Contains(err.Error(), "none of its sources is an ingress") {
		t.Errorf("%v", err)
	}
}
