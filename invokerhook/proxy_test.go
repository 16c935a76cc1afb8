package invokerhook_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/identity"
)

// patience bounds every wait of these tests.
const patience = 10 * time.Second

// proxy is a test's action proxy: it speaks the control protocol and holds no function.
type proxy struct {
	deadline time.Duration // of its activations; 0: a minute
	t        *testing.T
	id       string
	addr     string
	conn     *control.Conn
	key      *identity.Key
	messages chan *control.Message
	freeze   func() // no heartbeat from now on

	assignment *control.Assignment
	lease      firing
}

var proxies atomic.Int64

func newProxy(t *testing.T, addr string) *proxy {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, id: fmt.Sprintf("worker-%d", proxies.Add(1)), addr: addr, key: key}
	p.connect(nil)
	return p
}

// connect says hello, with what the proxy holds if it comes back.
func (p *proxy) connect(inv *control.Inventory) control.HelloReply {
	p.t.Helper()
	p.messages = make(chan *control.Message, 1000)
	messages := p.messages
	p.conn = dial(p.t, p.addr, func(m *control.Message, _ bool, _ func(control.Answer)) {
		kept := *m
		m.Take() // are the test's
		messages <- &kept
	})
	var reply control.HelloReply
	hello := control.Hello{Version: control.Version, Role: control.RoleProxy, Worker: p.id, Inventory: inv}
	files, err := p.conn.CallFiles(p.t.Context(), control.TypeHello, hello, &reply)
	if err != nil {
		p.t.Fatal(err)
	}
	var stop func()
	if stop, err = beat(p.conn, files); err != nil {
		p.t.Fatal(err)
	}
	p.freeze = stop
	return reply
}

// beat shows for as long as the connection lasts that the proxy runs; stop makes it look frozen.
func beat(c *control.Conn, files []*os.File) (stop func(), err error) {
	pulse := func() { _ = c.Send(control.TypePulse, nil, nil) }
	end := func() {}
	if len(files) == 1 {
		p, err := control.OpenPulse(files[0])
		if err != nil {
			return nil, err
		}
		pulse, end = p.Beat, func() { _ = p.Close() }
	}
	stopped := make(chan struct{})
	go func() {
		defer end()
		for tick := time.Tick(control.PulseEvery); ; pulse() {
			select {
			case <-c.Done():
				return
			case <-stopped:
				return
			case <-tick:
			}
		}
	}()
	return sync.OnceFunc(func() { close(stopped) }), nil
}

func dial(t *testing.T, addr string, h control.Handler) *control.Conn {
	t.Helper()
	c, err := control.Dial(t.Context(), addr, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (p *proxy) call(typ string, body, reply any) {
	p.t.Helper()
	if err := call(p.t, p.conn, typ, body, reply); err != nil {
		p.t.Fatal(err)
	}
}

func call(t *testing.T, c *control.Conn, typ string, body, reply any) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := c.Call(ctx, typ, body, nil, reply)
	return err
}

// bring gives the hook a lease, as the container that got its /run.
func (p *proxy) bring(f firing) control.LeaseReply {
	p.t.Helper()
	l := control.Lease{Token: f.token, Namespace: "guest", Action: f.action, ActivationID: f.activation,
		DeadlineMS: time.Now().Add(cmp.Or(p.deadline, time.Minute)).UnixMilli(), CSR: p.key.Request(), Addr: "127.0.0.1:1"}
	if p.assignment != nil {
		l.Holding = p.inventory(true)
	}
	return p.bringLease(l)
}

func (p *proxy) bringLease(l control.Lease) control.LeaseReply {
	p.t.Helper()
	var reply control.LeaseReply
	p.call(control.TypeLease, l, &reply)
	if reply.Verdict == control.Take {
		p.assignment = reply.Assignment
	}
	if reply.Verdict == control.Take || reply.Verdict == control.Renewed {
		p.lease = firing{activation: l.ActivationID, action: l.Action, token: l.Token}
	}
	return reply
}

func (p *proxy) inventory(ready bool) *control.Inventory {
	a := p.assignment
	return &control.Inventory{Namespace: a.Namespace, Pipeline: a.Pipeline.Name, Slot: a.Slot, Incarnation: a.Incarnation,
		Term: a.Term, Attempt: a.Attempt, LeaseID: p.lease.token.ID, Ready: ready, Addr: "127.0.0.1:1"}
}

func (p *proxy) state() control.SlotState {
	a := p.assignment
	return control.SlotState{Namespace: a.Namespace, Pipeline: a.Pipeline.Name, Slot: a.Slot, Incarnation: a.Incarnation, Attempt: a.Attempt}
}

func (p *proxy) send(typ string, body any) {
	p.t.Helper()
	if err := p.conn.Send(typ, body, nil); err != nil {
		p.t.Fatal(err)
	}
}

// await returns the next message of a type, and skips others.
func (p *proxy) await(typ string, into any) {
	p.t.Helper()
	shm.CloseAll(p.awaitFiles(typ, into))
}

// awaitFiles is await for a message with descriptors, which are the caller's.
func (p *proxy) awaitFiles(typ string, into any) []*os.File {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case m := <-p.messages:
			if m.Type != typ {
				continue
			}
			if into == nil {
				return m.Take()
			}
			if err := m.Decode(into); err != nil {
				p.t.Fatal(err)
			}
			return m.Take()
		case <-late:
			p.t.Fatalf("%s: no %q came", p.id, typ)
		}
	}
}

// twoStages is a pipeline from a file to stdout, with one slot each.
func twoStages(leaseMS int64) pipeline.Pipeline {
	one := pipeline.Replicas{Min: 1, Max: 1}
	return pipeline.Pipeline{Name: "p", Guarantee: pipeline.AtLeastOnce, LeaseMS: leaseMS,
		Stages: []pipeline.Stage{
			{Name: "in", Source: &pipeline.Source{File: "x", Format: pipeline.Lines}, Replicas: one},
			{Name: "out", Sink: &pipeline.Sink{Stdout: true}, Replicas: one},
		},
		Edges: []pipeline.Edge{{From: "in", To: "out", Routing: pipeline.Balance}}}
}
