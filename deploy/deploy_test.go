package deploy_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-stream/weft/deploy"
	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
)

// start runs a platform whose containers nobody needs, and a deployer on it with an empty folder.
func start(t *testing.T) *deploy.Deployer {
	t.Helper()
	t.Parallel()
	return startWith(t, "go:1.26", "python:3")
}

// startWith is start with kinds.
func startWith(t *testing.T, kinds ...string) *deploy.Deployer {
	t.Helper()
	runtimes := map[string]localwhisk.Runtime{}
	for _, k := range kinds {
		runtimes[k] = localwhisk.Runtime{Command: []string{"no container is started"}}
	}
	p := localwhisk.New(localwhisk.Config{Listen: "127.0.0.1:0", StateDir: t.TempDir(), Runtimes: runtimes})
	if err := p.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c, err := openwhisk.NewClient(openwhisk.Config{APIHost: p.APIHost(), Auth: p.Auth()})
	if err != nil {
		t.Fatal(err)
	}
	return &deploy.Deployer{Client: c, Namespace: "guest", Dir: t.TempDir()}
}

// threeStages leads from stdin through a function to stdout.
func threeStages(f *pipeline.Function, memoryMB int) *pipeline.Pipeline {
	return &pipeline.Pipeline{Name: "p", LeaseMS: 60_000, Stages: []pipeline.Stage{
		{Name: "in", Source: &pipeline.Source{Stdin: true}, MemoryMB: 128},
		{Name: "f", Function: f, MemoryMB: memoryMB},
		{Name: "out", Sink: &pipeline.Sink{Stdout: true}, MemoryMB: 128},
	}}
}

func file(t *testing.T, mode os.FileMode, content string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func deployed(t *testing.T, d *deploy.Deployer, p *pipeline.Pipeline, name string) openwhisk.Action {
	t.Helper()
	if _, err := d.Deploy(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	a, err := d.Client.GetAction(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func actionsOf(t *testing.T, d *deploy.Deployer, pkg string) []string {
	t.Helper()
	p, err := d.Client.GetPackage(t.Context(), pkg)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range p.Actions {
		out = append(out, a.Name)
	}
	slices.Sort(out)
	return out
}

func TestActionsOfAPipeline(t *testing.T) {
	d := start(t)
	file(t, 0o644, "def main(args): return args", d.Dir, "f.py")
	p := threeStages(&pipeline.Function{Source: "f.py", Kind: "python:3", Main: "main",
		Env: map[string]string{"SECRET": "canary-env"}, Parameters: map[string]any{"tok": "canary-parameter"}}, 256)
	f := deployed(t, d, p, "p.stages/f")
	if *f.Exec.Code != "def main(args): return args" || f.Exec.Main != "main" || f.Exec.Kind != "python:3" {
		t.Errorf("exec %+v", f.Exec)
	}
	if *f.Limits.Timeout != 60_000 || *f.Limits.Memory != 256 || *f.Limits.Logs != 0 || *f.Limits.Concurrency != 1 {
		t.Errorf("limits %+v", f.Limits)
	}
	if string(f.Parameters.Get("tok")) != `"canary-parameter"` || string(f.Parameters.Get("SECRET")) != `"canary-env"` || f.Annotations.Truthy("provide-api-key") {
		t.Errorf("parameters %v, annotations %v", f.Parameters, f.Annotations)
	}
	if got := actionsOf(t, d, "p.stages"); !slices.Equal(got, []string{"f", "in", "out"}) {
		t.Errorf("stages %v", got)
	}
	steps := actionsOf(t, d, "p.steps")
	if !slices.Equal(steps, []string{"await-f", "await-in", "await-out", "plan", "report", "restart", "scale", "status", "stop", "update"}) {
		t.Errorf("steps %v", steps)
	}
	// All of them know the pipeline, and none the secrets of its functions.
	names := []string{"p"}
	for _, s := range steps {
		names = append(names, "p.steps/"+s)
	}
	for _, name := range names {
		a, err := d.Client.GetAction(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		plan := string(a.Parameters.Get("pipeline"))
		if !strings.Contains(plan, "f.py") || strings.Contains(plan, "canary") || !a.Annotations.Truthy("provide-api-key") ||
			a.Annotations.Truthy("conductor") != (name == "p") {
			t.Errorf("%s: %s, annotations %v", name, plan, a.Annotations)
		}
	}
}

// A pipeline that takes events by invocation has an action for them beside those of its stages.
func TestIngressAction(t *testing.T) {
	d := start(t)
	file(t, 0o644, "x", d.Dir, "f.py")
	p := threeStages(&pipeline.Function{Source: "f.py", Kind: "python:3"}, 256)
	p.Stages[0].Source, p.Stages[2].Sink = &pipeline.Source{Ingress: true}, &pipeline.Sink{Reply: true}
	a := deployed(t, d, p, "p.stages/ingress")
	if *a.Exec.Code != "weft:ingress" || !a.Annotations.Truthy("provide-api-key") || len(a.Parameters) > 0 {
		t.Errorf("%+v, parameters %v, annotations %v", a.Exec, a.Parameters, a.Annotations)
	}
	p.Stages[0].Source, p.Stages[2].Sink = &pipeline.Source{Stdin: true}, &pipeline.Sink{Stdout: true}
	deployed(t, d, p, "p.stages/f")
	if got := actionsOf(t, d, "p.stages"); !slices.Equal(got, []string{"f", "in", "out"}) {
		t.Errorf("stages %v", got)
	}
}

func TestStaleStagesGo(t *testing.T) {
	d := start(t)
	file(t, 0o644, "x", d.Dir, "f.py")
	p := threeStages(&pipeline.Function{Source: "f.py", Kind: "python:3"}, 256)
	deployed(t, d, p, "p.stages/f")
	p.Stages = append(p.Stages[:1], p.Stages[2])
	deployed(t, d, p, "p")
	if got := actionsOf(t, d, "p.stages"); !slices.Equal(got, []string{"in", "out"}) {
		t.Errorf("stages %v", got)
	}
	if got := actionsOf(t, d, "p.steps"); slices.Contains(got, "await-f") {
		t.Errorf("steps %v", got)
	}
	// A source that is missing is found before anything is changed.
	p = threeStages(&pipeline.Function{Source: "absent.py", Kind: "python:3"}, 256)
	if _, err := d.Deploy(t.Context(), p); err == nil || !strings.Contains(err.Error(), "stage f: read absent.py") {
		t.Errorf("a missing source: %v", err)
	}
	if got := actionsOf(t, d, "p.stages"); !slices.Equal(got, []string{"in", "out"}) {
		t.Errorf("stages after a failed deployment: %v", got)
	}
}

func TestExistingActionIsCopiedWhole(t *testing.T) {
	d := start(t)
	if _, err := d.Client.PutPackage(t.Context(), "lib", openwhisk.Package{Parameters: openwhisk.KeyValues{openwhisk.KV("of", "package")}}, false); err != nil {
		t.Fatal(err)
	}
	from := openwhisk.Action{Exec: openwhisk.CodeExec("python:3", "code", false), Limits: openwhisk.NewLimits(1000, 512, 5),
		Parameters: openwhisk.KeyValues{openwhisk.KV("a", 1), openwhisk.KV("b", 2)},
		Annotations: openwhisk.KeyValues{openwhisk.KV("provide-api-key", true), openwhisk.KV("description", "mine"),
			openwhisk.KV("weft", "of another pipeline")}}
	if _, err := d.Client.PutAction(t.Context(), "lib/g", from, false); err != nil {
		t.Fatal(err)
	}
	f := &pipeline.Function{Action: "/guest/lib/g", Parameters: map[string]any{"b": 3}}
	got := deployed(t, d, threeStages(f, 0), "p.stages/f")
	if *got.Exec.Code != "code" || got.Exec.Kind != "python:3" || *got.Limits.Memory != 512 || *got.Limits.Timeout != 60_000 || *got.Limits.Logs != 0 {
		t.Errorf("exec %+v, limits %+v", got.Exec, got.Limits)
	}
	for key, want := range map[string]string{"of": `"package"`, "a": "1", "b": "3"} {
		if v := string(got.Parameters.Get(key)); v != want {
			t.Errorf("parameter %s is %s, want %s", key, v, want)
		}
	}
	for key, want := range map[string]string{"provide-api-key": "true", "description": `"mine"`, "exec": `"python:3"`, "weft": `{"pipeline":"p","stage":"f"}`} {
		if v := string(got.Annotations.Get(key)); v != want {
			t.Errorf("annotation %s is %s, want %s", key, v, want)
		}
	}
	// The hook counts with the memory that was found.
	conductor, err := d.Client.GetAction(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	var plan pipeline.Pipeline
	if err := json.Unmarshal(conductor.Parameters.Get("pipeline"), &plan); err != nil || plan.Stage("f").MemoryMB != 512 {
		t.Errorf("plan %+v, %v", plan, err)
	}
	// The spec's memory comes first.
	if got := deployed(t, d, threeStages(f, 128), "p.stages/f"); *got.Limits.Memory != 128 {
		t.Errorf("memory %d", *got.Limits.Memory)
	}
}

func TestCompositionsAreNoStages(t *testing.T) {
	d := start(t)
	ctx := t.Context()
	for name, a := range map[string]openwhisk.Action{
		"one": {Exec: openwhisk.CodeExec("python:3", "x", false)},
		"con": {Exec: openwhisk.CodeExec("python:3", "x", false), Annotations: openwhisk.KeyValues{openwhisk.KV("conductor", true)}},
	} {
		if _, err := d.Client.PutAction(ctx, name, a, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Client.PutAction(ctx, "seq", openwhisk.Action{Exec: openwhisk.SequenceExec("/guest/one", "/guest/one")}, false); err != nil {
		t.Fatal(err)
	}
	for action, want := range map[string]string{"/guest/seq": "is a sequence", "/guest/con": "conducts a composition", "/guest/none": "read action /guest/none"} {
		_, err := d.Deploy(ctx, threeStages(&pipeline.Function{Action: action}, 0))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", action, err)
		}
	}
}

// unzip is the names, modes and contents of an action's code.
func unzip(t *testing.T, a openwhisk.Action) map[string]string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(*a.Exec.Code)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[f.Name] = f.Mode().String() + " " + string(content)
	}
	return out
}

func TestFolderIsZippedTheSameEachTime(t *testing.T) {
	d := start(t)
	var codes []string
	for _, dir := range []string{"one", "two"} {
		file(t, 0o644, "x", d.Dir, dir, "__main__.py")
		file(t, 0o755, "y", d.Dir, dir, "sub", "tool")
		file(t, 0o644, "z", d.Dir, dir, ".git", "config")
		file(t, 0o644, "z", d.Dir, dir, "__pycache__", "m.pyc")
		a := deployed(t, d, threeStages(&pipeline.Function{Source: dir, Kind: "python:3"}, 256), "p.stages/f")
		codes = append(codes, *a.Exec.Code)
		got := unzip(t, a)
		if len(got) != 2 || got["__main__.py"] != "-rw-r--r-- x" || got["sub/tool"] != "-rwxr-xr-x y" {
			t.Errorf("files %q", got)
		}
	}
	if codes[0] != codes[1] {
		t.Error("the same files make two different zips")
	}
}

func TestKindsOfCode(t *testing.T) {
	d := start(t)
	elf := "\x7fELF\x02 and so on"
	file(t, 0o755, elf, d.Dir, "native")
	a := deployed(t, d, threeStages(&pipeline.Function{Source: "native", Kind: "go:1.26"}, 256), "p.stages/f")
	if got := unzip(t, a); len(got) != 1 || got["exec"] != "-rwxr-xr-x "+elf {
		t.Errorf("an executable: %q", got)
	}
	var z bytes.Buffer
	w := zip.NewWriter(&z)
	if _, err := w.Create("x"); err != nil || w.Close() != nil {
		t.Fatal("make a zip", err)
	}
	file(t, 0o644, z.String(), d.Dir, "f.zip")
	a = deployed(t, d, threeStages(&pipeline.Function{Source: "f.zip", Kind: "python:3"}, 256), "p.stages/f")
	if *a.Exec.Code != base64.StdEncoding.EncodeToString(z.Bytes()) || !*a.Exec.Binary {
		t.Error("a zip doesn't go as it is")
	}
	file(t, 0o644, "\xff\xfe\x00", d.Dir, "odd")
	_, err := d.Deploy(t.Context(), threeStages(&pipeline.Function{Source: "odd", Kind: "python:3"}, 256))
	if err == nil || !strings.Contains(err.Error(), "odd is neither text nor a zip nor an executable") {
		t.Errorf("bytes of no kind: %v", err)
	}
}

// A cluster has kinds of Weft's, or gets Weft's images, for its own copies of the user's actions too.
func TestKinds(t *testing.T) {
	d := start(t)
	file(t, 0o644, "def main(args): return args\n", d.Dir, "f.py")
	p := threeStages(&pipeline.Function{Source: "f.py", Kind: "python:3"}, 128)
	d.Images = map[string]string{"python:3": "weft/action-python-v3:1", "go:1.26": "weft/action-go-v1.26:1"}
	if a := deployed(t, d, p, "p.stages/f"); a.Exec.Kind != "blackbox" || a.Exec.Image != "weft/action-python-v3:1" || a.Exec.Code == nil {
		t.Errorf("without kinds of Weft's: %+v", a.Exec)
	}
	if a := deployed(t, d, p, "p"); a.Exec.Image != "weft/action-go-v1.26:1" {
		t.Errorf("the conductor: %+v", a.Exec)
	}
	d = startWith(t, "go:1.26", "go:1.26-weft", "python:3", "python:3-weft")
	file(t, 0o644, "def main(args): return args\n", d.Dir, "f.py")
	d.Images = map[string]string{"python:3": "weft/action-python-v3:1"}
	if a := deployed(t, d, p, "p.stages/f"); a.Exec.Kind != "python:3-weft" || a.Exec.Image != "" {
		t.Errorf("with kinds of Weft's: %+v", a.Exec)
	}
}

// TestUnchangedStagesStay: what a deployment doesn't change keeps its version, and so its containers. Whether the
// spec is another one is told.
func TestUnchangedStagesStay(t *testing.T) {
	d := start(t)
	file(t, 0o644, "def main(args): return args", d.Dir, "f.py")
	pl := func() *pipeline.Pipeline {
		p := threeStages(&pipeline.Function{Source: "f.py", Kind: "python:3", Env: map[string]string{"A": "1", "B": "2"}, Parameters: map[string]any{"x": map[string]any{"b": 1, "a": 2}}}, 256)
		p.Edges = []pipeline.Edge{{From: "in", To: "f", Routing: pipeline.Balance}, {From: "f", To: "out", Routing: pipeline.Balance}}
		return p
	}
	versions := func(p *pipeline.Pipeline, changed bool) (f, in, conductor string) {
		t.Helper()
		was, err := d.Deploy(t.Context(), p)
		if err != nil || was != changed {
			t.Fatal(was, err)
		}
		var out []string
		for _, name := range []string{"p.stages/f", "p.stages/in", "p"} {
			a, err := d.Client.GetAction(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, a.Version)
		}
		return out[0], out[1], out[2]
	}
	for i, c := range []struct {
		change  func(p *pipeline.Pipeline)
		changed bool
		want    string
	}{
		{func(*pipeline.Pipeline) {}, false, "0.0.1 0.0.1 0.0.1"},
		{func(*pipeline.Pipeline) {}, false, "0.0.1 0.0.1 0.0.2"},
		{func(p *pipeline.Pipeline) { p.Edges[0].Transport = pipeline.QUIC }, true, "0.0.1 0.0.1 0.0.3"},
		{func(p *pipeline.Pipeline) {
			file(t, 0o644, "def main(args): return {}", d.Dir, "f.py")
		}, true, "0.0.2 0.0.1 0.0.4"},
		{func(p *pipeline.Pipeline) { p.Stages[1].Function.Env["A"] = "3" }, false, "0.0.3 0.0.1 0.0.5"},
		{func(p *pipeline.Pipeline) { p.Stages[1].Function.Env["A"] = "3"; p.LeaseMS = 30_000 }, true, "0.0.4 0.0.2 0.0.6"},
	} {
		p := pl()
		c.change(p)
		f, in, conductor := versions(p, c.changed)
		if got := f + " " + in + " " + conductor; got != c.want {
			t.Errorf("deployment %d: versions %s, want %s", i, got, c.want)
		}
	}
}
