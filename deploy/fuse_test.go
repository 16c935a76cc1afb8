package deploy_test

import (
	"os"
	"strings"
	"testing"

	"github.com/weft-stream/weft/deploy"
	"github.com/weft-stream/weft/pipeline"
)

const goFunction = "package main\n\nfunc main() {}\n"

// TestActionOfAGroup: one action with the code of all stages, each in its own folder, and the parameters of each.
func TestActionOfAGroup(t *testing.T) {
	d := start(t)
	file(t, 0o644, goFunction, d.Dir, "one.go")
	file(t, 0o644, goFunction, d.Dir, "folder", "two.go")
	file(t, 0o644, "data", d.Dir, "folder", "sub", "data")
	env := map[string]string{"SECRET": "canary-env"}
	function := func(source string, p map[string]any) *pipeline.Function {
		return &pipeline.Function{Source: source, Kind: "go:1.26", Env: env, Parameters: p}
	}
	p := &pipeline.Pipeline{Name: "p", LeaseMS: 60_000, Stages: []pipeline.Stage{
		{Name: "in", Source: &pipeline.Source{Stdin: true}, MemoryMB: 128},
		{Name: "one", Function: function("one.go", map[string]any{"n": 1}), MemoryMB: 128},
		{Name: "Two", Function: function("folder", map[string]any{"n": 2}), MemoryMB: 128},
		{Name: "out", Sink: &pipeline.Sink{Stdout: true}, MemoryMB: 128},
	}, Edges: []pipeline.Edge{
		{From: "in", To: "one", Routing: pipeline.Balance},
		{From: "one", To: "Two", Routing: pipeline.Balance, Fuse: true},
		{From: "Two", To: "out", Routing: pipeline.Balance},
	}}
	p = pipeline.Fuse(p, func(f *pipeline.Function) string { return deploy.Apart(d.Dir, f) })
	a := deployed(t, d, p, "p.stages/one")
	if got := actionsOf(t, d, "p.stages"); strings.Join(got, " ") != "in one out" {
		t.Errorf("actions %v", got)
	}
	want := map[string]string{
		pipeline.FusedCode:    `-rw-r--r-- [{"stage":"one","dir":"stage1-one"},{"stage":"Two","dir":"stage2-Two"}]`,
		"stage1-one/one.go":   "-rw-r--r-- " + goFunction,
		"stage2-Two/two.go":   "-rw-r--r-- " + goFunction,
		"stage2-Two/sub/data": "-rw-r--r-- data",
	}
	got := unzip(t, a)
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: %q, want %q", name, got[name], text)
		}
	}
	if len(got) != len(want) || *a.Limits.Memory != 256 || a.Exec.Kind != "go:1.26" {
		t.Errorf("files %v, memory %d, kind %s", got, *a.Limits.Memory, a.Exec.Kind)
	}
	if string(a.Parameters.Get("weft:one")) != `{"n":1}` || string(a.Parameters.Get("weft:Two")) != `{"n":2}` || string(a.Parameters.Get("SECRET")) != `"canary-env"` {
		t.Errorf("parameters %v", a.Parameters)
	}
	if plan := deployed(t, d, p, "p").Parameters.Get("pipeline"); strings.Contains(string(plan), "canary") || !strings.Contains(string(plan), `"fused":[`) {
		t.Errorf("plan %s", plan)
	}
}

// TestCodeThatStaysApart: what can't be built together says why.
func TestCodeThatStaysApart(t *testing.T) {
	dir := t.TempDir()
	file(t, 0o644, goFunction, dir, "ok.go")
	file(t, 0o644, "package main\n\nfunc Main(m map[string]any) map[string]any { return m }\n", dir, "plain.go")
	file(t, 0o644, "package main\n\nfunc main( {\n", dir, "broken.go")
	file(t, 0o755, "\x7fELF", dir, "native")
	file(t, 0o644, goFunction, dir, "ok", "f.go")
	file(t, 0o644, goFunction, dir, "module", "f.go")
	file(t, 0o644, "module m\n", dir, "module", "go.mod")
	file(t, 0o755, "\x7fELF", dir, "prebuilt", "exec")
	file(t, 0o644, "x", dir, "f.js")
	file(t, 0o644, "def main(e):\n    return 'async def'\n", dir, "f.py")
	file(t, 0o644, "import x\n\nasync def main(e):\n    return e\n", dir, "async.py")
	if err := os.Mkdir(dir+"/empty", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ source, kind, want string }{
		{"ok.go", "go:1.26", ""},
		{"ok", "go:1.26", ""},
		{"broken.go", "go:1.26", ""}, // the compiler's to say
		{"missing.go", "go:1.26", ""},
		{"plain.go", "go:1.26", "has no func main"},
		{"empty", "go:1.26", "has no func main"},
		{"native", "go:1.26", "is not Go source but a program or an archive"},
		{"module", "go:1.26", "has its own go.mod"},
		{"prebuilt", "go:1.26", "has its own exec"},
		{"f.js", "nodejs:20", "is of kind nodejs:20"},
		{"f.py", "python:3", ""},
		{"async.py", "python:3", "is async"},
		{"ok", "python:3", "is more than one file of Python"},
	} {
		got := deploy.Apart(dir, &pipeline.Function{Source: c.source, Kind: c.kind})
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.source, got, c.want)
		}
	}
}
