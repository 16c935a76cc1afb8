package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"

	"github.com/weft-stream/weft/invokerhook/attest"
	"github.com/weft-stream/weft/openwhisk"
)

// maxOfContainer bounds the connections of one container: its proxy needs one, and what else runs in it
// must not take the places of others.
const maxOfContainer = 16

// maxWorkerName bounds what a proxy calls itself, in bytes.
const maxWorkerName = 64

// Attestor says who is at the other end of a connection; see package attest.
type Attestor interface {
	Caller(nc net.Conn) (*attest.Caller, error)
	Attest(ctx context.Context, c *attest.Caller) (*attest.Fact, error)
	Close()
}

// Refusal is why a caller was refused; Hook.Refused counts them.
type Refusal string

// The refusals.
const (
	RefusedCaller    Refusal = "caller"    // neither the kernel nor Docker vouches for it
	RefusedCrowd     Refusal = "crowd"     // too many connections
	RefusedTwice     Refusal = "twice"     // its container has registered as another worker
	RefusedNamespace Refusal = "namespace" // its container is another action's, or no action's
	RefusedPipeline  Refusal = "pipeline"  // its container has worked for another pipeline
	RefusedAddress   Refusal = "address"   // it claims an address that is not its own
	RefusedLease     Refusal = "lease"     // the lease itself is not good
	NeverCame        Refusal = "absent"    // nobody has brought a lease that was fired
	RefusedEvent     Refusal = "event"     // it may not bring events of this pipeline, or of none now
)

// refusal is an error that is counted.
type refusal struct {
	kind Refusal
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(kind Refusal, format string, args ...any) error {
	return &refusal{kind, fmt.Errorf(format, args...)}
}

// refusals counts.
type refusals struct {
	mu sync.Mutex
	n  map[Refusal]uint64
}

// count notes an error that a caller was refused with, as of a kind unless it has one of its own, and
// returns how many of that there were.
func (r *refusals) count(kind Refusal, err error) (Refusal, uint64) {
	var own *refusal
	if errors.As(err, &own) {
		kind = own.kind
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == nil {
		r.n = map[Refusal]uint64{}
	}
	r.n[kind]++
	return kind, r.n[kind]
}

// turnedAway logs and counts a refusal; err is nil when the hook is closing.
func (h *Hook) turnedAway(kind Refusal, err error, what string) {
	if err == nil {
		return
	}
	kind, n := h.refused.count(kind, err)
	h.noisy.Warn().Str("refusal", string(kind)).Uint64("refused", n).Err(err).Msg(what + " refused")
}

// Refused counts the callers and leases that were refused, by reason.
func (h *Hook) Refused() map[Refusal]uint64 {
	h.refused.mu.Lock()
	defer h.refused.mu.Unlock()
	return maps.Clone(h.refused.n)
}

// box is what the hook knows of an action container for as long as Docker runs it. The hook's mutex
// guards it.
type box struct {
	conns  int    // connections
	worker string // the id of the worker that has registered; "" for none
	served string // the pipeline it has brought a good lease of; it never works for another
}

// openAttestor begins the attestation.
func (h *Hook) openAttestor(ctx context.Context) (err error) {
	open := h.cfg.Attest
	if open == nil {
		open = func(ctx context.Context, c attest.Config) (Attestor, error) { return attest.New(ctx, c) }
	}
	h.attestor, err = open(ctx, attest.Config{Docker: h.cfg.Docker, Processes: h.cfg.Processes, Dead: h.dead, OOM: h.starved, Logger: h.log})
	return err
}

// box finds a container's, or begins one. The caller holds the mutex.
func (h *Hook) box(id string) *box {
	b := h.boxes[id]
	if b == nil {
		h.tidy()
		b = &box{}
		h.boxes[id] = b
	}
	return b
}

// maxBoxes is how many are known before those are forgotten of which nobody speaks: Docker's word on
// their end may have been missed.
const maxBoxes = 4096

func (h *Hook) tidy() {
	if len(h.boxes) < maxBoxes {
		return
	}
	for id, b := range h.boxes {
		if b.conns == 0 && h.workers[b.worker] == nil {
			delete(h.boxes, id)
		}
	}
}

// enter counts a connection; the error says that there are too many. The caller holds the mutex.
func (h *Hook) enter(c *attest.Caller) error {
	if len(h.peers) >= maxPeers {
		return refuse(RefusedCrowd, "%d connections are open", len(h.peers))
	}
	key := placeOf(c)
	if key == "" {
		return nil
	}
	b := h.box(key)
	if b.conns >= maxOfContainer {
		return refuse(RefusedCrowd, "%.20s has %d connections", key, b.conns)
	}
	b.conns++
	return nil
}

// placeOf is what a caller's connections are counted by: its container, or its address; "" for none.
func placeOf(c *attest.Caller) string {
	if c.ContainerID == "" && c.Remote.IsValid() && !c.Remote.IsLoopback() {
		return c.Remote.String()
	}
	return c.ContainerID
}

// leave is the end of a connection. The caller holds the mutex.
func (h *Hook) leave(c *attest.Caller) {
	key := placeOf(c)
	b := h.boxes[key]
	if b == nil {
		return
	}
	if b.conns--; *b == (box{}) {
		delete(h.boxes, key)
	}
}

// serves says whether the worker's container may work for the pipeline, by its name and by what it has
// worked for before; from the first time on it is the pipeline's.
func (h *Hook) serves(w *worker, namespace, pipeline, action string) error {
	if w.fact.Kind != attest.Container {
		return nil
	}
	n, _ := openwhisk.ParseContainerName(w.fact.Name)
	if !n.MayRun(namespace, action) {
		return refuse(RefusedNamespace, "container %s runs no %s", w.fact.Name, action)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b, name := h.box(w.fact.ContainerID), namespace+"/"+pipeline
	if b.served != "" && b.served != name {
		return refuse(RefusedPipeline, "container %s has worked for another pipeline", w.fact.Name)
	}
	b.served = name
	return nil
}
