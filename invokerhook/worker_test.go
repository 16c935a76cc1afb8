package invokerhook_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/kafkatest"
)

// TestMain is also the processes that the tests kill, a proxy and a hook, and what containers run.
func TestMain(m *testing.M) {
	for name, run := range map[string]func(string) error{"WEFT_TEST_PROXY": proxyProcess, "WEFT_TEST_HOOK": hookProcess, "WEFT_TEST_OTHER": other} {
		spec := os.Getenv(name)
		if spec == "" {
			continue
		}
		if err := run(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	kafkatest.CloseShared()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// proxyProcess brings the leases on its stdin to the hook, and writes the answers and all that the hook
// says, a line each: type and body.
func proxyProcess(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := control.Dial(ctx, addr, func(m *control.Message, _ bool, _ func(control.Answer)) {
		fmt.Printf("%s %s\n", m.Type, m.Body)
	})
	if err != nil {
		return err
	}
	hello := control.Hello{Version: control.Version, Role: control.RoleProxy, Worker: "process"}
	files, err := c.CallFiles(ctx, control.TypeHello, hello, nil)
	if err != nil {
		return err
	}
	mute, err := beat(c, files)
	if err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var l control.Lease
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return err
		}
		var reply control.LeaseReply
		if _, err := c.Call(ctx, control.TypeLease, l, nil, &reply); err != nil {
			return err
		}
		b, err := json.Marshal(reply)
		if err != nil {
			return err
		}
		fmt.Printf("lease %s\n", b)
	}
	mute() // no more leases: silent from now on, and asleep
	<-c.Done()
	return nil
}

// holderProcess is a proxy in a process of its own, which holds a slot.
type holderProcess struct {
	*exec.Cmd
	t     *testing.T
	stage string
	in    io.WriteCloser
	lines *bufio.Scanner
}

// holder gives the next lease to a proxy in a process of its own.
func (s *site) holder() *holderProcess {
	s.t.Helper()
	f := s.next()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WEFT_TEST_PROXY="+s.addr)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	key := newProxy(s.t, s.addr).key
	if err := json.NewEncoder(in).Encode(control.Lease{Token: f.token, Namespace: "guest", Action: f.action,
		ActivationID: f.activation, CSR: key.Request(), Addr: "127.0.0.1:1"}); err != nil {
		s.t.Fatal(err)
	}
	h := &holderProcess{Cmd: cmd, t: s.t, stage: f.token.Stage, in: in, lines: bufio.NewScanner(out)}
	h.lines.Buffer(nil, 1<<20)
	var reply control.LeaseReply
	if err := json.Unmarshal(h.await("lease"), &reply); err != nil || reply.Verdict != control.Take {
		s.t.Fatalf("%+v, %v", reply, err)
	}
	return h
}

// await reads what the process writes up to a line of the type, and gives the body.
func (h *holderProcess) await(typ string) []byte {
	h.t.Helper()
	for h.lines.Scan() {
		if line, body, _ := strings.Cut(h.lines.Text(), " "); line == typ {
			return []byte(body)
		}
	}
	h.t.Fatalf("the process has ended before %q", typ)
	return nil
}

// TestProcessDeathIsSeenAtOnce kills a holder's process; nobody waits for its return.
func TestProcessDeathIsSeenAtOnce(t *testing.T) {
	s := newSite(t, withLongReturn)
	s.start(60_000)
	h := s.holder()
	if err := h.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = h.Wait()
	s.until("told of the death", func(control.PipelineStatus) bool {
		return strings.Contains(s.why(), fmt.Sprintf("process (pid %d) has ended", h.Process.Pid))
	})
}

func (s *site) why() string {
	s.t.Helper()
	return s.whyOf("p")
}

func (s *site) whyOf(name string) string {
	s.t.Helper()
	c := s.client(guestKey)
	defer c.Close()
	var why control.Why
	if err := call(s.t, c, control.TypeWhy, control.Query{Pipeline: name}, &why); err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("%+v", why)
}

func TestAbsenceIsWaitedFor(t *testing.T) {
	s := newSite(t, nil)
	p := s.staff(60_000)
	// Gone and back: nothing has happened.
	_ = p["in"].conn.Close()
	if r := p["in"].comeBack(s.addr); !r.Keep {
		t.Fatalf("sent away: %s", r.Reason)
	}
	if why := s.why(); strings.Contains(why, "lost") {
		t.Fatalf("why: %s", why)
	}
	// Gone for good, with its process alive: lost after a while, and another container is asked for.
	_ = p["out"].conn.Close()
	f := s.next()
	if f.token.Stage != "out" {
		t.Fatalf("a lease for %s", f.token.Stage)
	}
	if r := newProxy(t, s.addr).bring(f); r.Verdict != control.Take || r.Assignment.Incarnation != 2 {
		t.Fatalf("the successor: %+v", r)
	}
	if why := s.why(); !strings.Contains(why, "not returned for") {
		t.Fatalf("why: %s", why)
	}
	var r control.Rollback
	p["in"].await(control.TypeRollback, &r)
}

// TestWorkerNameIsNotTakenOver: who says a worker's name and all that it holds is still another.
func TestWorkerNameIsNotTakenOver(t *testing.T) {
	s := newSite(t, nil)
	in := s.staff(60_000)["in"]
	c := dial(t, s.hook.Addrs()[1], func(*control.Message, bool, func(control.Answer)) {}) // where no process is seen
	var r control.HelloReply
	hello := control.Hello{Version: control.Version, Role: control.RoleProxy, Worker: in.id, Inventory: in.inventory(true)}
	if err := call(t, c, control.TypeHello, hello, &r); err != nil || r.Keep {
		t.Fatalf("%+v, %v", r, err)
	}
	lease := control.Lease{Token: in.lease.token, Namespace: "guest", Action: in.lease.action, Holding: in.inventory(true), Addr: "127.0.0.1:1"}
	var reply control.LeaseReply
	if err := call(t, c, control.TypeLease, lease, &reply); err != nil || reply.Verdict != control.Refused {
		t.Fatalf("a lease for its slot: %+v, %v", reply, err)
	}
	in.send(control.TypeStats, control.Stats{SlotState: in.state(), In: 7})
	s.until("heard as before", func(st control.PipelineStatus) bool { return st.Slots[0].In == 7 })
}
