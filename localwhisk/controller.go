package localwhisk

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/weft-stream/weft/openwhisk"
)

// controller is the half that callers talk to: it counts, writes activations
// to the invoker's topic and waits for their acknowledgements.
type controller struct {
	p        *Platform
	throttle *throttle      // of invocations
	fires    *throttle      // of triggers
	wg       sync.WaitGroup // sequences, compositions and fired triggers

	mu      sync.Mutex
	pending map[string]*pending // by activation id, until the slot is free
}

// pending is an activation whose slot is not free yet.
type pending struct {
	result chan *openwhisk.Activation // gets one
	given  bool
	forced *time.Timer // frees the slot if no acknowledgement ever comes
}

// call is one call of an action, resolved: params are merged already.
type call struct {
	action   *action
	params   json.RawMessage
	given    openwhisk.KeyValues // the parameters that are set, without the caller's
	binding  string              // the binding that the action was named by: "guest/b"
	blocking bool
	cause    string // the sequence or composition it is a step of
	trans    openwhisk.TransID
	shared   *accounting // of the compositions it is part of
}

// run is an activation under way; done gets its record, without logs.
type run struct {
	id   string
	done <-chan *openwhisk.Activation
}

func newController(p *Platform) *controller {
	l, now := p.cfg.Limits, p.cfg.Now
	return &controller{p: p, throttle: newThrottle(l.InvocationsPerMinute, now), fires: newThrottle(l.FiresPerMinute, now),
		pending: map[string]*pending{}}
}

// close waits for sequences and compositions; the platform's context is over.
func (c *controller) close() {
	c.wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pending {
		p.forced.Stop()
	}
}

// top runs a call from outside: it is throttled and counted. The error is an
// apiError.
func (c *controller) top(cl call) (run, error) {
	if name, err := c.admit(c.inFlight()); err != nil {
		c.metric(name, 1)
		return run{}, err
	}
	c.metric(openwhisk.MetricConcurrentInvocations, int64(c.inFlight()+1))
	r, err := c.start(cl)
	if err != nil {
		return run{}, fail(503, err.Error())
	}
	return r, nil
}

// start runs a sequence, a composition or a simple action.
func (c *controller) start(cl call) (run, error) {
	switch {
	case cl.action.sequence():
		id, done := randomHex(16), make(chan *openwhisk.Activation, 1)
		c.wg.Go(func() { a, _ := c.runSequence(id, cl, 0); done <- a })
		return run{id, done}, nil
	case cl.action.conductor():
		id, done := randomHex(16), make(chan *openwhisk.Activation, 1)
		c.wg.Go(func() { done <- c.runComposition(id, cl) })
		return run{id, done}, nil
	}
	return c.startSimple(cl)
}

// startSimple writes the activation to the invoker's topic.
func (c *controller) startSimple(cl call) (run, error) {
	m := openwhisk.ActivationMessage{
		Action:       openwhisk.ActionRef{Name: cl.action.name.Entity, Path: cl.action.name.Path(), Version: cl.action.version, Binding: cl.binding},
		ActivationID: randomHex(16), Blocking: cl.blocking, Cause: cl.cause, Content: cl.params,
		InitArgs: []string{}, Revision: &cl.action.rev,
		RootControllerIndex: openwhisk.ControllerID{AsString: "0", InstanceType: "controller"},
		TransID:             cl.trans, User: c.p.user(),
	}
	timeout := max(time.Duration(cl.action.limits.Timeout)*time.Millisecond, time.Minute)
	w := &pending{result: make(chan *openwhisk.Activation, 1)}
	c.mu.Lock()
	c.pending[m.ActivationID] = w
	w.forced = time.AfterFunc(2*timeout+time.Minute, func() { c.free(m.ActivationID) })
	c.mu.Unlock()
	if err := c.await(c.p.broker.send(openwhisk.TopicInvoker0, m)); err != nil {
		c.free(m.ActivationID)
		return run{}, fmt.Errorf("localwhisk: hand the activation to the invoker: %w", err)
	}
	return run{m.ActivationID, w.result}, nil
}

func (c *controller) await(sent <-chan error) error {
	select {
	case err := <-sent:
		return err
	case <-c.p.ctx.Done():
		return c.p.ctx.Err()
	}
}

// step runs a component to its end, whatever it is. Without a record by the
// time the wait is over, ok is false.
func (c *controller) step(cl call) (id string, a *openwhisk.Activation, ok bool, err error) {
	if !cl.action.sequence() && !cl.action.conductor() {
		return c.stepSimple(cl)
	}
	r, err := c.start(cl)
	if err != nil {
		return "", nil, false, err
	}
	a = <-r.done // made of steps, each of which ends
	return r.id, a, true, nil
}

// stepSimple runs an action as such, also one that is a conductor. It waits a
// minute longer than the action may run.
func (c *controller) stepSimple(cl call) (id string, a *openwhisk.Activation, ok bool, err error) {
	cl.blocking = true
	r, err := c.startSimple(cl)
	if err != nil {
		return "", nil, false, err
	}
	wait, stop := context.WithTimeout(c.p.ctx, time.Duration(cl.action.limits.Timeout)*time.Millisecond+time.Minute)
	defer stop()
	select {
	case a = <-r.done:
		return r.id, a, true, nil
	case <-wait.Done():
		return r.id, nil, false, nil
	}
}

// acknowledged handles one message of the completed topic.
func (c *controller) acknowledged(b []byte) {
	a, err := openwhisk.ParseAck(b)
	if err != nil {
		c.p.cfg.Logger.Error().Err(err).Msg("read an acknowledgement")
		return
	}
	if a.HasResponse {
		rec := a.Activation
		if rec == nil { // too large for the message: it is in the store
			rec = c.p.store.activation(a.ActivationID)
		}
		c.mu.Lock()
		if w := c.pending[a.ActivationID]; w != nil && !w.given && rec != nil {
			w.given = true
			w.result <- rec
		}
		c.mu.Unlock()
	}
	if a.Completed() {
		c.free(a.ActivationID)
	}
}

// free lets go of the slot. A caller that still waits gets the record if
// there is one: a completion may overtake nothing but a lost result.
func (c *controller) free(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.pending[id]
	if w == nil {
		return
	}
	delete(c.pending, id)
	w.forced.Stop()
	if rec := c.p.store.activation(id); !w.given && rec != nil {
		w.given = true
		w.result <- rec
	}
}

func (c *controller) inFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}

// user is the one caller, as messages carry it.
func (p *Platform) user() openwhisk.User {
	u := openwhisk.User{Subject: p.cfg.Namespace, Rights: []string{"READ", "PUT", "DELETE", "ACTIVATE"}}
	u.AuthKey.APIKey = p.cfg.Auth
	u.Namespace.Name, u.Namespace.UUID = p.cfg.Namespace, p.uuid
	return u
}

// child is a transaction caused by another.
func (p *Platform) child(parent openwhisk.TransID) openwhisk.TransID {
	return openwhisk.TransID{ID: randomText(32), Start: p.cfg.Now().UnixMilli(), Parent: &parent}
}
