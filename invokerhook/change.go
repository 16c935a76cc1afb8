package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
)

func asksForChange(e conductor.Event) bool {
	switch e.(type) {
	case conductor.Scale, conductor.Restart, conductor.Update:
		return true
	}
	return false
}

// admitChange asks the brain first whether a change can be; who asked hears at once when it can't.
func (o *owner) admitChange(it *item) conductor.Event {
	var err error
	switch e := it.event.(type) {
	case conductor.Scale:
		_, err = o.brain.CheckScale(e.Replicas)
	case conductor.Restart:
		err = o.brain.CheckRestart(e.Stage)
	}
	if err != nil {
		it.answer(control.Answer{Err: err})
		it.answer = nil
		return nil
	}
	return it.event
}

// scale asks for other numbers of slots, if there is room for them, and waits until they are there.
func (o *owner) scale(ctx context.Context, s control.Step) (any, error) {
	v, _ := o.look()
	replicas := map[string]int{}
	for stage, n := range v.status.Replicas {
		replicas[stage] = max(n, s.Replicas[stage])
	}
	s.Pipeline = &o.spec
	if err := o.hook.checkQuota(ctx, s, replicas); err != nil {
		return nil, err
	}
	return o.change(ctx, conductor.Scale{Replicas: s.Replicas}, s.WaitMS)
}

// update tells a pipeline that runs of the spec that was deployed.
func (h *Hook) update(ctx context.Context, o *owner, s control.Step) (any, error) {
	if s.Pipeline == nil {
		return nil, errors.New("update without a pipeline")
	}
	if o == nil || o.ended() {
		records, err := h.registry.read(ctx)
		if rec := records[s.Namespace+"/"+s.Name]; err == nil && rec.Snapshot != nil && rec.Host != h.cfg.Host {
			err = fmt.Errorf("pipeline %s is owned by the hook on %s, which alone can change it", s.Name, rec.Host)
		}
		return control.Updated{}, err
	}
	deployed := s.Pipeline.Public()
	v, _ := o.look()
	out := control.Updated{Running: true, Differs: v.spec.Differs(&deployed)}
	if out.Differs != "" {
		return out, nil
	}
	for i, was := range v.spec.Transports() {
		if t := deployed.Transports()[i]; t != was {
			e := deployed.Edges[i]
			out.Links = append(out.Links, control.Moved{From: e.From, To: e.To, Transport: t})
		}
	}
	asked := make(chan error, 1)
	o.post(item{event: conductor.Update{Pipeline: deployed}, answer: func(a control.Answer) { asked <- a.Err }})
	select {
	case err := <-asked:
		return out, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// change hands what was asked for to the brain, and returns the status when it is done or the time is over.
func (o *owner) change(ctx context.Context, e conductor.Event, waitMS int64) (any, error) {
	asked := make(chan error, 1)
	o.post(item{event: e, answer: func(a control.Answer) { asked <- a.Err }})
	late := time.NewTimer(waitOf(waitMS))
	defer late.Stop()
	select {
	case err := <-asked:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		v, changed := o.look()
		st := v.status
		switch {
		case st.Phase != control.Running:
			return nil, fmt.Errorf("pipeline %s is %s: %s", o.pipeline, st.Phase, st.Error)
		case st.GivenUp != "":
			return nil, errors.New(st.GivenUp)
		case st.Change == "" && st.Wanted == nil && !slices.ContainsFunc(st.Slots, func(s control.SlotStatus) bool { return s.Moving }):
			return o.status(), nil
		}
		select {
		case <-changed:
		case <-late.C:
			return o.status(), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
