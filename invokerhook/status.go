package invokerhook

import (
	"maps"
	"slices"
	"sync"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// view is what others may know of the brain after its last turn.
type view struct {
	spec   pipeline.Pipeline
	status control.PipelineStatus
	why    []control.WhyEntry
	stages map[string]readiness
}

// readiness of a stage; err is why it never will be ready.
type readiness struct {
	ready bool
	err   string
}

func slotOf(stage string) pipeline.Slot { return pipeline.Slot{Stage: stage} }

// publish makes a new view and wakes who waits for one.
func (o *owner) publish() {
	v := view{spec: o.brain.Pipeline(), status: o.brain.Status(), why: o.brain.Why(), stages: map[string]readiness{}}
	for _, s := range o.brain.Pipeline().Stages {
		ready, err := o.brain.StageReady(s.Name)
		v.stages[s.Name] = readiness{ready, err}
	}
	o.show(v)
}

// publishStall says that the registry can't be written. The next view doesn't.
func (o *owner) publishStall(err error) {
	v, _ := o.look()
	if v.status.Stalled != nil {
		return
	}
	v.status.Stalled = &control.Stall{SinceMS: o.hook.now().UnixMilli(), Reason: err.Error(), LeasesMS: o.brain.LeasesEnd()}
	o.show(v)
}

// publishLost says that this hook doesn't own the pipeline any more.
func (o *owner) publishLost(err error) {
	v, _ := o.look()
	v.status.Phase, v.status.Error = control.Failed, err.Error()
	v.stages = nil
	o.show(v)
}

func (o *owner) show(v view) {
	o.viewMu.Lock()
	defer o.viewMu.Unlock()
	o.view = v
	if o.ingress != "" {
		at, _ := o.ingressIn(v)
		o.guests.led(at)
	}
	close(o.changed)
	o.changed = make(chan struct{})
}

// look returns the present view, and a channel that is closed when there is another.
func (o *owner) look() (view, <-chan struct{}) {
	o.viewMu.Lock()
	defer o.viewMu.Unlock()
	return o.view, o.changed
}

// status is the brain's word with the workers' counters.
func (o *owner) status() control.PipelineStatus {
	v, _ := o.look()
	st := v.status
	st.Slots = slices.Clone(st.Slots)
	o.stats.merge(&st)
	for i := range st.Slots {
		st.Slots[i].Invoker = o.hook.acts.invokerOf(st.Slots[i].ActivationID)
	}
	st.StandBys = slices.Clone(st.StandBys)
	for i := range st.StandBys {
		st.StandBys[i].Invoker = o.hook.acts.invokerOf(st.StandBys[i].ActivationID)
	}
	return st
}

// status is the hook's word on itself.
func (h *Hook) status() control.HookStatus {
	now := h.now()
	n, _ := h.invokers.alive(now)
	out := control.HookStatus{Name: h.cfg.Host, Invokers: n, SkippedKafka: h.poisoned.Load(), Refused: map[string]uint64{},
		RingMemory: h.rings.bytes(), RingLimit: h.cfg.RingMemory}
	for kind, n := range h.Refused() {
		out.Refused[string(kind)] = n
	}
	if since := h.listener.silentMS.Load(); since != 0 {
		out.KafkaSilentMS = max(now.UnixMilli()-since, 1)
	}
	return out
}

// statsBoard has the last counters of each slot.
type statsBoard struct {
	mu   sync.Mutex
	last map[pipeline.Slot]control.Stats
}

func (b *statsBoard) put(s control.Stats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		b.last = map[pipeline.Slot]control.Stats{}
	}
	b.last[s.Slot] = s
}

func (b *statsBoard) merge(st *control.PipelineStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	hops := map[int64]uint64{}
	for i := range st.Slots {
		x := &st.Slots[i]
		s, ok := b.last[x.Slot]
		if !ok || s.Incarnation != x.Incarnation {
			continue
		}
		x.PID, x.FuncPID, x.In, x.Out, x.Failed, x.Links = s.PID, s.FuncPID, s.In, s.Out, s.Failed, s.Links
		if len(x.Fused) == len(s.Fused) { // a worker's word on its stages' counters, not on their names
			fused := slices.Clone(s.Fused)
			for k := range fused {
				fused[k].Stage = x.Fused[k].Stage
			}
			x.Fused = fused
		}
		for _, h := range s.HopUS {
			hops[h.UpTo] += h.Count
		}
	}
	st.HopP50US, st.HopP99US = percentile(hops, 0.50), percentile(hops, 0.99)
}

// percentile is the bound of the bucket in which the share q of all hops is reached; 0 without hops.
func percentile(hops map[int64]uint64, q float64) int64 {
	var total uint64
	for _, n := range hops {
		total += n
	}
	if total == 0 {
		return 0
	}
	want, seen := uint64(q*float64(total)+0.5), uint64(0)
	for _, upTo := range slices.Sorted(maps.Keys(hops)) {
		if seen += hops[upTo]; seen >= max(want, 1) {
			return upTo
		}
	}
	return 0
}
