package invokerhook_test

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
)

// broker is the hook's way to Kafka, which can be cut.
type broker struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (b *broker) dial(network, address string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	c, err := net.DialTimeout(network, address, patience)
	if err == nil {
		b.conns = append(b.conns, c)
	}
	return c, err
}

// cut breaks all connections, and accepts none until it is mended.
func (b *broker) cut(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
	for _, c := range b.conns {
		_ = c.Close()
	}
	b.conns = nil
}

func (s *site) logged(text string) {
	s.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(s.log.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%q was never logged", text)
		}
	}
}

// TestKafkaOutage: without the registry nothing is decided; when it is back, all is, and by the same owner.
func TestKafkaOutage(t *testing.T) { onBoth(t, testKafkaOutage) }

func testKafkaOutage(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	p := s.staff(60_000)
	s.broker.cut(true)
	_ = p["out"].conn.Close()
	s.logged("registry doesn't answer")
	if st := s.status(); st.Restarts != 0 || len(s.fired) != 0 {
		t.Fatalf("decided without the registry: %+v", st)
	}
	s.until("stalled", func(st control.PipelineStatus) bool {
		x := st.Stalled
		return st.Phase == control.Running && x != nil && x.SinceMS > 0 && x.LeasesMS > x.SinceMS && x.LeasesMS <= x.SinceMS+60_000 && x.Reason != ""
	})
	s.broker.cut(false)
	f := s.next()
	if f.token.Stage != "out" {
		t.Fatalf("a lease for %s", f.token.Stage)
	}
	again := newProxy(t, s.addr)
	if r := again.bring(f); r.Verdict != control.Take || r.Assignment.Term != 1 {
		t.Fatalf("the successor: %+v", r)
	}
	if st := s.status(); st.Stalled != nil {
		t.Errorf("still stalled: %+v", st.Stalled)
	}
	// Completions are heard again, too.
	s.fail(again.lease.activation, "it is over")
	if f := s.next(); f.token.Stage != "out" {
		t.Fatalf("a lease for %s", f.token.Stage)
	}
}

// TestCloseDuringAnOutage: what can't be written is not waited for.
func TestCloseDuringAnOutage(t *testing.T) { onBoth(t, testCloseDuringAnOutage) }

func testCloseDuringAnOutage(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	p := s.staff(60_000)
	s.broker.cut(true)
	_ = p["out"].conn.Close()
	s.logged("worker gone")
	closed := make(chan error, 1)
	go func() { closed <- s.hook.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the hook does not close")
	}
	s.broker.cut(false)
}

// clockOf gives a hook a clock that the test can set forward.
func clockOf(jump *atomic.Int64) func(*invokerhook.Config) {
	began := time.Now()
	return func(c *invokerhook.Config) {
		c.Steady = func() time.Duration { return time.Since(began) + time.Duration(jump.Load()) }
	}
}

// flow has the two proxies answer the barriers that come, the source always from one position. The channel
// gets those behind which it is to stop.
func flow(in, out *proxy, position int64) <-chan control.Barrier {
	stops, raw := make(chan control.Barrier, 10), in.messages
	in.messages = make(chan *control.Message, 1000)
	go func() {
		for {
			select {
			case <-in.conn.Done():
				return
			case m := <-raw:
				var b control.Barrier
				if m.Type != control.TypeBarrier || m.Decode(&b) != nil {
					in.messages <- m
					continue
				}
				_ = in.conn.Send(control.TypeBarrierAt, control.BarrierMark{SlotState: in.stateAt(b), Barrier: b.Barrier, Position: position}, nil)
				_ = out.conn.Send(control.TypeBarrierPassed, control.BarrierMark{SlotState: out.stateAt(b), Barrier: b.Barrier}, nil)
				if b.Pause {
					stops <- b
				}
			}
		}
	}()
	return stops
}

// TestPlatformOutage: an outage within what leases have left costs nothing; before a longer one has used
// them up the pipeline is stopped in order, and goes on from there when the platform answers.
func TestPlatformOutage(t *testing.T) {
	var jump atomic.Int64
	s := newSite(t, clockOf(&jump))
	p := s.staff(240_000) // by the platform's deadline a minute
	stops := flow(p["in"], p["out"], 4711)

	s.answers(false)
	jump.Add(int64(35 * time.Second))
	s.logged("platform does not answer")
	s.answers(true)
	for _, stage := range []string{"in", "out"} {
		var release control.Release
		p[stage].await(control.TypeRelease, &release)
		s.complete(p[stage].lease.activation)
		f := s.next()
		if r := p[stage].bring(f); f.token.Stage != stage || r.Verdict != control.Renewed {
			t.Fatalf("the renewal of %s is one of %s: %+v", stage, f.token.Stage, r)
		}
	}
	s.until("renewed at no cost", func(st control.PipelineStatus) bool {
		return st.Phase == control.Running && st.Renewals == 2 && st.Moves+st.Restarts == 0
	})

	s.answers(false)
	jump.Add(int64(50 * time.Second))
	for _, stage := range []string{"in", "out"} {
		var end control.Terminate
		if p[stage].await(control.TypeTerminate, &end); end.Reason != "suspended" || end.Error != "" {
			t.Fatalf("%s is ended: %+v", stage, end)
		}
		s.complete(p[stage].lease.activation)
	}
	if len(stops) != 1 {
		t.Errorf("the source was to stop behind %d barriers before it was ended", len(stops))
	}
	s.until("suspended", func(st control.PipelineStatus) bool {
		return st.Phase == control.Suspended && strings.Contains(st.Error, "503")
	})

	s.answers(true)
	for _, stage := range []string{"out", "in"} { // the first shows that leases can be had
		f := s.next()
		p[stage] = newProxy(t, s.addr)
		if r := p[stage].bring(f); f.token.Stage != stage || r.Verdict != control.Take {
			t.Fatalf("a lease of %s, answered with %+v", f.token.Stage, r)
		}
		p[stage].send(control.TypeReady, p[stage].state())
	}
	if a := p["in"].assignment; a.Position != 4711 || a.Incarnation != 2 {
		t.Errorf("the source goes on from %d, incarnation %d", a.Position, a.Incarnation)
	}
	s.until("running again", func(st control.PipelineStatus) bool {
		return st.Phase == control.Running && st.Error == "" && st.Restarts == 0 && st.Slots[0].State == "ready" && st.Slots[1].State == "ready"
	})
}

// TestStartRefusedHalfWay: leases that are refused in passing are tried for as long as a start may take. What
// has started by then is let go, and the error says what was refused and what to do.
func TestStartRefusedHalfWay(t *testing.T) {
	var jump atomic.Int64
	s := newSite(t, clockOf(&jump))
	s.full, s.room = true, 1
	s.start(60_000)
	p := newProxy(t, s.addr)
	if r := p.bring(s.next()); r.Verdict != control.Take {
		t.Fatalf("the lease that was taken: %+v", r)
	}
	p.send(control.TypeReady, p.state())
	s.logged("lease refused")
	jump.Add(int64(time.Minute))
	await := control.Step{Step: "await", Stage: map[string]string{"in": "out", "out": "in"}[p.assignment.Slot.Stage],
		Namespace: "guest", APIKey: guestKey, Name: "p"}
	err := call(t, newProxy(t, s.addr).conn, control.TypeStep, await, nil)
	for _, want := range []string{"not ready within 1m0s", "429", "Too many requests", "raise the namespace's limits"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("error %v, want %q in it", err, want)
		}
	}
	var end control.Terminate
	if p.await(control.TypeTerminate, &end); !strings.Contains(end.Error, "429") {
		t.Errorf("what was started is ended with %+v", end)
	}
	if st := s.status(); st.Phase != control.Failed {
		t.Errorf("phase %s", st.Phase)
	}
}

// TestKafkaOutageBeyondLeases: without the registry nothing is decided, for longer than leases last. When it is
// back they are renewed, and nobody has lost a slot.
func TestKafkaOutageBeyondLeases(t *testing.T) {
	var jump atomic.Int64
	s := newSite(t, clockOf(&jump))
	p := s.staff(240_000)
	flow(p["in"], p["out"], 4711)
	s.broker.cut(true)
	jump.Add(int64(time.Hour))
	s.logged("registry doesn't answer")
	s.broker.cut(false)
	for _, stage := range []string{"in", "out"} {
		var release control.Release
		p[stage].await(control.TypeRelease, &release)
		s.complete(p[stage].lease.activation)
	}
	for range p {
		f := s.next()
		if r := p[f.token.Stage].bring(f); r.Verdict != control.Renewed {
			t.Fatalf("the renewal of %s: %+v", f.token.Stage, r)
		}
	}
	s.until("renewed at no cost", func(st control.PipelineStatus) bool {
		return st.Phase == control.Running && st.Renewals == 2 && st.Moves+st.Restarts == 0
	})
}
