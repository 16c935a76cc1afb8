package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// Bounds of a desk.
const (
	maxCalls       = 1024    // at one time
	maxResultBytes = 8 << 20 // of one call: the platform takes 1 MiB, or what its operator has raised that to
)

// desk is where the events of an ingress come in and their results go out: guest.go brings calls, the
// source sends them on as its events, and the sinks' returns are gathered here until all that comes of an
// event is there. It can't send an event again: what is on its way when an attempt ends, fails.
type desk struct {
	stage   string
	prefix  string        // of events' ids
	timeout time.Duration // of a call
	wake    chan struct{} // of one element: a call waits

	mu       sync.Mutex
	waiting  []*call // not sent, oldest first
	away     map[int64]*call
	position int64 // of the next event
	closed   bool
}

// call is an event whose caller waits for its result.
type call struct {
	event    []byte
	answer   func(result []byte, failed bool) // once; it never blocks
	timer    *time.Timer
	position int64 // while it is away
	gathered gathered
}

func newDesk(s *slot) *desk {
	return &desk{stage: s.stage.Name, prefix: s.assignment.Slot.String() + ":", timeout: s.timeout(),
		wake: make(chan struct{}, 1), away: map[int64]*call{}}
}

// admit takes a call, or answers it at once.
func (d *desk) admit(event []byte, answer func(result []byte, failed bool)) {
	if !isObject(event) {
		answer(outlet.ErrorObject("an event is a JSON object"), true)
		return
	}
	c := &call{event: event, answer: answer}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		answer(outlet.ErrorObject("the pipeline has stopped"), true)
		return
	case len(d.waiting)+len(d.away) >= maxCalls:
		answer(outlet.ErrorObject(fmt.Sprintf("%d events wait for their results already: %s takes no more", maxCalls, d.stage)), true)
		return
	}
	c.timer = time.AfterFunc(d.timeout, func() { d.late(c) })
	d.waiting = append(d.waiting, c)
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// next takes the oldest call that waits and gives it its position; nil when none does.
func (d *desk) next() *call {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == 0 {
		return nil
	}
	c := d.waiting[0]
	d.waiting = d.waiting[1:]
	c.position = d.position
	d.position++
	d.away[c.position] = c
	return c
}

// begin begins an attempt: what was sent in an earlier one comes to nothing. No position comes twice.
func (d *desk) begin(position int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.position = max(d.position, position)
	for _, c := range d.away {
		d.finish(c, outlet.ErrorObject("the event was lost with a worker of the pipeline: parts of it may have been processed"), true)
	}
}

// returned takes what a sink gives back.
func (d *desk) returned(f *frame.Frame) {
	s, ok := parseShare(f.ID, d.prefix)
	if !ok {
		return // of no call: a function has made it without an event
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.away[s.position]
	switch {
	case c == nil: // its caller has its answer
	case f.Flags&frame.Bypass != 0 && len(f.Payload) > 0, gjson.GetBytes(f.Payload, "error").Exists():
		d.finish(c, failureOf(f.Payload), true)
	case f.Flags&frame.Bypass != 0:
		if c.gathered.add(s, nil) {
			d.finish(c, c.gathered.result(), false)
		}
	case !isObject(f.Payload):
		d.finish(c, outlet.ErrorObject("what a sink got is no JSON object, and can't be a result"), true)
	case c.gathered.bytes+len(f.Payload) > maxResultBytes:
		d.finish(c, outlet.ErrorObject(fmt.Sprintf("the results take more than %d MiB", maxResultBytes>>20)), true)
	default:
		if c.gathered.add(s, bytes.Clone(f.Payload)) {
			d.finish(c, c.gathered.result(), false)
		}
	}
}

// failureOf is a result of what has failed. The platform keeps nothing of a failure's result but its
// "error", so that all that a letter tells goes there.
func failureOf(payload []byte) []byte {
	var l outlet.Letter
	if json.Unmarshal(payload, &l) != nil || l.Stage == "" {
		return bytes.Clone(payload) // a function's own
	}
	out, err := json.Marshal(map[string]any{"error": struct {
		Stage   string          `json:"stage"`
		Reason  json.RawMessage `json:"reason"`
		ID      string          `json:"id"`
		History []string        `json:"history,omitempty"`
	}{l.Stage, l.Error, l.ID, l.History}})
	if err != nil {
		return outlet.ErrorObject("stage " + l.Stage + " has failed on the event")
	}
	return out
}

// late ends a call whose time is over.
func (d *desk) late(c *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(c.gathered.results)
	d.finish(c, outlet.ErrorObject(fmt.Sprintf("no whole result within %v, the timeout of %s; %d event(s) have come to the sinks", d.timeout, d.stage, n)), true)
}

// finish answers a call that has no answer yet. The caller holds mu.
func (d *desk) finish(c *call, result []byte, failed bool) {
	if d.away[c.position] == c {
		delete(d.away, c.position)
	} else if !d.unqueue(c) {
		return
	}
	c.timer.Stop()
	c.answer(result, failed)
}

func (d *desk) unqueue(c *call) bool {
	for i, other := range d.waiting {
		if other == c {
			d.waiting = append(d.waiting[:i:i], d.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// close answers all calls: nothing comes any more.
func (d *desk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for len(d.waiting) > 0 {
		d.finish(d.waiting[0], outlet.ErrorObject("the pipeline has stopped"), true)
	}
	for _, c := range d.away {
		d.finish(c, outlet.ErrorObject("the pipeline has stopped: parts of the event may have been processed"), true)
	}
}

// calls is the desk as an origin of events, in one attempt.
type calls struct{ desk *desk }

func (o calls) next(ctx context.Context, wake <-chan struct{}) (made, error) {
	for {
		select {
		case <-wake:
			return made{}, errInterrupted
		default:
		}
		if c := o.desk.next(); c != nil {
			return made{position: c.position, payload: c.event}, nil
		}
		select {
		case <-o.desk.wake:
		case <-wake:
			return made{}, errInterrupted
		case <-ctx.Done():
			return made{}, ctx.Err()
		}
	}
}

func (o calls) position() int64 {
	o.desk.mu.Lock()
	defer o.desk.mu.Unlock()
	return o.desk.position
}

func (o calls) close() {}
