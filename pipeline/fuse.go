package pipeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// MaxFused bounds the stages of a group: a worker counts the events of each.
const MaxFused = 256

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
		if reason == "" && steps(before, e.From)+steps(next, e.To) > MaxFused {
			reason = fmt.Sprintf("a group has at most %d functions", MaxFused)
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

// steps counts the stages of a path from one on.
func steps(path map[string]string, from string) (n int) {
	for ; from != ""; from = path[from] {
		n++
	}
	return n
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

// GroupOf is the name of the group that a stage is in; its own name, unless another stage's worker has it.
func (p *Pipeline) GroupOf(stage string) string {
	for _, g := range p.Stages {
		if slices.ContainsFunc(g.Fused, func(s Stage) bool { return s.Name == stage }) {
			return g.Name
		}
	}
	return stage
}

// Unfused tells, in words, which functions were to be fused and are not.
func (p *Pipeline) Unfused() (out []string) {
	function := func(name string) bool { s := p.Stage(name); return s != nil && s.Function != nil }
	for _, e := range p.Edges {
		if e.Apart != "" && function(e.From) && function(e.To) {
			out = append(out, fmt.Sprintf("%s and %s: %s", cmp.Or(e.Origin, e.From), e.To, e.Apart))
		}
	}
	return out
}

// Unknown is the error of a name that no stage has, or none with a worker of its own.
func (p *Pipeline) Unknown(stage string) error {
	if g := p.GroupOf(stage); g != stage {
		return fmt.Errorf("stage %s is fused with %s, and has no worker of its own: name %s, or set fuse: never", stage, g, g)
	}
	return fmt.Errorf("pipeline %s has no stage %q", p.Name, stage)
}

// FusedCode is the file in a fused group's code that lists its stages: a JSON array of FusedPart.
const FusedCode = "weft-fused.json"

// FusedPart is where the code of one of a group's stages is.
type FusedPart struct {
	Stage string `json:"stage"`
	Dir   string `json:"dir"`            // in the group's code; a name that no import of the stage's own has
	Main  string `json:"main,omitempty"` // as in Function
}

// FusedParts lists where the code of the group's stages is to be.
func (s *Stage) FusedParts() []FusedPart {
	out := make([]FusedPart, len(s.Fused))
	for i, f := range s.Fused {
		// The number parts names that differ in case alone, which Go's packages must not.
		out[i] = FusedPart{Stage: f.Name, Dir: fmt.Sprintf("stage%d-%s", i+1, f.Name), Main: f.Function.Main}
	}
	return out
}

// FusedParameters names the parameter of a group's action that has those of one of its stages.
func FusedParameters(stage string) string { return "weft:" + stage }
