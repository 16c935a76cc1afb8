package pipeline

import "fmt"

// IngressName is the action that takes a pipeline's events by invocation, beside those of its stages, and
// what the container of such an activation is called in the mesh. No vertex has this name there.
const IngressName = "ingress"

// Ingress is the source that takes events by invocation; nil without one.
func (p *Pipeline) Ingress() *Stage {
	for i := range p.Stages {
		if s := p.Stages[i].Source; s != nil && s.Ingress {
			return &p.Stages[i]
		}
	}
	return nil
}

// Returns lists the edges by which sinks give what they get back to the ingress. They lead against the
// graph, which they are no part of: their numbers follow those of Edges, and no barrier goes on them.
func (p *Pipeline) Returns() []Edge {
	in := p.Ingress()
	if in == nil {
		return nil
	}
	var out []Edge
	for _, s := range p.Stages {
		if s.Sink != nil {
			out = append(out, Edge{From: s.Name, To: in.Name, Routing: Balance})
		}
	}
	return out
}

// ingress checks a source that takes events by invocation. What it has accepted is in its worker's memory
// alone.
func (c *checker) ingress(at string, s SourceSpec) {
	if s.Format != "" {
		c.problemAt(at+".format", "the parameters of an invocation are the event: remove the format")
	}
	switch Guarantee(c.spec.Spec.Guarantee) {
	case "", AtLeastOnce:
		c.problemAt(at+".ingress", "an ingress has no journal yet: what it has accepted is lost with its worker, which at-least-once (the default) rules out; write guarantee: best-effort")
	}
}

// callers checks what an ingress asks of the rest of the pipeline: whoever invokes it waits for all that
// the sinks get, so that nothing else comes in, and nothing goes elsewhere.
func (c *checker) callers(p *Pipeline) {
	in := p.Ingress()
	for i, s := range p.Stages { // in the spec's order still
		at := fmt.Sprintf("spec.vertices[%d]", i)
		switch {
		case in == nil && s.Sink != nil && s.Sink.Reply:
			c.problemAt(at+".sink.reply", fmt.Sprintf("%q replies to invocations, and no source takes any: want one with ingress: {}", s.Name))
		case in == nil:
		case s.Name == IngressName:
			c.problemAt(at+".name", fmt.Sprintf("a pipeline with an ingress has an action of its own called %q: call this vertex something else", IngressName))
		case s.Source != nil && s.Name != in.Name:
			c.problemAt(at+".source", fmt.Sprintf("%q is an ingress: it must be the only source", in.Name))
		case s.Sink != nil && !s.Sink.Reply:
			c.problemAt(at+".sink", fmt.Sprintf("%q is an ingress: what a sink gets is its caller's; want sink: {reply: {}}", in.Name))
		case s.Source != nil && s.TimeoutMS > MaxLease.Milliseconds():
			c.problemAt(at+".timeout", fmt.Sprintf("a caller waits at most %v, the time limit of an action", MaxLease))
		}
	}
}
