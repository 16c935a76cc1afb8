package localwhisk

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weft-stream/weft/openwhisk"
)

// maxJobs bounds the runs that the invoker has taken from its topic and not
// finished; the rest stay in the topic.
const maxJobs = 4096

// invoker is the half that runs activations: it takes them from its topic,
// finds a container for each, and acknowledges.
type invoker struct {
	p     *Platform
	pool  *pool
	slots chan struct{} // one per job
	wg    sync.WaitGroup
}

// job is one activation to run.
type job struct {
	msg    openwhisk.ActivationMessage
	action *action
}

func newInvoker(p *Platform) *invoker {
	in := &invoker{p: p, slots: make(chan struct{}, maxJobs)}
	in.pool = newPool(p, in.runJob)
	return in
}

func (in *invoker) open() { in.pool.open() }

// close ends the runs, whose context is over, and then the containers.
func (in *invoker) close() {
	in.pool.stop()
	in.wg.Wait()
	in.pool.close()
}

// received handles one message of the invoker's topic.
func (in *invoker) received(b []byte) {
	m, err := openwhisk.ParseActivation(b)
	if err != nil {
		in.p.cfg.Logger.Error().Err(err).Msg("read an activation")
		return
	}
	select {
	case in.slots <- struct{}{}:
	case <-in.p.ctx.Done():
		return
	}
	n := openwhisk.Name{Entity: m.Action.Name}
	n.Namespace, n.Package, _ = cut(m.Action.Path)
	a := in.p.store.action(n)
	j := &job{msg: m, action: a}
	switch {
	case a == nil:
		j.action = &action{name: n, version: m.Action.Version, limits: in.p.cfg.Limits.standard()}
		in.refuse(j, openwhisk.StatusApplicationError, "Action could not be found or may have been deleted.")
	case m.Revision == nil || a.rev != *m.Revision:
		in.refuse(j, openwhisk.StatusApplicationError, "Action version is not compatible and cannot be invoked.")
	case !in.p.runs(a.exec.Kind):
		in.refuse(j, openwhisk.StatusDeveloperError, errPull{a.exec.Image}.Error())
	default:
		in.pool.submit(j)
	}
}

// runs reports whether there is a runtime for a kind: for blackbox images only
// where one is configured, or Docker is there to run them.
func (p *Platform) runs(kind string) bool {
	_, ok := p.cfg.Runtimes[kind]
	return ok || kind == openwhisk.KindBlackbox && p.cfg.Docker != nil
}

// runtime is how an action's container is started.
func (p *Platform) runtime(a *action) Runtime {
	r, ok := p.cfg.Runtimes[a.exec.Kind]
	if !ok {
		return Runtime{Kind: a.exec.Kind, Image: a.exec.Image, Blackbox: true, NoSentinels: !slices.Contains(p.cfg.Blackboxes, a.exec.Image)}
	}
	return r
}

// errPull is that there is no such image. It is the action's fault.
type errPull struct{ image string }

func (e errPull) Error() string { return fmt.Sprintf("Failed to pull container image '%s'.", e.image) }

// runJob runs a job in the container that the pool chose; the container is
// the job's alone until it is given back.
func (in *invoker) runJob(j *job, c *container) {
	in.wg.Go(func() {
		o := in.execute(j, c)
		if o.again {
			in.pool.discard(c)
			in.pool.submit(j)
			return
		}
		keep := in.complete(j, c, o)
		<-in.slots
		if keep {
			in.pool.release(c)
		} else {
			in.pool.discard(c)
		}
	})
}

// refuse ends a job that no container is to see.
func (in *invoker) refuse(j *job, code openwhisk.StatusCode, text string) {
	now := in.p.cfg.Now()
	o := outcome{response: errorResponse(code, text), start: now, end: now}
	a := in.record(j, o)
	in.p.store.record(a)
	in.acknowledge(j, a, ackCombined)
	in.event(a, j)
	<-in.slots
}

// complete answers, collects the logs and frees the slot. It reports whether
// the container may live on.
func (in *invoker) complete(j *job, c *container, o outcome) (keep bool) {
	a := in.record(j, o)
	keep = o.response.StatusCode <= openwhisk.StatusApplicationError
	if j.action.limits.Logs == 0 {
		in.p.store.record(a)
		in.delayed(func() { in.acknowledge(j, a, ackCombined) })
		in.event(a, j)
		return keep
	}
	if j.msg.Blocking {
		in.acknowledge(j, a, ackResult)
	}
	full := *a
	lines, err := collect(in.p.ctx, c.output(), j.action.limits.Logs<<20, keep && c.sentinels)
	if err == nil && !keep {
		lines = append(lines, logLine{time.Now(), "stderr", "The action did not initialize or run as expected. Log data might be missing."}.String())
	}
	full.Logs = lines
	if err != nil {
		in.p.cfg.Logger.Warn().Err(err).Str("container", c.order.name).Msg("collect logs; the container goes")
		keep = false
	}
	in.p.store.record(&full)
	in.delayed(func() { in.acknowledge(j, a, ackCompletion) })
	in.event(a, j)
	return keep
}

// delayed waits for the configured time before what frees the slot.
func (in *invoker) delayed(do func()) {
	if d := in.p.cfg.Placement.CompletionDelay; d > 0 {
		select {
		case <-time.After(d):
		case <-in.p.ctx.Done():
		}
	}
	do()
}

type ackKind int

const (
	ackResult ackKind = iota
	ackCompletion
	ackCombined
)

// acknowledge writes an ack and waits until the broker has it: the container
// is free only then.
func (in *invoker) acknowledge(j *job, a *openwhisk.Activation, kind ackKind) {
	instance := in.p.instance()
	ack := openwhisk.Ack{ActivationID: a.ActivationID, TransID: j.msg.TransID,
		IsSystemError: a.Response.StatusCode == openwhisk.StatusWhiskError}
	if kind != ackCompletion {
		ack.HasResponse = true
		if j.msg.Blocking {
			ack.Activation = a
		}
	}
	if kind != ackResult {
		ack.Instance = &instance
	}
	if in.p.control.await(in.p.broker.send(openwhisk.TopicCompleted0, ack)) != nil && ack.Activation != nil {
		// Too large for a message: the record is in the store, its id will do.
		ack.Activation = nil
		in.p.control.await(in.p.broker.send(openwhisk.TopicCompleted0, ack))
	}
}

func (in *invoker) event(a *openwhisk.Activation, j *job) {
	in.p.activationEvent("invoker0", a, j.action.limits.Memory)
}

// record makes the activation record of an outcome, without logs.
func (in *invoker) record(j *job, o outcome) *openwhisk.Activation {
	var ann openwhisk.KeyValues
	if j.msg.Cause != "" {
		ann = append(ann, openwhisk.KV("causedBy", openwhisk.KindSequence))
	}
	wait := max(0, o.start.UnixMilli()-j.msg.TransID.Start)
	ann = append(ann, openwhisk.KV("path", j.action.name.String()), openwhisk.KV("waitTime", wait),
		openwhisk.KV("kind", j.action.exec.Kind), openwhisk.KV("timeout", o.timeout), openwhisk.KV("limits", j.action.limits))
	if o.initialised {
		ann = append(ann, openwhisk.KV("initTime", o.initTime.Milliseconds()))
	}
	if j.msg.Action.Binding != "" {
		ann = append(ann, openwhisk.KV("binding", j.msg.Action.Binding))
	}
	start, end := o.start.UnixMilli(), o.end.UnixMilli()
	return &openwhisk.Activation{ActivationID: j.msg.ActivationID, Annotations: ann, Cause: j.msg.Cause, Duration: end - start,
		End: end, Logs: []string{}, Name: j.action.name.Entity, Namespace: in.p.cfg.Namespace, Response: o.response,
		Start: start, Subject: j.msg.User.Subject, Version: j.action.version}
}

func byteSize(mb int) string { return fmt.Sprintf("%d B", mb<<20) }
