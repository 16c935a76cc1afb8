package pipeline_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/pipeline"
)

// fuse parses a spec whose vertices and edges are given and fuses it. No code is looked at but for its name.
func fuse(t testing.TB, vertices, edges string) *pipeline.Pipeline {
	t.Helper()
	spec := "apiVersion: weft/v1\nkind: Pipeline\nmetadata: {name: p}\nspec:\n  fuse: auto\n  vertices:\n" +
		"    - {name: in, source: {stdin: {}}}\n" + vertices + "    - {name: out, sink: {stdout: {}}}\n  edges:\n" + edges
	p, err := pipeline.Parse("p.yaml", []byte(spec), pipeline.Options{})
	if err != nil {
		t.Fatalf("%s\n%v", spec, err)
	}
	return pipeline.Fuse(p, func(f *pipeline.Function) string {
		if strings.HasSuffix(f.Source, "prebuilt.go") {
			return "is prebuilt"
		}
		return ""
	})
}

func names(stages []pipeline.Stage) (out []string) {
	for _, s := range stages {
		out = append(out, s.Name)
	}
	return out
}

// edges writes those of p: from.origin → to.
func edges(p *pipeline.Pipeline) (out []string) {
	for _, e := range p.Edges {
		from := e.From
		if e.Origin != "" {
			from += "." + e.Origin
		}
		out = append(out, from+" → "+e.To)
	}
	return out
}

// TestFusedGroup: three stages become one, whose edges are theirs.
func TestFusedGroup(t *testing.T) {
	p := fuse(t, `
    - {name: a, function: {source: a.go, parameters: {n: 1}}, timeout: 1s, standby: 1}
    - {name: b, function: {source: b.go}, timeout: 2s, standby: 2}
    - {name: c, function: {source: c.go, memory: 128}, timeout: 4s}
    - {name: late, function: {source: late.py}}
`, `
    - {from: in, to: a}
    - {from: a, to: b}
    - {from: b, to: c, routing: forward}
    - {from: c, to: out}
    - {from: b, to: late}
    - {from: b, to: late, on: error}
    - {from: a, to: out, on: error}
    - {from: late, to: out}
`)
	if got, want := names(p.Stages), []string{"in", "a", "late", "out"}; !slices.Equal(got, want) {
		t.Fatalf("stages %v, want %v", got, want)
	}
	a := p.Stage("a")
	if got, want := names(a.Fused), []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("fused %v, want %v", got, want)
	}
	if a.TimeoutMS != 7000 || a.MemoryMB != 512 || a.Standby != 2 || a.Function.Kind != "go:1.26" || a.Fused[0].Function.Parameters["n"] == nil {
		t.Errorf("the group is %+v", a)
	}
	want := []string{"in → a", "a.c → out", "a.b → late", "a.b → late", "a → out", "late → out"}
	if got := edges(p); !slices.Equal(got, want) {
		t.Errorf("edges\n%v, want\n%v", got, want)
	}
	if c, late := p.GroupOf("c"), p.GroupOf("late"); c != "a" || late != "late" {
		t.Errorf("the groups of c and late are %s and %s", c, late)
	}
	if err := p.Unknown("c"); !strings.Contains(err.Error(), "is fused with a") {
		t.Error(err)
	}
	if got := p.Unfused(); len(got) != 1 || got[0] != "b and late: late has other inputs" {
		t.Errorf("unfused: %q", got)
	}
}

// TestWhyNotFused: each rule, in the words that the user sees.
func TestWhyNotFused(t *testing.T) {
	for _, c := range []struct{ a, b, edge, more, want string }{
		{"", "", "", "", ""},
		{"", "", ", fuse: never", "", "never"},
		{"", "", ", routing: key, key: x", "", "its routing is key"},
		{"", "", ", routing: broadcast", "", "its routing is broadcast"},
		{"", "", ", transport: shm", "", "its transport is to be shm"},
		{"", "", "", "    - {from: in, to: b}\n", "b has other inputs"},
		{"", "", "", "    - {from: a, to: b, on: error}\n", "b has other inputs"},
		{", replicas: {min: 2}", "", "", "", "a has 2 to 2 replicas, b has 1 to 1: want one number for both"},
		{", replicas: {max: 2}", ", replicas: {max: 2}", "", "", "a has 1 to 2 replicas, b has 1 to 2: want one number for both"},
		{", replicas: {min: 2}", ", replicas: {min: 2}", "", "", ""},
		{", stateful: true", "", "", "", "one of them is stateful, the other isn't: a death costs more than it has to"},
		{", stateful: true", ", stateful: true", "", "", ""},
		{", retries: 1", "", "", "", "a has 1 retries, b has 2"},
		{"env", "", "", "", "their env differs, and a process has one"},
		{"py", "", "", "", "a is of kind python:3, b of go:1.26"},
		{"action", "", "", "", "a is an existing action: its code is not in this pipeline's hands"},
		{"", "prebuilt", "", "", "b is prebuilt"},
	} {
		vertex := func(name, with string) string {
			function, rest := "{source: "+name+".go}", with
			switch with {
			case "env":
				function, rest = "{source: a.go, env: {A: x}}", ""
			case "py":
				function, rest = "{source: a.py}", ""
			case "action":
				function, rest = "{action: /guest/a}", ""
			case "prebuilt":
				function, rest = "{source: prebuilt.go}", ""
			}
			return fmt.Sprintf("    - {name: %s, function: %s%s}\n", name, function, rest)
		}
		p := fuse(t, vertex("a", c.a)+vertex("b", c.b),
			"    - {from: in, to: a, fuse: never}\n    - {from: a, to: b"+c.edge+"}\n    - {from: b, to: out}\n"+c.more)
		if fused := p.Stage("b") == nil; fused != (c.want == "") {
			t.Errorf("%q, %q, %q, %q: fused %v, want %q", c.a, c.b, c.edge, c.more, fused, c.want)
			continue
		}
		for _, e := range p.Edges {
			if e.From == "a" && e.To == "b" && !e.OnError && e.Apart != strings.TrimPrefix(c.want, "never") {
				t.Errorf("%q, %q, %q, %q: %q, want %q", c.a, c.b, c.edge, c.more, e.Apart, c.want)
			}
			if e.To == "out" && e.Fuse && e.Apart != "out is no function" {
				t.Errorf("the sink: %q", e.Apart)
			}
		}
	}
}

// TestOneSuccessor: an event is handed on by one call; the other edge stays one.
func TestOneSuccessor(t *testing.T) {
	p := fuse(t, "    - {name: a, function: {source: a.go}}\n    - {name: b, function: {source: b.go}}\n    - {name: c, function: {source: c.go}}\n",
		"    - {from: in, to: a}\n    - {from: a, to: b}\n    - {from: a, to: c}\n    - {from: b, to: out}\n    - {from: c, to: out}\n")
	if got, want := edges(p), []string{"in → a", "a → c", "a.b → out", "c → out"}; !slices.Equal(got, want) {
		t.Errorf("edges %v, want %v", got, want)
	}
	if got := p.Edges[1].Apart; !strings.HasPrefix(got, "a is fused with b already") {
		t.Errorf("a → c: %q", got)
	}
}

// TestLongestGroup: a path that is too long becomes several groups, in whatever order its edges come.
func TestLongestGroup(t *testing.T) {
	const n = pipeline.MaxFused + 50
	var vertices strings.Builder
	lines := []string{"    - {from: in, to: f0}\n", fmt.Sprintf("    - {from: f%d, to: out}\n", n-1)}
	for i := range n {
		fmt.Fprintf(&vertices, "    - {name: f%d, function: {source: f.go}}\n", i)
		if i > 0 {
			lines = append(lines, fmt.Sprintf("    - {from: f%d, to: f%d}\n", i-1, i))
		}
	}
	for range 2 {
		total := 0
		for _, s := range fuse(t, vertices.String(), strings.Join(lines, "")).Stages {
			total += max(len(s.Fused), 1)
			if len(s.Fused) > pipeline.MaxFused {
				t.Errorf("%s has %d stages", s.Name, len(s.Fused))
			}
		}
		if total != n+2 {
			t.Errorf("%d stages of %d", total, n+2)
		}
		slices.Reverse(lines)
	}
}

func TestIngressIsNotFused(t *testing.T) {
	spec := "apiVersion: weft/v1\nkind: Pipeline\nmetadata: {name: p}\nspec:\n  guarantee: best-effort\n  fuse: auto\n  vertices:\n" +
		"    - {name: in, source: {ingress: {}}}\n    - {name: a, function: {source: a.go}}\n    - {name: b, function: {source: b.go}}\n" +
		"    - {name: out, sink: {reply: {}}}\n  edges:\n    - {from: in, to: a}\n    - {from: a, to: b}\n    - {from: b, to: out}\n"
	p, err := pipeline.Parse("p.yaml", []byte(spec), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p = pipeline.Fuse(p, func(*pipeline.Function) string { return "" }); p.Stage("b") == nil || !strings.Contains(p.Edges[1].Apart, "ingress") {
		t.Errorf("edges %+v", p.Edges)
	}
}

func TestPublicGroupHasNoSecrets(t *testing.T) {
	p := fuse(t, "    - {name: a, function: {source: a.go, env: {K: canary}, parameters: {p: canary}}}\n    - {name: b, function: {source: b.go, env: {K: canary}, parameters: {p: canary}}}\n",
		"    - {from: in, to: a}\n    - {from: a, to: b}\n    - {from: b, to: out}\n")
	public := p.Public()
	if b, err := json.Marshal(public); err != nil || strings.Contains(string(b), "canary") || len(public.Stage("a").Fused) != 2 {
		t.Errorf("%s, %v", b, err)
	}
	if p.Stage("a").Fused[1].Function.Env == nil {
		t.Error("the pipeline itself has lost them")
	}
}

// TestFusedGraph: whatever the graph, fusing keeps every stage once, all edges that are no calls, an order in
// which events only go forward, and joins no two stages that an edge from elsewhere parts.
func TestFusedGraph(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 7).Draw(r, "functions")
		var vertices, lines strings.Builder
		wanted := map[string]int{} // edges, by their ends
		for i := range n {
			fmt.Fprintf(&vertices, "    - {name: f%d, function: {source: f.go}}\n", i)
			from := rapid.IntRange(-1, i-1).Draw(r, "from")
			more := rapid.IntRange(-1, i-1).Draw(r, "more")
			for k, f := range []int{from, more} {
				if k == 1 && (more == from || more < 0) {
					continue
				}
				name := "in"
				if f >= 0 {
					name = fmt.Sprint("f", f)
				}
				fmt.Fprintf(&lines, "    - {from: %s, to: f%d, fuse: %s}\n", name, i, rapid.SampledFrom([]string{"auto", "never"}).Draw(r, "fuse"))
				wanted[fmt.Sprint(name, " f", i)]++
			}
			fmt.Fprintf(&lines, "    - {from: f%d, to: out}\n", i)
		}
		p := fuse(t, vertices.String(), lines.String())
		at, seen := map[string]int{}, 0 // of a stage's group
		for i, s := range p.Stages {
			group := s.Fused
			if group == nil {
				group = []pipeline.Stage{s}
			}
			for k, inner := range group {
				at[inner.Name] = i
				seen++
				if k > 0 && wanted[group[k-1].Name+" "+inner.Name] == 0 {
					r.Fatalf("no edge leads from %s to %s, which are fused", group[k-1].Name, inner.Name)
				}
				if k > 0 {
					delete(wanted, group[k-1].Name+" "+inner.Name)
				}
			}
		}
		if seen != n+2 {
			r.Fatalf("%d stages of %d", seen, n+2)
		}
		for _, e := range p.Edges {
			if at[e.From] >= at[e.To] || p.Stage(e.From) == nil || p.Stage(e.To) == nil {
				r.Fatalf("edge %s → %s leads back, or to no stage", e.From, e.To)
			}
			from := e.From
			if e.Origin != "" {
				from = e.Origin
			}
			delete(wanted, from+" "+e.To)
		}
		if len(wanted) > 0 {
			r.Fatalf("edges are lost: %v", wanted)
		}
	})
}
