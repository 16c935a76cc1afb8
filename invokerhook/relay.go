package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// maxRelays bounds the pipelines that clients may be attached to before they start.
const maxRelays = 1024

// relay passes bytes between a pipeline's workers and the clients that have its files. It keeps none:
// a transfer is one call to the client, and the worker waits for it. A client attaches before it starts
// the pipeline, so a relay is there without an owner too.
type relay struct {
	mu       sync.Mutex
	clients  []attachment  // the last to attach comes first
	attached chan struct{} // closed and replaced when a client attaches
	trimmed  map[string]control.Transfer
}

type attachment struct {
	peer   *peer
	attach control.Attach
}

// relayOf finds the relay of a pipeline's name, or makes it.
func (h *Hook) relayOf(name string) (*relay, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.relays[name]; r != nil {
		return r, nil
	}
	for other, r := range h.relays {
		if len(h.relays) >= maxRelays && h.owners[other] == nil && r.idle() {
			delete(h.relays, other)
		}
	}
	if len(h.relays) >= maxRelays {
		return nil, fmt.Errorf("clients are attached to %d pipelines already", maxRelays)
	}
	r := &relay{attached: make(chan struct{})}
	h.relays[name] = r
	return r, nil
}

func (r *relay) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(r.clients, func(a attachment) bool { return !ended(a.peer) })
}

// begin forgets what an earlier run of the pipeline has said.
func (r *relay) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trimmed = nil
}

// attach makes the client the one that has the files it names.
func (r *relay) attach(p *peer, a control.Attach) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients = slices.DeleteFunc(r.clients, func(x attachment) bool { return x.peer == p || ended(x.peer) })
	r.clients = slices.Insert(r.clients, 0, attachment{p, a})
	for _, t := range r.trimmed {
		if slices.Contains(a.Sources, t.Slot.Stage) {
			p.put(outgoing{typ: control.TypeTrim, body: t})
		}
	}
	close(r.attached)
	r.attached = make(chan struct{})
}

// trim tells the source's client what is not needed any more, and whoever attaches later too.
func (r *relay) trim(t control.Transfer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trimmed == nil {
		r.trimmed = map[string]control.Transfer{}
	}
	r.trimmed[t.Slot.Stage] = t
	for _, c := range r.clients {
		if slices.Contains(c.attach.Sources, t.Slot.Stage) {
			c.peer.put(outgoing{typ: control.TypeTrim, body: t})
		}
	}
}

// find returns the client for a transfer, or a channel that is closed when another one attaches.
func (r *relay) find(typ, stage string) (*peer, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.clients {
		has := typ == control.TypeDead || slices.Contains(c.attach.Sources, stage) || slices.Contains(c.attach.Sinks, stage)
		if has && !ended(c.peer) {
			return c.peer, nil
		}
	}
	return nil, r.attached
}

func ended(p *peer) bool {
	select {
	case <-p.conn.Done():
		return true
	default:
		return false
	}
}

// pass makes the transfer with the attached client. It waits a while for one: a client that has lost
// its connection comes back and gets the same call again.
func (r *relay) pass(ctx context.Context, wait time.Duration, m *control.Message, t control.Transfer) control.Answer {
	var late *time.Timer
	for {
		client, attached := r.find(m.Type, t.Slot.Stage)
		if client != nil {
			reply := control.TransferReply{}
			blob, err := client.conn.Call(ctx, m.Type, t, m.Blob, &reply)
			if !errors.Is(err, control.ErrClosed) {
				return control.Answer{Body: reply, Blob: blob, Err: err}
			}
			// The answer is lost with the connection. Offsets make the repeated call harmless.
			<-client.conn.Done()
			late = nil
			continue
		}
		if late == nil {
			late = time.NewTimer(wait)
			defer late.Stop()
		}
		select {
		case <-attached:
		case <-late.C:
			return control.Answer{Err: fmt.Errorf("no weft command is attached that has the files of stage %s", t.Slot.Stage)}
		case <-ctx.Done():
			return control.Answer{Err: ctx.Err()}
		}
	}
}

// transfer takes a worker's pull, write or dead letters.
func (p *peer) transfer(m *control.Message, reply func(control.Answer)) {
	var t control.Transfer
	if err := m.Decode(&t); err != nil {
		reply(control.Answer{Err: err})
		return
	}
	o := p.speaksFor(t.Namespace, t.Pipeline, t.Slot, t.Incarnation)
	if o == nil {
		reply(control.Answer{Err: fmt.Errorf("slot %v of %s/%s was not given to this worker", t.Slot, t.Namespace, t.Pipeline)})
		return
	}
	p.work(reply, func(ctx context.Context) {
		reply(o.relay.pass(ctx, p.hook.cfg.ClientWait, m, t))
	})
}
