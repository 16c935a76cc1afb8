package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weft-stream/weft/actionproxy/process"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// actionLoop runs an ordinary action, unmodified: one JSON line in and one out per event, one event at
// a time. More replicas give more at once.
type actionLoop struct {
	slot *slot
	function
	process *process.Process
	lease   *leaseRequest // line is of this one
	line    *activationLine
	buf     []byte
	outputs []outlet.Output

	mu   sync.Mutex
	last frame.Frame // the event that the function has, or had last; its ID and Headers only, copied
}

func newActionLoop(s *slot) *actionLoop {
	a := &actionLoop{slot: s, function: function{slot: s}}
	s.logs.traceBy(a.trace)
	return a
}

// note keeps what tells the event in work from others. An ordinary action has one at a time.
func (a *actionLoop) note(f *frame.Frame) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last.ID, a.last.Headers = append(a.last.ID[:0], f.ID...), append(a.last.Headers[:0], f.Headers...)
}

func (a *actionLoop) trace() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return string(outlet.TraceOf(&a.last))
}

// errDied is the cause when waiting for events was ended by the function's death.
var errDied = errors.New("function process died")

func (a *actionLoop) prepare(ctx context.Context) (err error) {
	a.process, err = a.alive(ctx)
	return err
}

func (a *actionLoop) command(*control.Message) error { return nil }

// close has nothing to do: an answer that is still owed is dropped by the process's next Exchange.
func (a *actionLoop) close() {}

func (a *actionLoop) run(ctx context.Context) error {
	var items []quicmesh.Item
	for {
		var err error
		if items, err = a.receive(ctx, items); err != nil {
			return err
		}
		for i := range items {
			if err == nil {
				err = a.item(ctx, &items[i])
			}
			items[i].Release()
		}
		if err != nil {
			return err
		}
	}
}

// receive waits for events, and replaces a process that dies meanwhile.
func (a *actionLoop) receive(ctx context.Context, into []quicmesh.Item) ([]quicmesh.Item, error) {
	for {
		waiting, cancel := context.WithCancelCause(ctx)
		watched := make(chan struct{})
		dead := a.process.Done()
		go func() {
			defer close(watched)
			select {
			case <-dead:
				cancel(errDied)
			case <-waiting.Done():
			}
		}()
		items, err := a.slot.local.Receive(waiting, into)
		died := err != nil && context.Cause(waiting) == errDied
		cancel(nil)
		<-watched
		if !died || ctx.Err() != nil {
			return items, err
		}
		if err := a.idleDeath(ctx); err != nil {
			return nil, err
		}
	}
}

// idleDeath replaces a process that died without an event.
func (a *actionLoop) idleDeath(ctx context.Context) (err error) {
	reason := whyDead(a.process, "")
	if a.hopeless() {
		return fmt.Errorf("the function of stage %s dies again and again: %s", a.slot.stage.Name, reason)
	}
	a.process, err = a.replace(ctx, reason)
	return err
}

func (a *actionLoop) item(ctx context.Context, it *quicmesh.Item) error {
	var err error
	switch it.Kind {
	case quicmesh.KindEvent:
		a.slot.counts.In.Add(1)
		if it.Frame.Flags&frame.Bypass != 0 {
			var in quicmesh.Event
			outlet.Input(&in, &it.Frame)
			err = a.slot.outlet.Bypass(ctx, &in, it.Frame.Payload)
		} else {
			err = a.event(ctx, &it.Frame)
		}
	case quicmesh.KindBarrier:
		err = a.slot.local.SwitchOf(ctx, it.Attempt, it.Barrier, it.Version)
	case quicmesh.KindEnd:
		err = a.slot.local.EndOf(ctx, it.Attempt)
	case quicmesh.KindRollback:
		return a.rollback(ctx)
	}
	if errors.Is(err, quicmesh.ErrStale) {
		return nil // the rollback itself comes next
	}
	return err
}

// rollback gives a stage with state a process that has none.
func (a *actionLoop) rollback(ctx context.Context) (err error) {
	if a.slot.stage.Stateful {
		a.process, err = a.restart(ctx)
	}
	return err
}

// event runs one event, again after each death, and sends what comes of it.
func (a *actionLoop) event(ctx context.Context, f *frame.Frame) error {
	var in quicmesh.Event
	outlet.Input(&in, f)
	if !isObject(f.Payload) {
		return a.slot.outlet.Fail(ctx, &in, outlet.ErrorText("the event is no JSON object: an ordinary action takes nothing else"), nil)
	}
	a.note(f)
	var history []string
	for {
		answer, death, err := a.exchange(ctx, f.Payload)
		switch {
		case err != nil:
			return a.slot.outlet.Fail(ctx, &in, outlet.ErrorText(err.Error()), history)
		case ctx.Err() != nil:
			return ctx.Err()
		case death == "":
			return a.send(ctx, &in, answer, history)
		}
		history = append(history, death)
		if a.process, err = a.replace(ctx, death); err != nil {
			return err
		}
		if len(history) > a.slot.stage.Retries {
			a.worked() // the event was to blame
			cause := fmt.Sprintf("the function died on this event %d times, at last: %s", len(history), death)
			return a.slot.outlet.Fail(ctx, &in, outlet.ErrorText(cause), history)
		}
	}
}

// exchange gives an event to the function. death is why the process is gone; err is of the event only.
func (a *actionLoop) exchange(ctx context.Context, event []byte) (answer []byte, death string, err error) {
	if lease := a.slot.currentLease(); lease != a.lease {
		a.lease, a.line = lease, newActivationLine(lease)
	}
	timeout := a.slot.timeout()
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a.buf = a.line.append(a.buf[:0], event, time.Now().Add(timeout))
	answer, err = a.process.Exchange(bounded, a.buf)
	if cap(a.buf) > 1<<20 {
		a.buf = nil
	}
	switch {
	case err == nil:
		a.worked()
		return answer, "", nil
	case ctx.Err() != nil:
		return nil, "", nil
	case bounded.Err() != nil:
		return nil, whyDead(a.process, fmt.Sprintf("stalled: no answer within %v", timeout)), nil
	case exited(a.process, err):
		return nil, whyDead(a.process, ""), nil
	}
	return nil, "", err
}

// send sends the outputs of an event together, or the event to the error edge.
func (a *actionLoop) send(ctx context.Context, in *quicmesh.Event, answer []byte, history []string) error {
	events, failure := results(answer)
	if failure != nil {
		return a.slot.outlet.Fail(ctx, in, failure, history)
	}
	a.outputs = a.outputs[:0]
	for _, payload := range events {
		a.outputs = append(a.outputs, outlet.Output{Edge: frame.AllEdges, Event: quicmesh.Event{Payload: payload}})
	}
	return a.slot.outlet.Outputs(ctx, in, a.outputs)
}
