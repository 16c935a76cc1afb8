package invokerhook_test

import (
	"bytes"
	"crypto/x509"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/identity"
)

var clusterKey, otherClusterKey = bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)

func withClientWait(c *invokerhook.Config) { c.ClientWait = 50 * time.Millisecond }

// logBuffer keeps a hook's log, to look for what must not be in it.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// site is a platform with a hook.
type site struct {
	*platform
	hook *invokerhook.Hook
	addr string
	log  *logBuffer
	cfg  invokerhook.Config

	deadline time.Duration // of workers' activations; 0: a minute
}

func withLongReturn(c *invokerhook.Config) { c.ReturnWait = time.Minute }

func newSite(t *testing.T, change func(*invokerhook.Config)) *site {
	t.Helper()
	t.Parallel()
	return newSiteAlone(t, change)
}

func newSiteAlone(t *testing.T, change func(*invokerhook.Config)) *site {
	t.Helper()
	return newSiteOn(t, fakeKafka(t), change)
}

func newSiteOn(t *testing.T, k kafka, change func(*invokerhook.Config)) *site {
	t.Helper()
	s := &site{platform: newPlatform(t, k), log: &logBuffer{}}
	s.cfg = newConfig(t, s)
	if change != nil {
		change(&s.cfg)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.log.String())
		}
		for _, secret := range []string{"guest-secret", "other-secret"} {
			if strings.Contains(s.log.String(), secret) {
				t.Error("the log has a key in it")
			}
		}
	})
	s.open()
	return s
}

// newConfig is that of a hook of the site.
func newConfig(t *testing.T, s *site) invokerhook.Config {
	t.Helper()
	s.addr = "unix:" + filepath.Join(t.TempDir(), "hook.sock")
	return invokerhook.Config{Listen: []string{s.addr, "tcp:127.0.0.1:0"}, Kafka: s.brokers, APIHost: s.url, Keys: [][]byte{clusterKey},
		Host: "test", Processes: true, Logger: zerolog.New(s.log).Level(zerolog.DebugLevel), ReturnWait: 300 * time.Millisecond,
		TopicPrefix: s.prefix, EventsPrefix: s.prefix, RegistryTopic: s.topic("weft.registry"), Access: invokerhook.KafkaAccess{Dial: s.broker.dial},
		ClientWait: 5 * time.Second, HTTP: &http.Client{Transport: &http.Transport{}}}
}

// open starts a hook, which takes over what the one before it has left.
func (s *site) open() {
	s.t.Helper()
	h, err := newHook(s)
	if err != nil {
		s.t.Fatal(err)
	}
	s.hook = h
}

func newHook(s *site) (*invokerhook.Hook, error) {
	h, err := invokerhook.New(s.cfg)
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { _ = h.Close() })
	return h, h.Open(s.t.Context())
}

func (s *site) next() firing {
	s.t.Helper()
	select {
	case f := <-s.fired:
		return f
	case <-time.After(patience):
		s.t.Fatal("no lease was fired")
		return firing{}
	}
}

// start asks for a pipeline of two stages, as the conductor action does.
func (s *site) start(leaseMS int64) {
	s.t.Helper()
	s.startOf(twoStages(leaseMS))
}

func (s *site) startOf(pl pipeline.Pipeline) {
	s.t.Helper()
	p := newProxy(s.t, s.addr)
	var reply control.StepReply
	p.call(control.TypeStep, control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: "p"}, &reply)
}

// staff starts the pipeline and gives both leases to proxies, which become ready.
func (s *site) staff(leaseMS int64) map[string]*proxy {
	s.t.Helper()
	return s.staffOf(twoStages(leaseMS))
}

func (s *site) staffOf(pl pipeline.Pipeline) map[string]*proxy {
	s.t.Helper()
	s.startOf(pl)
	out := map[string]*proxy{}
	for range 2 {
		f := s.next()
		p := newProxy(s.t, s.addr)
		p.deadline = s.deadline
		if r := p.bring(f); r.Verdict != control.Take {
			s.t.Fatalf("lease answered with %q: %s", r.Verdict, r.Reason)
		}
		out[f.token.Stage] = p
	}
	for _, stage := range []string{"out", "in"} {
		out[stage].send(control.TypeReady, out[stage].state())
	}
	s.step(control.Step{Step: "await", Stage: "out"})
	s.step(control.Step{Step: "await", Stage: "in"})
	return out
}

// step calls a step of the pipeline and returns its result.
func (s *site) step(step control.Step) string {
	s.t.Helper()
	p := newProxy(s.t, s.addr)
	step.Namespace, step.APIKey, step.Name = "guest", guestKey, "p"
	var reply control.StepReply
	p.call(control.TypeStep, step, &reply)
	return string(reply.Result)
}

func (s *site) client(key string) *control.Conn {
	s.t.Helper()
	c := dial(s.t, s.addr, func(*control.Message, bool, func(control.Answer)) {})
	if err := call(s.t, c, control.TypeHello, control.Hello{Version: control.Version, Role: control.RoleClient, Auth: key}, nil); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *site) status() control.PipelineStatus {
	s.t.Helper()
	return s.statusOf("p")
}

func (s *site) statusOf(name string) control.PipelineStatus {
	s.t.Helper()
	c := s.client(guestKey)
	defer c.Close()
	var st control.Status
	if err := call(s.t, c, control.TypeStatus, control.Query{Pipeline: name}, &st); err != nil {
		s.t.Fatal(err)
	}
	return st.Pipelines[0]
}

func (s *site) hookStatus() control.HookStatus {
	s.t.Helper()
	var st control.Status
	if err := call(s.t, s.client(guestKey), control.TypeStatus, control.Query{}, &st); err != nil {
		s.t.Fatal(err)
	}
	return st.Hook
}

// until waits for the status to be as wanted.
func (s *site) until(what string, ok func(control.PipelineStatus) bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		st := s.status()
		if ok(st) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("never %s: %+v", what, st)
		}
	}
}

func TestStartRenewStop(t *testing.T) { onBoth(t, testStartRenewStop) }

func testStartRenewStop(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	p := s.staff(1000)
	in := p["in"]
	if in.assignment.Slot.Stage != "in" || in.assignment.Term != 1 {
		t.Fatalf("assignment %+v", in.assignment)
	}
	cert, err := x509.ParseCertificate(in.assignment.Cert)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Of(cert)
	if err != nil || id.String() != "weft://guest/p/in/0/1" {
		t.Fatalf("certificate of %v, %v", id, err)
	}
	var peers control.Peers
	in.await(control.TypePeers, &peers)

	// A release at half of the lease: the /run is answered, the platform says so, the next lease comes.
	for _, stage := range []string{"in", "out"} {
		var release control.Release
		p[stage].await(control.TypeRelease, &release)
		if release.LeaseID != p[stage].lease.token.ID {
			t.Fatalf("release of %+v", release)
		}
		s.complete(p[stage].lease.activation)
		f := s.next()
		if f.token.Stage != stage {
			t.Fatalf("renewal of %s while %s waits", f.token.Stage, stage)
		}
		if r := p[stage].bring(f); r.Verdict != control.Renewed || r.Assignment == nil {
			t.Fatalf("renewal answered with %+v", r)
		}
	}
	s.until("two renewals", func(st control.PipelineStatus) bool { return st.Renewals >= 2 })

	if err := call(t, s.client(guestKey), control.TypeStop, control.Query{Pipeline: "p"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, w := range p {
		var end control.Terminate
		w.await(control.TypeTerminate, &end)
		s.complete(w.lease.activation)
	}
	s.until("ended", func(st control.PipelineStatus) bool { return st.Phase == control.Ended })
	// The next run is of a higher term, which fences what is left of this one.
	if again := s.staff(240_000); again["in"].assignment.Term != 2 {
		t.Fatalf("second run: %+v", again["in"].assignment)
	}
}

func TestFailedInitIsTold(t *testing.T) {
	s := newSite(t, nil)
	s.start(60_000)
	f := s.next()
	s.fail(f.activation, "main.go:3: undefined: x")
	got := newProxy(t, s.addr)
	err := call(t, got.conn, control.TypeStep, control.Step{Step: "await", Stage: "out", Namespace: "guest", APIKey: guestKey, Name: "p"}, nil)
	if err == nil || !strings.Contains(err.Error(), "undefined: x") {
		t.Fatalf("await: %v", err)
	}
}

// TestLogHasNoWordsOfFunctions: what a function or a compiler says goes to the user, and at the level
// info not to the operator's log.
func TestLogHasNoWordsOfFunctions(t *testing.T) {
	s := newSite(t, func(c *invokerhook.Config) { c.Logger = c.Logger.Level(zerolog.InfoLevel) })
	s.start(60_000)
	s.fail(s.next().activation, "canary of a function")
	p := newProxy(t, s.addr)
	err := call(t, p.conn, control.TypeStep, control.Step{Step: "await", Stage: "out", Namespace: "guest", APIKey: guestKey, Name: "p"}, nil)
	if err == nil || !strings.Contains(err.Error(), "canary") {
		t.Fatalf("await: %v", err)
	}
	s.logged("step failed")
	if strings.Contains(s.log.String(), "canary") {
		t.Error("a function's words are in the log")
	}
}

func TestHookListensOnTCPToo(t *testing.T) {
	s := newSite(t, nil)
	addr := s.hook.Addrs()[1]
	if _, _, err := net.SplitHostPort(strings.TrimPrefix(addr, "tcp:")); err != nil {
		t.Fatalf("address %q: %v", addr, err)
	}
	newProxy(t, addr)
}
