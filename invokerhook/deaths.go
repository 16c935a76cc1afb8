package invokerhook

import (
	"context"
	"sync"
	"time"

	"github.com/weft-stream/weft/conductor"
)

const (
	// causeWait is for how long a death that the kernel has shown waits for Docker's word on its cause.
	causeWait = 100 * time.Millisecond
	// causeLate is for how long it is waited for in all.
	causeLate = 10 * time.Second
	maxDeaths = 1024
)

// deaths are the ends of containers that Docker has told, the last of them.
type deaths struct {
	mu      sync.Mutex
	causes  bounded[string] // by container id
	changed chan struct{}   // closed and replaced with each
}

func newDeaths() *deaths {
	return &deaths{causes: bounded[string]{most: maxDeaths}, changed: make(chan struct{})}
}

func (d *deaths) put(id, cause string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.causes.put(id, cause)
	close(d.changed)
	d.changed = make(chan struct{})
}

// wait gives the cause of a container's end; "" when Docker has not told it within the time given.
func (d *deaths) wait(ctx context.Context, id string, most time.Duration) string {
	late := time.NewTimer(most)
	defer late.Stop()
	for {
		d.mu.Lock()
		cause, changed := d.causes.of[id], d.changed
		d.mu.Unlock()
		if cause != "" {
			return cause
		}
		select {
		case <-changed:
		case <-late.C:
			return ""
		case <-ctx.Done():
			return ""
		}
	}
}

// dead hears of a container's end from Docker. A connection over TCP may not have shown it.
func (h *Hook) dead(id, cause string) {
	h.deaths.put(id, cause)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.boxes, id)
	for p := range h.peers {
		if p.containerID() == id {
			_ = p.conn.Close()
		}
	}
}

// starved hears from Docker that a process in a container was killed for its memory. When that was the
// function and not the proxy, the container lives on.
func (h *Hook) starved(id string) {
	h.mu.Lock()
	var held *grant
	if b := h.boxes[id]; b != nil {
		if w := h.workers[b.worker]; w != nil && w.peer != nil {
			held = w.peer.granted()
		}
	}
	h.mu.Unlock()
	if held == nil {
		return
	}
	if o := h.owner(held.name); o != nil {
		o.post(item{event: conductor.Remark{Subject: held.slot.String(), What: "out of memory",
			Reason: "a process in its container was killed: the action's memory limit is reached"}})
	}
}

// containerID is the attested container's, or what the kernel says of one that has not said hello. The
// caller holds the hook's mutex.
func (p *peer) containerID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.worker != nil && p.worker.peer == p {
		return p.worker.fact.ContainerID
	}
	return p.caller.ContainerID
}
