package invokerhook

import (
	"context"
	"fmt"
	"maps"
	"math"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
)

// checkQuota refuses a start that the namespace's limits or the invokers' memory don't allow, with room
// to recover: the successors of the workers that are lost with one invoker need as much again as those.
// With replicas it is about a pipeline that runs and is to have so many slots.
func (h *Hook) checkQuota(ctx context.Context, s control.Step, replicas map[string]int) error {
	c, err := h.platform.client(s.APIKey)
	if err != nil {
		return err
	}
	limits, err := c.Limits(ctx)
	if err != nil {
		return fmt.Errorf("ask the platform for the limits of namespace %s: %w", s.Namespace, err)
	}
	q := quota{step: s, limits: limits, own: demandOf(s.Pipeline.Stages, replicas), lost: sizes{}, others: sizes{}}
	q.invokers, q.memoryMB = h.invokers.alive(h.now())
	if !s.NoHeadroom {
		q.lost = q.own.successors(q.invokers, q.memoryMB)
	}
	q.renewals = renewals(s.Pipeline, replicas)
	for _, o := range h.runningBut(s.Namespace + "/" + s.Pipeline.Name) {
		v, _ := o.look()
		d := demandOf(o.spec.Stages, v.status.Replicas)
		q.others.add(d.sizes)
		if o.namespace == s.Namespace {
			q.held += d.workers()
			q.otherRenewals += renewals(&o.spec, v.status.Replicas)
		}
	}
	for _, check := range []func() error{q.checkActivations, q.checkMemory, q.checkRenewals} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// renewals is how many leases of a pipeline are renewed in a minute.
func renewals(p *pipeline.Pipeline, replicas map[string]int) (n float64) {
	if p.LeaseMS <= 0 {
		return 0
	}
	for _, st := range p.Stages {
		d := demandOf([]pipeline.Stage{st}, replicas)
		n += conductor.Renewals(p.Lease(), d.workers())
	}
	return n
}

// quota is what a start needs and what there is.
type quota struct {
	step     control.Step
	limits   openwhisk.NamespaceLimits
	own      demand
	lost     sizes // what successors may have to be started for at once
	held     int   // activations of the namespace's other pipelines
	others   sizes // containers of all other pipelines
	invokers int   // alive
	memoryMB []int // of each; nil: unknown

	renewals, otherRenewals float64 // in a minute; of the namespace's other pipelines
}

func (q *quota) checkActivations() error {
	spare := q.lost.count()
	need, have := q.own.workers()+q.held+spare, q.limits.ConcurrentInvocations
	if have <= 0 || need <= have {
		return nil
	}
	return fmt.Errorf("pipeline %s needs %s and %d concurrent activations (%s, %d to replace lost ones); namespace %s has %d, of which other pipelines hold %d: raise concurrentInvocations or lower the replicas%s",
		q.step.Pipeline.Name, q.containers(), need-q.held, &q.own, spare, q.step.Namespace, have, q.held, q.orWithout(need-spare <= have))
}

// containers are the pipeline's, and those of successors.
func (q *quota) containers() sizes {
	out := maps.Clone(q.own.sizes)
	out.add(q.lost)
	return out
}

func (q *quota) checkMemory() error {
	without := maps.Clone(q.own.sizes)
	without.add(q.others)
	all := maps.Clone(without)
	all.add(q.lost)
	if q.memoryMB == nil || all.fit(q.memoryMB) {
		return nil
	}
	have, pieces := 0, ""
	for _, mb := range q.memoryMB {
		have += mb
	}
	if all.memoryMB() <= have {
		pieces = ", but no room for each container in one piece"
	}
	return fmt.Errorf("pipeline %s needs %s, %d MB in all (%d MB for its %s, %d MB to replace lost ones); the %d invokers that live have %d MB, of which other pipelines hold %d MB%s: lower the memory or the replicas, or add an invoker%s",
		q.step.Pipeline.Name, q.containers(), q.containers().memoryMB(), q.own.sizes.memoryMB(), &q.own, q.lost.memoryMB(),
		q.invokers, have, q.others.memoryMB(), pieces, q.orWithout(without.fit(q.memoryMB)))
}

// checkRenewals: half of the namespace's rate is for renewals, or without head-room all of it.
func (q *quota) checkRenewals() error {
	need, have := math.Ceil(q.renewals+q.otherRenewals), float64(q.limits.InvocationsPerMinute)
	if q.renewals == 0 || have <= 0 || need <= have/2 || q.step.NoHeadroom && need <= have {
		return nil
	}
	advice, share := "", ""
	if !q.step.NoHeadroom {
		share = "half of "
	}
	if !q.step.NoHeadroom && need <= have {
		advice = ", or start with --no-headroom"
	}
	return fmt.Errorf("pipeline %s renews %.0f leases a minute, and the namespace's other pipelines %.0f: more than %sthe %.0f invocations that namespace %s may make: lengthen the lease, raise invocationsPerMinute%s",
		q.step.Pipeline.Name, math.Ceil(q.renewals), math.Ceil(q.otherRenewals), share, have, q.step.Namespace, advice)
}

// orWithout is the advice to start without room for successors, if that is all that is missing.
func (q *quota) orWithout(enough bool) string {
	if !enough {
		return ""
	}
	return "; or start with --no-headroom, and a lost worker is replaced only when there is room again"
}

// runningBut lists the owners of all running pipelines but one.
func (h *Hook) runningBut(name string) []*owner {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*owner
	for _, o := range h.owners {
		if o.name != name && !o.ended() {
			out = append(out, o)
		}
	}
	return out
}
