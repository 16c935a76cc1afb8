package pipeline

import (
	"fmt"
	"maps"
	"slices"
)

// maxFusedMB bounds the memory of a fused group, as Parse does that of a function.
const maxFusedMB = 512

// Fuse gives p with each group of stages that can share a worker process as one stage, which has the name of
// the group's first: whoever runs p takes it for a stage like any other. A group is a path of functions, each
// of whose edges to the next asks for it and allows it; edges that ask and don't have the reason in Apart.
// code says why a function's code can't be part of a group, or "".
func Fuse(p *Pipeline, code func(*Function) string) *Pipeline {
	out := *p
	out.Edges = slices.Clone(p.Edges)
	next, before := map[string]string{}, map[string]string{}
	for i, e := range out.Edges {
		if !e.Fuse {
			continue
		}
		reason := p.apart(e, code)
		if reason == "" && next[e.From] != "" {
			reason = fmt.Sprintf("%s is fused with %s already, and an event is handed on by one call", e.From, next[e.From])
		}
		if out.Edges[i].Apart = reason; reason == "" {
			next[e.From], before[e.To] = e.To, e.From
		}
	}
	out.Stages = nil
	first := map[string]string{} // of a stage's group
	for _, s := range p.Stages {
		if before[s.Name] != "" {
			continue
		}
		group := []Stage{s}
		first[s.Name] = s.Name
		for name := next[s.Name]; name != ""; name = next[name] {
			group = append(group, *p.Stage(name))
			first[name] = s.Name
		}
		if len(group) > 1 {
			s = fused(group)
		}
		out.Stages = append(out.Stages, s)
	}
	out.Edges = slices.DeleteFunc(out.Edges, func(e Edge) bool { return e.Fuse && e.Apart == "" })
	for i := range out.Edges {
		if e := &out.Edges[i]; first[e.From] != e.From {
			e.From, e.Origin = first[e.From], e.From
		}
	}
	return &out
}

// apart is why the ends of an edge can't share a process; "" if they can.
func (p *Pipeline) apart(e Edge, code func(*Function) string) string {
	from, to := p.Stage(e.From), p.Stage(e.To)
	for _, s := range []*Stage{from, to} {
		switch {
		case s.Function == nil:
			return s.Name + " is no function"
		case s.Function.Action != "":
			return s.Name + " is an existing action: its code is not in this pipeline's hands"
		}
	}
	inputs := 0
	for _, other := range p.Edges {
		if other.To == e.To {
			inputs++
		}
	}
	a, b := from.Function, to.Function
	switch {
	case p.Ingress() != nil:
		return "whoever invokes an ingress waits for all that comes of an event, which is counted from stage to stage"
	case e.Routing != Forward && e.Routing != Balance:
		return "its routing is " + string(e.Routing)
	case e.Transport != Auto && e.Transport != "":
		return "its transport is to be " + string(e.Transport)
	case inputs > 1:
		return e.To + " has other inputs"
	case a.Kind != b.Kind:
		return fmt.Sprintf("%s is of kind %s, %s of %s", e.From, a.Kind, e.To, b.Kind)
	case from.Replicas != to.Replicas || from.Replicas.Min != from.Replicas.Max:
		return fmt.Sprintf("%s has %s replicas, %s has %s: want one number for both", e.From, from.Replicas, e.To, to.Replicas)
	case from.Stateful != to.Stateful:
		return "one of them is stateful, the other isn't: a death costs more than it has to"
	case from.Retries != to.Retries:
		return fmt.Sprintf("%s has %d retries, %s has %d", e.From, from.Retries, e.To, to.Retries)
	case !maps.Equal(a.Env, b.Env):
		return "their env differs, and a process has one"
	}
	for _, s := range []*Stage{from, to} {
		if reason := code(s.Function); reason != "" {
			return s.Name + " " + reason
		}
	}
	return ""
}

// fused is a group as one stage. An event may take the time of all of its stages.
func fused(group []Stage) Stage {
	out := group[0]
	out.Fused = group
	out.Function = &Function{Kind: out.Function.Kind, Env: out.Function.Env}
	for _, s := range group[1:] {
		out.TimeoutMS += s.TimeoutMS
		out.MemoryMB += s.MemoryMB
		out.Standby = max(out.Standby, s.Standby)
	}
	out.MemoryMB = min(out.MemoryMB, maxFusedMB)
	return out
}

// GroupOf is the stage that name is fused with, and runs in; nil unless it is such a one.
func (p *Pipeline) GroupOf(name string) *Stage {
	for i := range p.Stages {
		for _, s := range p.Stages[i].Fused {
			if s.Name == name && p.Stages[i].Name != name {
				return &p.Stages[i]
			}
		}
	}
	return nil
}
