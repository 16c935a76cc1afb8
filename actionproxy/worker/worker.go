// Package worker makes a container a stage's worker: it holds a slot for as long as leases keep it, joins
// the mesh, and moves events between the mesh and the stage's function, source or sink.
//
// The way of an event: mesh.Receive → work (stream.go) or the loop of an ordinary action (actionloop.go)
// → the function process → outlet (edges, keys, error edge) → mesh.Send. Sources (source.go) have only
// the second half, sinks (sink.go) only the first. The /run that brought the lease stays open meanwhile
// (lease.go); the hook says when it is answered (hookconn.go).
package worker

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// Config is what New needs.
type Config struct {
	// Hook is the hook's address, "unix:PATH" or "tcp:HOST:PORT". Default control.DefaultAddress.
	Hook string
	// ListenIP is the address the mesh listens on, at any free port, and that peers dial. Default: the
	// first of this host's own that isn't loopback.
	ListenIP string
	// Processors sets how many processors this process may use at a time, while it holds a slot; 0: as many
	// as there are. nil: the worker leaves that alone, for it isn't alone in its process.
	Processors func(n int)
	// Listen opens the mesh's address before the worker has an identity. nil: QUIC on ListenIP.
	Listen func() (Endpoint, error)
}

// Endpoint is an address of the mesh that waits for an identity.
type Endpoint interface {
	// Addr is what peers dial.
	Addr() string
	// Transport takes the address over for a slot. Its Close releases the address.
	Transport(self transport.Identity, cert tls.Certificate, ca *x509.CertPool) (transport.Transport, error)
	// Close releases an address that Transport has not taken over.
	Close() error
}

// maxBacklog bounds the hook's messages that come before the slot they are for.
const maxBacklog = 256

// Worker holds at most one slot. It implements actionproxy.Leases.
type Worker struct {
	config Config
	id     string // of this process
	hook   *hookConn
	gate   *gate
	turn   chan struct{}  // of one element: one lease is decided at a time
	slots  sync.WaitGroup // goroutines of held slots

	mu      sync.Mutex
	slot    *slot               // nil: none
	runs    map[string]*openRun // by the lease's id
	asking  bool                // a lease is with the hook: what it says next may be about that
	backlog []*control.Message
}

var _ actionproxy.Leases = (*Worker)(nil)

// New makes a worker that holds nothing and has spoken to nobody.
func New(c Config) *Worker {
	if c.Listen == nil {
		ip := c.ListenIP
		c.Listen = func() (Endpoint, error) { return listenQUIC(ip) }
	}
	if c.Hook == "" {
		c.Hook = control.DefaultAddress
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	w := &Worker{
		config: c,
		id:     hex.EncodeToString(id[:]),
		hook:   newHookConn(c.Hook),
		turn:   make(chan struct{}, 1),
		runs:   map[string]*openRun{},
	}
	w.gate = newGate(w.hook, c.Listen)
	w.hook.hello, w.hook.handle, w.hook.greeted = w.hello, w.handle, w.greeted
	return w
}

// Holding is the pipeline that holds this container; "" for none.
func (w *Worker) Holding() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.slot == nil {
		return ""
	}
	return w.slot.assignment.Pipeline.Name
}

// Close stops the slot, answers the open runs and ends the connection to the hook.
func (w *Worker) Close() error {
	if s := w.held(); s != nil {
		s.stop(&ending{reason: "the proxy stops", err: "the proxy stops"})
	}
	w.slots.Wait()
	w.hook.close() // a call of the gate that waits for it ends
	w.gate.close()
	return nil
}

func (w *Worker) held() *slot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slot
}

// hello says who we are and what we hold.
func (w *Worker) hello() control.Hello {
	return control.Hello{Version: control.Version, Role: control.RoleProxy, Worker: w.id, Inventory: w.inventory()}
}

// inventory is nil when nothing is held.
func (w *Worker) inventory() *control.Inventory {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.slot == nil {
		return nil
	}
	return w.slot.inventory(w.openLease())
}

// openLease is the id of the open run. The caller holds mu.
func (w *Worker) openLease() string {
	for id := range w.runs {
		return id
	}
	return ""
}

// greeted hears whether the hook still knows our slot, and tells it what it may have missed.
func (w *Worker) greeted(hadSlot bool, r control.HelloReply) {
	s := w.held()
	switch {
	case s == nil || !hadSlot:
	case !r.Keep:
		s.stop(&ending{reason: r.Reason, err: "the hook does not know this worker's slot: " + r.Reason})
	default:
		s.mesh.Look() // this hook may have what the last one had not
		s.tellAgain()
	}
}

// handle takes the hook's one-way messages in order. It never blocks.
func (w *Worker) handle(m *control.Message) {
	w.mu.Lock()
	if w.asking && len(w.backlog) < maxBacklog {
		kept := *m
		m.Take() // are kept too
		w.backlog = append(w.backlog, &kept)
		w.mu.Unlock()
		return
	}
	s := w.slot
	w.mu.Unlock()
	w.command(s, m)
}

// command does what the hook wants. A message that can't be read is a hook's mistake that nobody here
// can repair: it goes to the log.
func (w *Worker) command(s *slot, m *control.Message) {
	var err error
	switch m.Type {
	case control.TypeAstray:
		var c control.Astray
		if err = m.Decode(&c); err == nil {
			w.gate.astray(c.Incarnation)
		}
	case control.TypeRelease:
		var c control.Release
		if err = m.Decode(&c); err == nil && (s == nil || s.accepts(c.Term)) {
			w.release(c.LeaseID)
		}
	case control.TypeTerminate:
		var c control.Terminate
		if err = m.Decode(&c); err == nil && s == nil {
			w.answerAll(endReply("", &ending{reason: c.Reason, err: c.Error, usedUp: c.Dismiss}))
		} else if err == nil && s.accepts(c.Term) {
			s.stop(&ending{reason: c.Reason, err: c.Error, usedUp: c.Dismiss})
		}
	default:
		if s != nil {
			err = s.command(m)
		}
	}
	if err != nil && s != nil {
		s.logs.say("the hook's message can't be read: %v", err)
	}
}

// install makes s the slot held, with the run that brought it.
func (w *Worker) install(s *slot, run *openRun) {
	w.mu.Lock()
	w.slot = s
	w.runs[run.id] = run
	w.mu.Unlock()
	w.slots.Go(func() { w.vacate(s, s.run()) })
}

// expect keeps the hook's messages until settle: those that follow its answer on a lease would come too
// early for what the answer brings.
func (w *Worker) expect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asking = true
}

// settle does what the hook has said since expect.
func (w *Worker) settle() {
	for s, m := w.waiting(false); m != nil; s, m = w.waiting(true) {
		w.command(s, m)
		shm.CloseAll(m.Take())
	}
}

// waiting gives the first message that was kept. It stays until it is done, so that later ones don't
// overtake it.
func (w *Worker) waiting(done bool) (*slot, *control.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if done {
		w.backlog = w.backlog[1:]
	}
	if len(w.backlog) == 0 {
		w.asking, w.backlog = false, nil
		return nil, nil
	}
	return w.slot, w.backlog[0]
}

// vacate forgets a slot that has stopped and answers what was open for it.
func (w *Worker) vacate(s *slot, end *ending) {
	w.mu.Lock()
	if w.slot == s {
		w.slot = nil
	}
	w.mu.Unlock()
	w.answerAll(endReply(s.assignment.Slot.String(), end))
}

// ask is a call to the hook. Its connection is waited for only for so long; the answer as long as ctx.
func (w *Worker) ask(ctx context.Context, patience time.Duration, typ string, body, reply any) error {
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := w.hook.get(short)
	if err != nil {
		return err
	}
	if _, err := conn.Call(ctx, typ, body, nil, reply); err != nil {
		return fmt.Errorf("ask the hook: %w", err)
	}
	return nil
}
