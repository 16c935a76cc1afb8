package worker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy/worker"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// patience bounds every wait of these tests. It is never waited for when they pass.
const patience = 30 * time.Second

const namespace = "guest"

// testHook is a hook with a small script: it gives slots to whoever comes with a lease, serves the
// source's bytes, keeps what sinks and dead letters bring, and records what workers say.
type testHook struct {
	t        *testing.T
	pipeline pipeline.Pipeline
	ca       *identity.CA
	path     string
	listens  []func() (worker.Endpoint, error)       // of the containers
	verdict  func(control.Lease) *control.LeaseReply // nil, or nil of it: take a free slot, or renew

	mu       sync.Mutex
	changed  chan struct{}
	listener net.Listener
	conns    map[*control.Conn]string // worker
	holders  map[pipeline.Slot]*holder
	input    []byte // of the source
	open     bool   // more input may come
	output   []byte
	written  map[string]int64 // bytes of it, by slot and incarnation
	dead     []byte
	unread   bool // dead letters are not answered
	said     []saying
	hellos   []control.Hello
	refused  bool // answer inventories with Keep=false
	steps    []control.Step
	attempt  frame.Attempt
	leases   int               // asked so far
	passed   map[uint64][]byte // output when a barrier was passed
	parked   chan question     // nil: leases are answered at once
}

// question is a lease that is not decided on yet.
type question struct {
	worker string
	lease  control.Lease
	reply  func(control.Answer)
}

type holder struct {
	worker, addr string
	incarnation  uint64
	leaseID      string
}

// saying is a one-way message of a worker.
type saying struct {
	typ   string
	slot  pipeline.Slot
	state control.BarrierMark
	log   control.Log
	stats control.Stats
}

func newTestHook(t *testing.T, p pipeline.Pipeline) *testHook {
	t.Helper()
	ca, err := identity.NewCA(namespace, p.Name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h := &testHook{
		t: t, pipeline: p, ca: ca, path: filepath.Join(t.TempDir(), "hook.sock"), changed: make(chan struct{}),
		conns: map[*control.Conn]string{}, holders: map[pipeline.Slot]*holder{}, attempt: frame.MakeAttempt(1, 0),
		passed: map[uint64][]byte{}, written: map[string]int64{},
	}
	h.listen()
	t.Cleanup(h.down)
	return h
}

func (h *testHook) addr() string { return "unix:" + h.path }

func (h *testHook) listen() {
	l, err := net.Listen("unix", h.path)
	if err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	h.listener = l
	h.mu.Unlock()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			h.serve(nc)
		}
	}()
}

// down closes the listener and all connections, as a hook's death does.
func (h *testHook) down() {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.listener.Close()
	for c := range h.conns {
		_ = c.Close()
	}
	h.conns = map[*control.Conn]string{}
}

func (h *testHook) serve(nc net.Conn) {
	var conn *control.Conn
	ready := make(chan struct{})
	conn = control.NewConn(nc, func(m *control.Message, wants bool, reply func(control.Answer)) {
		<-ready
		h.handle(conn, m, wants, reply)
	})
	close(ready)
}

// changes wakes those who wait in until. The caller holds mu.
func (h *testHook) changes() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// until waits for a condition, which is looked at under mu whenever something has changed.
func (h *testHook) until(what string, cond func() bool) {
	h.t.Helper()
	limit := time.After(patience)
	for {
		h.mu.Lock()
		ok, changed := cond(), h.changed
		h.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			h.t.Fatalf("waited too long for %s; %s", what, h.describe())
		}
	}
}

func (h *testHook) describe() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "output %.300q, dead letters %.500q\n", h.output, h.dead)
	for _, s := range h.said {
		if s.typ == control.TypeLog {
			fmt.Fprintf(&b, "%v: %v\n", s.log.Slot, s.log.Lines)
		} else if s.typ != control.TypeStats {
			fmt.Fprintf(&b, "%v %s %s\n", s.slot, s.typ, s.state.Reason)
		}
	}
	return b.String()
}

func (h *testHook) handle(conn *control.Conn, m *control.Message, wants bool, reply func(control.Answer)) {
	if !wants {
		h.hear(m)
		return
	}
	if m.Type == control.TypeLease && h.park(conn, m, reply) {
		return
	}
	body, blob, err := h.call(conn, m)
	if body == nil && blob == nil && err == nil {
		return // answered later
	}
	reply(control.Answer{Body: body, Blob: blob, Err: err})
	if m.Type == control.TypeLease && err == nil {
		h.tellPeers()
	}
}

func (h *testHook) park(conn *control.Conn, m *control.Message, reply func(control.Answer)) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.parked == nil {
		return false
	}
	q := question{worker: h.conns[conn], reply: reply}
	must(h.t, m.Decode(&q.lease))
	h.parked <- q
	return true
}

func (h *testHook) call(conn *control.Conn, m *control.Message) (body any, blob []byte, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.changes()
	switch m.Type {
	case control.TypeHello:
		var hello control.Hello
		must(h.t, m.Decode(&hello))
		h.hellos = append(h.hellos, hello)
		h.conns[conn] = hello.Worker
		return control.HelloReply{Version: control.Version, Hook: "test", Keep: !h.refused, Reason: "test"}, nil, nil
	case control.TypeLease:
		var l control.Lease
		must(h.t, m.Decode(&l))
		return h.lease(h.conns[conn], l), nil, nil
	case control.TypeRing:
		return control.RingReply{Reason: "this hook has no rings"}, nil, nil
	case control.TypeStep:
		var s control.Step
		must(h.t, m.Decode(&s))
		h.steps = append(h.steps, s)
		if s.Step == "broken" {
			return nil, nil, errors.New("the step is broken")
		}
		if s.Stage == "dies" && len(h.steps) == 1 {
			_ = conn.Close()
		}
		return control.StepReply{Result: json.RawMessage(`{"step":"` + s.Step + `"}`)}, nil, nil
	}
	var tr control.Transfer
	must(h.t, m.Decode(&tr))
	switch m.Type {
	case control.TypePull:
		at := min(int(tr.Offset), len(h.input))
		piece := h.input[at:min(at+tr.Max, len(h.input))]
		return control.TransferReply{EOF: !h.open && at+len(piece) == len(h.input)}, slices.Clone(piece), nil
	case control.TypeWrite:
		// Said again when the answer was lost: what is known is left out.
		who := fmt.Sprint(tr.Slot, tr.Incarnation)
		h.output = append(h.output, m.Blob[min(max(h.written[who]-tr.Offset, 0), int64(len(m.Blob))):]...)
		h.written[who] = max(h.written[who], tr.Offset+int64(len(m.Blob)))
	case control.TypeDead:
		if h.unread {
			return nil, nil, nil
		}
		h.dead = append(h.dead, m.Blob...)
	}
	return struct{}{}, nil, nil
}

// lease gives the first free slot of the stage.
func (h *testHook) lease(worker string, l control.Lease) *control.LeaseReply {
	h.leases++
	if h.verdict != nil {
		if r := h.verdict(l); r != nil {
			return r
		}
	}
	if l.Holding != nil {
		h.holders[l.Holding.Slot].leaseID = l.Token.ID
		return &control.LeaseReply{Verdict: control.Renewed}
	}
	for i := range h.pipeline.Stage(l.Token.Stage).Replicas.Min {
		slot := pipeline.Slot{Stage: l.Token.Stage, Index: i}
		if h.holders[slot] != nil {
			continue
		}
		h.holders[slot] = &holder{worker: worker, addr: l.Addr, incarnation: 1, leaseID: l.Token.ID}
		id := transport.Identity{Namespace: namespace, Pipeline: h.pipeline.Name, Stage: slot.Stage, Index: i, Incarnation: 1}
		cert, err := h.ca.Sign(l.CSR, id, time.Now(), time.Now().Add(time.Hour))
		must(h.t, err)
		return &control.LeaseReply{Verdict: control.Take, Assignment: &control.Assignment{
			Namespace: namespace, Pipeline: h.pipeline, Slot: slot, Incarnation: 1, Term: 1, Attempt: h.attempt,
			KeySeed: 7, Cert: cert, CA: h.ca.Certificate(), Holders: control.Holders{Peers: h.peers()},
		}}
	}
	return &control.LeaseReply{Verdict: control.Leave, Reason: "no slot is empty"}
}

func (h *testHook) peers() (out []control.Peer) {
	for slot, p := range h.holders {
		out = append(out, control.Peer{Slot: slot, Incarnation: p.incarnation, Addr: p.addr})
	}
	return out
}

func (h *testHook) tellPeers() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		_ = c.Send(control.TypePeers, control.Peers{Term: 1, Holders: control.Holders{Peers: h.peers()}}, nil)
	}
}

func (h *testHook) hear(m *control.Message) {
	s := saying{typ: m.Type}
	switch m.Type {
	case control.TypePulse:
		return
	case control.TypeLog:
		must(h.t, m.Decode(&s.log))
		s.slot = s.log.Slot
	case control.TypeStats:
		must(h.t, m.Decode(&s.stats))
		s.slot = s.stats.Slot
	default:
		must(h.t, m.Decode(&s.state))
		s.slot = s.state.Slot
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, s)
	if s.typ == control.TypeBarrierPassed {
		h.passed[s.state.Barrier] = slices.Clone(h.output)
	}
	h.changes()
}

// send tells all workers, or only the holder of a slot.
func (h *testHook) send(typ string, body any, only ...pipeline.Slot) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for c, worker := range h.conns {
		if len(only) == 0 || h.holders[only[0]].worker == worker {
			must(h.t, c.Send(typ, body, nil))
		}
	}
}

// heard waits for a message of a slot and gives the first.
func (h *testHook) heard(typ string, slot pipeline.Slot) (found saying) {
	h.t.Helper()
	h.until(fmt.Sprintf("%q of %v", typ, slot), func() bool {
		for _, s := range h.said {
			if s.typ == typ && s.slot == slot {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// lines are the sink's lines so far, sorted. The caller holds mu, as a condition of until does.
func (h *testHook) lines() []string {
	out := strings.Split(strings.TrimSuffix(string(h.output), "\n"), "\n")
	slices.Sort(out)
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
