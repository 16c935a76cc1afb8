package invokerhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
)

// Bounds of how long a step may wait.
const (
	stepWait = 45 * time.Second // when it doesn't say
	stepMax  = 5 * time.Minute
)

// step takes a component of the conductor action's composition. Each has the key of the namespace: a
// container's word on that would not do.
func (p *peer) step(m *control.Message, reply func(control.Answer)) {
	var s control.Step
	if err := m.Decode(&s); err != nil {
		reply(control.Answer{Err: err})
		return
	}
	p.work(reply, func(ctx context.Context) {
		result, err := p.hook.doStep(ctx, s)
		if err != nil {
			p.hook.log.Info().Str("step", s.Step).Str("namespace", s.Namespace).Str("pipeline", s.Name).Msg("step failed")
			// It may quote what a function has printed, or the user's code.
			p.hook.log.Debug().Str("step", s.Step).Err(err).Msg("because")
			reply(control.Answer{Err: err})
			return
		}
		b, err := json.Marshal(result)
		reply(control.Answer{Body: control.StepReply{Result: b}, Err: err})
	})
}

func (h *Hook) doStep(ctx context.Context, s control.Step) (any, error) {
	namespace, err := h.platform.opens(ctx, s.APIKey, s.Namespace)
	if err != nil {
		return nil, err
	}
	s.Namespace = namespace
	if s.Step == "start" {
		return h.begin(ctx, s)
	}
	o := h.owner(namespace + "/" + s.Name)
	if s.Step == "update" {
		return h.update(ctx, o, s)
	}
	if o == nil {
		return nil, fmt.Errorf("no pipeline %s in namespace %s runs here: start it first", s.Name, namespace)
	}
	switch s.Step {
	case "await":
		return o.await(ctx, s)
	case "report":
		st := o.status()
		if st.Phase == control.Failed {
			return nil, fmt.Errorf("pipeline %s has failed: %s", o.pipeline, st.Error)
		}
		return st, nil
	case "status":
		return o.status(), nil
	case "stop":
		o.post(item{event: conductor.Stop{Reason: "stopped by the conductor action"}})
		return o.awaitEnd(ctx, s.WaitMS)
	case "scale":
		return o.scale(ctx, s)
	case "restart":
		return o.change(ctx, conductor.Restart{Stage: s.Stage}, s.WaitMS)
	}
	return nil, fmt.Errorf("the hook knows no step %q: want start, await, report, stop, status, scale, restart or update", s.Step)
}

// Awaited is the result of an await: Ready is false when the time was over first, and Waiting then
// says for what.
type Awaited struct {
	Stage   string   `json:"stage"`
	Ready   bool     `json:"ready"`
	Waiting []string `json:"waiting,omitempty"`
}

// await returns when all slots of the stage are ready, the pipeline can't get there, or the time is over.
func (o *owner) await(ctx context.Context, s control.Step) (any, error) {
	late := time.NewTimer(waitOf(s.WaitMS))
	defer late.Stop()
	for {
		v, changed := o.look()
		stage, known := v.stages[s.Stage]
		switch {
		case v.status.Phase == control.Failed:
			return nil, fmt.Errorf("pipeline %s could not start: %s", o.pipeline, v.status.Error)
		case !known:
			return nil, fmt.Errorf("pipeline %s has no stage %q", o.pipeline, s.Stage)
		case stage.err != "":
			return nil, fmt.Errorf("stage %s: %s", s.Stage, stage.err)
		case stage.ready:
			return Awaited{Stage: s.Stage, Ready: true}, nil
		}
		select {
		case <-changed:
		case <-late.C:
			return Awaited{Stage: s.Stage, Waiting: waiting(v.status, s.Stage)}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func waiting(st control.PipelineStatus, stage string) []string {
	var out []string
	for _, s := range st.Slots {
		if s.Slot.Stage == stage && s.State != "ready" {
			out = append(out, fmt.Sprintf("%v is %s", s.Slot, s.State))
		}
	}
	return out
}

// awaitEnd returns the status when the pipeline has ended, or the time is over.
func (o *owner) awaitEnd(ctx context.Context, waitMS int64) (any, error) {
	late := time.NewTimer(waitOf(waitMS))
	defer late.Stop()
	select {
	case <-o.done:
	case <-late.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return o.status(), nil
}

func waitOf(ms int64) time.Duration {
	if ms <= 0 {
		return stepWait
	}
	return min(time.Duration(ms)*time.Millisecond, stepMax)
}

// Begun is the result of a start.
type Begun struct {
	Pipeline string   `json:"pipeline"`
	Term     uint32   `json:"term"`
	Slots    int      `json:"slots"`
	Stages   []string `json:"stages"` // in the order in which they become ready: sinks first
}

// begin makes this hook the pipeline's owner, and starts it.
func (h *Hook) begin(ctx context.Context, s control.Step) (any, error) {
	if s.Pipeline == nil || len(s.Pipeline.Stages) == 0 {
		return nil, errors.New("start without a pipeline")
	}
	pl := s.Pipeline.Public() // a deployed one is already
	if pl.Name == "" || strings.ContainsAny(pl.Name, "/:") {
		return nil, fmt.Errorf("start of a pipeline with the name %q", pl.Name)
	}
	if err := h.checkQuota(ctx, s, nil); err != nil {
		return nil, err
	}
	o, err := h.found(ctx, s.Namespace, s.APIKey, pl)
	if err != nil {
		return nil, err
	}
	st := o.awaitTaken(ctx, time.Duration(s.WaitMS)*time.Millisecond)
	return Begun{Pipeline: pl.Name, Term: st.Term, Slots: len(st.Slots), Stages: pl.SinksFirst()}, nil
}

// awaitTaken returns when every slot has a holder, the pipeline can't get there, or the time is over. The
// steps that follow start containers of their own, which would only slow down the workers' start.
func (o *owner) awaitTaken(ctx context.Context, wait time.Duration) control.PipelineStatus {
	late := time.NewTimer(min(wait, stepMax))
	defer late.Stop()
	for {
		v, changed := o.look()
		missing := slices.ContainsFunc(v.status.Slots, func(s control.SlotStatus) bool { return s.Addr == "" })
		if v.status.Phase != control.Starting || !missing {
			return v.status
		}
		select {
		case <-changed:
		case <-late.C:
			return v.status
		case <-ctx.Done():
			return v.status
		}
	}
}

// errorText is the error that an activation's result tells, if any.
func errorText(result json.RawMessage) string {
	var r struct {
		Error any `json:"error"`
	}
	if json.Unmarshal(result, &r) != nil || r.Error == nil {
		return ""
	}
	if s, ok := r.Error.(string); ok {
		return strings.TrimSpace(s)
	}
	b, err := json.Marshal(r.Error)
	if err != nil {
		return ""
	}
	return string(b)
}
