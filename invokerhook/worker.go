package invokerhook

import (
	"fmt"
	"strings"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/invokerhook/attest"
	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
)

// worker is a proxy process: it outlives its connections. The hook's mutex guards the fields.
type worker struct {
	id        string       // the fact's key, and what the proxy calls itself: another hook will say the same of it
	fact      *attest.Fact // what is known of it, whatever it says
	peer      *peer        // nil while it is away
	heart     *heart       // of the peer
	pipelines map[string]struct{}
}

// grant is the slot a proxy may speak for on its connection.
type grant struct {
	name        string // namespace/pipeline
	slot        pipeline.Slot
	incarnation uint64
}

// join makes the peer the connection of the worker that it has shown to be. A container is one worker.
func (h *Hook) join(p *peer, name string, fact *attest.Fact, heart *heart) (*worker, error) {
	if name == "" || len(name) > maxWorkerName {
		return nil, fmt.Errorf("hello of a proxy whose worker id has %d bytes", len(name))
	}
	id := fact.Key() + "/" + name
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.register(id, fact); err != nil {
		return nil, err
	}
	w := h.workers[id]
	switch {
	case w == nil:
		w = &worker{id: id, pipelines: map[string]struct{}{}}
		h.workers[id] = w
		h.log.Info().Str("worker", id).Str("container", fact.Name).Int("pid", fact.PID).Msg("worker registered")
	case w.fact.PID != fact.PID:
		return nil, refuse(RefusedTwice, "worker %s is another process", name)
	case w.peer != nil:
		_ = w.peer.conn.Close()
		w.heart.close()
		w.fact.Close()
	default:
		w.fact.Close()
	}
	w.fact, w.peer, w.heart = fact, p, heart
	return w, nil
}

// register makes the worker its container's only one. The caller holds the mutex.
func (h *Hook) register(id string, fact *attest.Fact) error {
	if fact.Kind != attest.Container {
		return nil
	}
	if _, ok := openwhisk.ParseContainerName(fact.Name); !ok {
		return refuse(RefusedNamespace, "container %s is no action's", fact.Name)
	}
	b := h.box(fact.ContainerID)
	if b.worker != "" && b.worker != id && h.workers[b.worker] != nil {
		return refuse(RefusedTwice, "container %s has registered as another worker", fact.Name)
	}
	b.worker = id
	return nil
}

// touch remembers that the worker has to do with a pipeline, which then hears of its death.
func (h *Hook) touch(w *worker, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.pipelines[name] = struct{}{}
}

// toWorker queues a message for a proxy; while it is away the message is lost, and it is told the
// present state when it returns.
func (h *Hook) toWorker(id, typ string, body any) {
	h.mu.Lock()
	w := h.workers[id]
	var p *peer
	if w != nil {
		p = w.peer
	}
	h.mu.Unlock()
	if p != nil {
		p.put(outgoing{typ: typ, body: body})
	}
}

func (h *Hook) hasWorker(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.workers[id] != nil
}

// disconnected is called when a connection has ended.
func (h *Hook) disconnected(p *peer) {
	h.mu.Lock()
	delete(h.peers, p)
	h.leave(p.caller)
	h.mu.Unlock()
	p.caller.Close()
	h.rings.forget(p)
	h.away(p)
}

// away is the end of a proxy's connection. That is not its death: the hook looks whether the process is
// gone, or doesn't come back.
func (h *Hook) away(p *peer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.mu.Lock()
	w := p.worker
	p.mu.Unlock()
	if w == nil || w.peer != p {
		return
	}
	w.peer = nil
	w.heart.close()
	w.heart = nil
	if !h.closing {
		fact, held := w.fact, p.granted()
		h.tasks.Go(func() { h.awayLoop(w, fact, held) })
	}
}

// awayLook is how often a worker that is away is looked at.
const awayLook = 20 * time.Millisecond

// awayLoop waits until the worker is back, dead, or away for too long.
func (h *Hook) awayLoop(w *worker, fact *attest.Fact, held *grant) {
	until := time.Now().Add(h.cfg.ReturnWait)
	for {
		reason, owed, what := "", false, conductor.CauseProcess
		switch dead := exited(fact, awayLook); {
		case dead:
			reason = fmt.Sprintf("its container's process (pid %d) has ended", fact.PID)
			if fact.Kind == attest.Container {
				cause := h.deaths.wait(h.ctx, fact.ContainerID, causeWait)
				if owed = cause == ""; !owed {
					reason = cause
				}
				if strings.Contains(cause, attest.OOMKilled) {
					what = conductor.CauseMemory
				}
			}
		case time.Now().After(until):
			what = conductor.CauseHook
			reason = fmt.Sprintf("it has lost the hook and not returned for %v", h.cfg.ReturnWait)
		}
		h.mu.Lock()
		if w.peer != nil || w.fact != fact || h.closing {
			h.mu.Unlock()
			return
		}
		if reason == "" {
			h.mu.Unlock()
			continue
		}
		delete(h.workers, w.id)
		told := h.ownersTold(w)
		h.mu.Unlock()
		fact.Close()
		if held != nil {
			h.rings.releaseOf(*held)
		}
		h.log.Info().Str("worker", w.id).Str("reason", reason).Msg("worker gone")
		for _, o := range told {
			o.post(item{event: conductor.Gone{Worker: w.id, Cause: what, Reason: reason}})
		}
		if owed && held != nil {
			h.explain(fact.ContainerID, held)
		}
		return
	}
}

// explain adds Docker's word on a container's end when it comes later than the end itself was seen.
func (h *Hook) explain(id string, held *grant) {
	cause := h.deaths.wait(h.ctx, id, causeLate)
	if o := h.owner(held.name); o != nil && cause != "" {
		o.post(item{event: conductor.Remark{Subject: held.slot.String(), What: "container ended", Reason: cause}})
	}
}

// exited waits at most the time given for the end of the worker's process; where that isn't known, it is
// only the wait.
func exited(fact *attest.Fact, wait time.Duration) bool {
	if fact.Process == nil {
		time.Sleep(wait)
		return false
	}
	return fact.Process.Exited(wait)
}

// ownersTold are the owners of the pipelines that the worker has to do with. The caller holds the mutex.
func (h *Hook) ownersTold(w *worker) []*owner {
	var out []*owner
	for name := range w.pipelines {
		if o := h.owners[name]; o != nil {
			out = append(out, o)
		}
	}
	return out
}
