package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
)

// lease is one activation that was fired and has not ended yet. The owner's goroutine has it.
type lease struct {
	activationID string
	worker       string
	asked        bool      // the hook has asked for its end, so that it is no failure
	over         time.Time // by when it has ended, whatever was heard
}

// StageAction is the action that a stage's leases invoke: /namespace/pipeline.stages/stage.
func StageAction(namespace, pipeline, stage string) string {
	return "/" + namespace + "/" + pipeline + stageMark + "/" + stage
}

// lease checks a lease at a proxy before the brain hears of it.
func (p *peer) lease(m *control.Message, reply func(control.Answer)) {
	var l control.Lease
	if err := m.Decode(&l); err != nil {
		reply(control.Answer{Err: err})
		return
	}
	p.mu.Lock()
	w := p.worker
	p.mu.Unlock()
	o, err := p.verify(&l, w)
	if err != nil {
		kind, n := p.hook.refused.count(RefusedLease, err)
		p.hook.noisy.Warn().Str("namespace", l.Namespace).Str("action", l.Action).Str("activation", l.ActivationID).
			Str("worker", w.id).Str("refusal", string(kind)).Uint64("refused", n).AnErr("reason", err).Msg("lease refused")
		reply(control.Answer{Body: control.LeaseReply{Verdict: control.Refused, Reason: err.Error()}})
		return
	}
	p.hook.touch(w, o.name)
	o.post(item{peer: p, answer: reply, csr: l.CSR, event: conductor.Arrived{LeaseID: l.Token.ID, Stage: l.Token.Stage,
		ActivationID: l.ActivationID, Version: l.Version, Worker: w.id, Addr: l.Addr, DeadlineMS: p.hook.nowOf(l.DeadlineMS), Holding: l.Holding}})
}

// verify checks a lease, and puts the address that others are told in the place of the one claimed.
func (p *peer) verify(l *control.Lease, w *worker) (*owner, error) {
	t := l.Token
	if err := t.Verify(p.hook.cfg.Keys, l.Namespace, p.hook.now()); err != nil {
		return nil, err
	}
	if want := StageAction(t.Namespace, t.Pipeline, t.Stage); l.Action != want {
		return nil, fmt.Errorf("%w: it is for action %s, the activation is of %s", control.ErrToken, want, l.Action)
	}
	if h := l.Holding; h != nil && !p.holds(h) {
		return nil, fmt.Errorf("%w: the proxy holds no %s[%d] that was given to it", control.ErrToken, h.Slot.Stage, h.Slot.Index)
	}
	if l.Holding == nil {
		if err := checkRequest(l.CSR); err != nil {
			return nil, fmt.Errorf("%w: %w", control.ErrToken, err)
		}
	}
	o := p.hook.owner(t.Namespace + "/" + t.Pipeline)
	if o == nil {
		return nil, fmt.Errorf("%w: no pipeline %s/%s runs here", control.ErrToken, t.Namespace, t.Pipeline)
	}
	if err := p.hook.serves(w, t.Namespace, t.Pipeline, l.Action); err != nil {
		return nil, err
	}
	addr, err := w.addr(l.Addr)
	if err != nil {
		return nil, err
	}
	l.Addr = addr
	return o, nil
}

func (p *peer) holds(i *control.Inventory) bool {
	return p.speaksFor(i.Namespace, i.Pipeline, i.Slot, i.Incarnation) != nil
}

// fire invokes a stage's action, without waiting for its end, in a goroutine of the owner.
func (o *owner) fire(c conductor.FireLease) {
	now := o.hook.now()
	o.expire(now)
	o.leases[c.LeaseID] = &lease{over: now.Add(o.hook.cfg.LeaseArrival + pipeline.MaxLease + time.Minute)}
	token := control.SignToken(o.hook.cfg.Keys[0], o.namespace, o.pipeline, c.Stage, c.LeaseID, now.Add(o.hook.cfg.LeaseArrival))
	o.calls.Go(func() {
		select {
		case o.rest <- struct{}{}:
			defer func() { <-o.rest }()
		case <-o.ctx.Done():
			return
		}
		inv, err := o.client.Invoke(o.ctx, StageAction(o.namespace, o.pipeline, c.Stage),
			map[string]any{control.Reserved: token}, openwhisk.InvokeOptions{})
		if err != nil {
			o.post(item{event: conductor.LeaseRefused{LeaseID: c.LeaseID, Reason: notTaken(err), Retry: passing(err), Full: atLimit(err)}})
			return
		}
		o.post(item{event: conductor.LeaseFired{LeaseID: c.LeaseID, ActivationID: inv.ActivationID}})
		// Only now: a completion that came before is delivered after the word that the lease is ours.
		o.hook.acts.bind(inv.ActivationID, o)
	})
}

// askWait is for how long the platform is waited for when it is only asked whether it is there.
const askWait = 5 * time.Second

// ask sees whether the platform answers. Kafka has no need to be asked: without it no release is written to
// the registry, and so none is given.
func (o *owner) ask() {
	o.calls.Go(func() {
		ctx, cancel := context.WithTimeout(o.ctx, askWait)
		defer cancel()
		reason := ""
		if _, err := o.client.Namespaces(ctx); err != nil && passing(err) {
			reason = err.Error()
		}
		o.post(item{event: conductor.Platform{Reason: reason}})
	})
}

// passing tells whether the same call may succeed later: the platform is not there, or not in order, or has
// too much to do. Whatever stands before its controllers says that in the 500s, too.
func passing(err error) bool {
	var refused *openwhisk.APIError
	return !errors.As(err, &refused) || refused.Busy() || refused.Status >= http.StatusInternalServerError
}

// atLimit says that another activation of the namespace would have to end first.
func atLimit(err error) bool {
	var refused *openwhisk.APIError
	return errors.As(err, &refused) && refused.Full()
}

// notTaken is why the platform took no lease, and what can be done about it.
func notTaken(err error) string {
	var refused *openwhisk.APIError
	if errors.As(err, &refused) && refused.Status == http.StatusTooManyRequests {
		return err.Error() + " (raise the namespace's limits, lower the replicas, or stop what else it runs)"
	}
	return err.Error()
}

// expire forgets the leases whose end was never heard of: no activation lasts that long. A worker that is there
// still has its one: its end is asked for, and comes, as soon as Kafka is back from an outage.
func (o *owner) expire(now time.Time) {
	for id, l := range o.leases {
		if now.After(l.over) && !o.hook.hasWorker(l.worker) {
			delete(o.leases, id)
			o.hook.acts.forget(l.activationID)
		}
	}
}

// completed makes an event of the platform's word that an activation has ended. One that nobody asked
// to end has a reason, which only the activation's record tells: then the event comes later.
func (o *owner) completed(c *completion) conductor.Event {
	for id, l := range o.leases {
		if l.activationID != c.activationID {
			continue
		}
		delete(o.leases, id)
		if l.asked {
			return conductor.LeaseCompleted{ActivationID: c.activationID}
		}
	}
	o.calls.Go(func() {
		reason, failed := o.outcome(c)
		o.post(item{event: conductor.LeaseCompleted{ActivationID: c.activationID, Failed: failed, Reason: reason}})
	})
	return nil
}

// Times of asking for an activation's record, which is written some time after the end.
const (
	recordWait  = 2 * time.Second
	recordEvery = 100 * time.Millisecond
)

func (o *owner) outcome(c *completion) (reason string, failed bool) {
	if c.status != nil && *c.status == openwhisk.StatusSuccess {
		return "", false
	}
	ctx, cancel := context.WithTimeout(o.ctx, recordWait)
	defer cancel()
	for {
		a, err := o.client.GetActivation(ctx, c.activationID)
		if err == nil {
			return words(&a.Response), !a.Response.Success()
		}
		select {
		case <-ctx.Done():
			return "the activation has ended unasked, and the platform has no record of it", true
		case <-time.After(recordEvery):
		}
	}
}

// words is what an activation says of its failure: its result's error, or its status.
func words(r *openwhisk.Response) string {
	if r.Success() {
		return ""
	}
	if text := errorText(r.Result); text != "" {
		return text
	}
	return r.StatusCode.String()
}

// asked notes that a lease, or all of a worker's, end because the hook says so.
func (o *owner) asked(leaseID, worker string) {
	for id, l := range o.leases {
		if id == leaseID || worker != "" && l.worker == worker {
			l.asked = true
		}
	}
}
