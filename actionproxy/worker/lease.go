package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/processors"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/identity"
)

const (
	// maxMargin and marginShare: a lease's answer leaves at least so long, or such a share of the lease's
	// time, before the platform's deadline, whatever else is going on. Later by any amount is the
	// container's end.
	maxMargin   = 5 * time.Second
	marginShare = 10
	// hookPatience is for how long an activation waits for the hook when no slot depends on it.
	hookPatience = 10 * time.Second
)

// openRun is a /run that is held open by a lease.
type openRun struct {
	id    string
	reply chan actionproxy.Reply // of one element: answered once
}

// ending is why a worker stops holding its slot. err is empty when that is in order.
type ending struct {
	reason, err string
	usedUp      bool // the platform is to remove the container
}

// leaseRequest is a /run with a lease in its parameters.
type leaseRequest struct {
	*actionproxy.Request
	token  control.Token
	params map[string]json.RawMessage // without the lease
}

// Lease handles a /run that brought a lease, until the hook wants it answered or its time is up.
func (w *Worker) Lease(ctx context.Context, req *actionproxy.Request, fn *actionproxy.Function) actionproxy.Reply {
	r, err := parseLease(req)
	if err != nil {
		return errorReply(http.StatusOK, err.Error())
	}
	latest, cancel := latestAnswer(ctx, req.Deadline)
	defer cancel()
	select {
	case w.turn <- struct{}{}:
	case <-latest.Done():
		return errorReply(http.StatusOK, "another lease is being decided on")
	}
	run, reply := w.arrive(latest, r, fn)
	<-w.turn
	if run == nil {
		return reply
	}
	return w.hold(latest, run)
}

func parseLease(req *actionproxy.Request) (*leaseRequest, error) {
	r := &leaseRequest{Request: req}
	if err := json.Unmarshal(req.Value, &r.params); err != nil {
		return nil, fmt.Errorf("read the lease: %w", err)
	}
	if err := json.Unmarshal(r.params[control.Reserved], &r.token); err != nil || r.token.ID == "" {
		return nil, fmt.Errorf("the parameter %s is reserved for Weft's leases, and this is none", control.Reserved)
	}
	delete(r.params, control.Reserved)
	return r, nil
}

// latestAnswer ends when the /run must be answered, or its peer has gone. A deadline that is over, or
// further away than any action may run, is of another clock than ours, or of one that was set in between:
// then only the limit of all actions is sure.
func latestAnswer(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	rest := time.Until(deadline)
	if rest <= 0 || rest > pipeline.MaxLease {
		rest = pipeline.MaxLease
	}
	return context.WithTimeout(ctx, rest-min(rest/marginShare, maxMargin))
}

// arrive asks the hook what the lease is for and does that. Without a run there is a reply.
func (w *Worker) arrive(ctx context.Context, r *leaseRequest, fn *actionproxy.Function) (*openRun, actionproxy.Reply) {
	ask := control.Lease{
		Token: r.token, Namespace: r.Namespace, Action: r.ActionName, Version: r.ActionVersion,
		ActivationID: r.ActivationID, DeadlineMS: r.Deadline.UnixMilli(), Holding: w.inventory(),
	}
	var c candidate
	if ask.Holding == nil {
		var err error
		if c, err = w.prepare(); err != nil {
			return nil, errorReply(http.StatusOK, err.Error())
		}
		defer c.close()
		ask.CSR, ask.Addr = c.key.Request(), c.endpoint.Addr()
	} else {
		ask.Addr = ask.Holding.Addr
	}
	w.expect()
	defer w.settle()
	answer, err := w.decide(ctx, ask)
	if err != nil {
		return nil, undecided(ctx, err)
	}
	run := &openRun{id: r.token.ID, reply: make(chan actionproxy.Reply, 1)}
	switch held := w.held(); {
	case answer.Verdict == control.Take && ask.Holding == nil && answer.Assignment != nil:
		return w.take(&c, answer.Assignment, r, fn, run)
	case answer.Verdict == control.Renewed && held != nil:
		return run, w.renew(held, r, run)
	case answer.Verdict == control.Released:
		return nil, releasedReply("")
	case answer.Verdict == control.Refused:
		return nil, errorReply(http.StatusOK, "lease refused: "+answer.Reason)
	case held != nil:
		held.stop(&ending{reason: answer.Reason, err: "dismissed: " + answer.Reason})
		<-held.stopped
	}
	return nil, errorReply(http.StatusBadGateway, fmt.Sprintf("this container is not needed (%s): %s", answer.Verdict, answer.Reason))
}

// decide asks the hook. While this container is to stand by there is no answer. A hook that is being
// restarted is waited for by a holder, and by who has asked one already; by another container for a while.
func (w *Worker) decide(ctx context.Context, ask control.Lease) (answer control.LeaseReply, err error) {
	const untilTheEnd = 24 * time.Hour // of ctx
	patience := hookPatience
	if ask.Holding != nil {
		patience = untilTheEnd
	}
	for {
		err := w.ask(ctx, patience, control.TypeLease, ask, &answer)
		if !errors.Is(err, control.ErrClosed) || w.hook.ctx.Err() != nil || pause(ctx, firstBackOff) != nil {
			return answer, err
		}
		patience = untilTheEnd
	}
}

// undecided is the answer of a lease that the hook has not decided on. When its time is over in the course
// of standing by, that is in order, and another lease comes.
func undecided(ctx context.Context, err error) actionproxy.Reply {
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		return releasedReply("")
	}
	return errorReply(http.StatusOK, err.Error())
}

// candidate is what a slot needs before it is known which.
type candidate struct {
	key      *identity.Key
	endpoint Endpoint // nil when taken over
}

func (w *Worker) prepare() (c candidate, err error) {
	if c.key, err = identity.NewKey(); err != nil {
		return c, err
	}
	c.endpoint, err = w.config.Listen()
	return c, err
}

func (c *candidate) close() {
	if c.endpoint != nil {
		_ = c.endpoint.Close() // nobody has used it
	}
}

// take makes this container the slot's holder.
func (w *Worker) take(c *candidate, a *control.Assignment, r *leaseRequest, fn *actionproxy.Function, run *openRun) (*openRun, actionproxy.Reply) {
	s, err := newSlot(w.hook, c, a, r, fn)
	if err != nil {
		state := slotState(a)
		state.Reason = err.Error()
		_ = w.hook.send(control.TypeFailed, state) // a lost connection tells the hook as well
		return nil, errorReply(http.StatusOK, err.Error())
	}
	s.processors = processors.New(w.config.Processors, runtime.GOMAXPROCS(0))
	w.install(s, run)
	return run, actionproxy.Reply{}
}

// renew puts a new run in the place of the old one, which is answered if it is still open.
func (w *Worker) renew(s *slot, r *leaseRequest, run *openRun) actionproxy.Reply {
	s.renewed(r)
	w.mu.Lock()
	old := w.runs
	w.runs = map[string]*openRun{run.id: run}
	w.mu.Unlock()
	for _, o := range old {
		o.answer(releasedReply(s.assignment.Slot.String()))
	}
	return actionproxy.Reply{}
}

// hold waits for the answer. The worker goes on when the time is up: it is the lease that ends.
func (w *Worker) hold(ctx context.Context, run *openRun) actionproxy.Reply {
	select {
	case r := <-run.reply:
		return r
	case <-ctx.Done():
	}
	w.mu.Lock()
	if w.runs[run.id] == run {
		delete(w.runs, run.id)
	}
	s := w.slot
	w.mu.Unlock()
	name := ""
	if s != nil {
		name = s.assignment.Slot.String()
	}
	return releasedReply(name)
}

// release answers a run; the worker goes on.
func (w *Worker) release(id string) {
	w.mu.Lock()
	run := w.runs[id]
	delete(w.runs, id)
	s := w.slot
	w.mu.Unlock()
	if run == nil {
		return
	}
	name := ""
	if s != nil {
		name = s.assignment.Slot.String()
	}
	run.answer(releasedReply(name))
}

// answerAll answers every open run.
func (w *Worker) answerAll(r actionproxy.Reply) {
	w.mu.Lock()
	runs := w.runs
	w.runs = map[string]*openRun{}
	w.mu.Unlock()
	for _, run := range runs {
		run.answer(r)
	}
}

// answer is called once for a run: by whoever has taken it out of the map.
func (o *openRun) answer(r actionproxy.Reply) { o.reply <- r }
