package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// graph checks what only the whole of a pipeline tells, and puts its stages in topological order.
type graph struct {
	*checker
	p *Pipeline
}

func (g *graph) check() {
	for i, e := range g.p.Edges {
		g.edgeEnds(i, e)
	}
	g.sort()
	g.reachable()
}

// edgeAt is where the edge stands in the spec.
func (g *graph) edgeAt(from, to string) string {
	for i, e := range g.p.Edges {
		if e.From == from && e.To == to {
			return fmt.Sprintf("spec.edges[%d]", i)
		}
	}
	return "spec.edges"
}

func (g *graph) edgeEnds(i int, e Edge) {
	at := fmt.Sprintf("spec.edges[%d]", i)
	from, to := g.p.Stage(e.From), g.p.Stage(e.To)
	if from == nil || to == nil {
		return // reported
	}
	for j, other := range g.p.Edges[:i] {
		if other.From == e.From && other.To == e.To && other.OnError == e.OnError {
			g.problemAt(at, fmt.Sprintf("edge %s → %s is given twice; the first is spec.edges[%d]", e.From, e.To, j))
		}
	}
	if from.Sink != nil {
		g.problemAt(at+".from", fmt.Sprintf("%q is a sink: nothing comes out of it", e.From))
	}
	if to.Source != nil {
		g.problemAt(at+".to", fmt.Sprintf("%q is a source: nothing goes into it", e.To))
	}
	if e.Routing == Forward && from.Replicas != to.Replicas {
		g.problemAt(at+".routing", fmt.Sprintf("forward joins slots of the same index: %q has replicas %s, %q has %s",
			e.From, from.Replicas, e.To, to.Replicas))
	}
	if to.Stateful && to.Replicas.Max > 1 && e.Routing != Key && e.Routing != Broadcast {
		g.problemAt(at+".routing", fmt.Sprintf("%q keeps state in several replicas: its events must come by key or broadcast, not %s", e.To, e.Routing))
	}
}

func (r Replicas) String() string { return fmt.Sprintf("%d to %d", r.Min, r.Max) }

// sort brings the stages into topological order, keeping the spec's order where it can. Where they go
// round in a circle it reports that and goes on without the edge that closes it.
func (g *graph) sort() {
	waiting := map[string]int{}
	edges := slices.Clone(g.p.Edges)
	for _, e := range edges {
		if g.p.Stage(e.From) != nil { // else reported, and never sorted
			waiting[e.To]++
		}
	}
	var sorted []Stage
	rest := slices.Clone(g.p.Stages)
	for len(rest) > 0 {
		i := slices.IndexFunc(rest, func(s Stage) bool { return waiting[s.Name] == 0 })
		if i < 0 {
			circle := g.cycle(rest)
			from, to := circle[len(circle)-2], circle[len(circle)-1]
			g.problemAt(g.edgeAt(from, to), "the edges go round in a circle: "+strings.Join(circle, " → "))
			edges = slices.DeleteFunc(edges, func(e Edge) bool {
				closes := e.From == from && e.To == to
				if closes {
					waiting[to]--
				}
				return closes
			})
			continue
		}
		for _, e := range edges {
			if e.From == rest[i].Name {
				waiting[e.To]--
			}
		}
		sorted = append(sorted, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	g.p.Stages = sorted
}

// cycle finds one circle among rest, each of which has a predecessor there: it walks backwards until
// it meets itself.
func (g *graph) cycle(rest []Stage) []string {
	left := map[string]bool{}
	for _, s := range rest {
		left[s.Name] = true
	}
	var back []string
	for name := rest[0].Name; ; name = g.before(name, left) {
		if i := slices.Index(back, name); i >= 0 {
			circle := append(back[i:], name)
			slices.Reverse(circle)
			return circle
		}
		back = append(back, name)
	}
}

func (g *graph) before(name string, among map[string]bool) string {
	for _, e := range g.p.Edges {
		if e.To == name && among[e.From] {
			return e.From
		}
	}
	return name
}

// reachable reports stages that no source feeds or that lead to no sink. What has been reported gives no
// further problem: a name that is no stage's is taken for the one it is near to, and for anything where it
// is near to none; a vertex that is nothing, several things, or given twice, for a source and a sink.
func (g *graph) reachable() {
	fed, drained := map[string]bool{"": true}, map[string]bool{"": true}
	names := g.stageNames(g.p.Stages)
	for _, v := range g.spec.Spec.Vertices {
		_, twice := fed[v.Name]
		odd := twice || count(v.Source != nil, v.Function != nil, v.Sink != nil) != 1
		fed[v.Name], drained[v.Name] = odd || v.Source != nil, odd || v.Sink != nil
	}
	for again := true; again; {
		again = false
		for _, e := range g.p.Edges {
			from, to := meant(e.From, names), meant(e.To, names)
			if fed[from] && !fed[to] {
				fed[to], again = true, true
			}
			if drained[to] && !drained[from] {
				drained[from], again = true, true
			}
		}
	}
	for i, v := range g.spec.Spec.Vertices {
		at := fmt.Sprintf("spec.vertices[%d].name", i)
		switch {
		case !fed[v.Name]:
			g.problemAt(at, fmt.Sprintf("no source leads to %q: add an edge to it", v.Name))
		case !drained[v.Name]:
			g.problemAt(at, fmt.Sprintf("%q leads to no sink: add an edge from it", v.Name))
		}
	}
}

// meant is a stage's name, or the one it is near to.
func meant(name string, names []string) string {
	if slices.Contains(names, name) {
		return name
	}
	return nearest(name, names)
}
