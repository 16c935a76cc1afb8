package pipeline_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weft-stream/weft/pipeline"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var files = fstest.MapFS{"opticks.txt": {}, "split.py": {}, "count.go": {}, "sort.py": {}, "f.zip": {}, "folder/f.py": {}}

func options() pipeline.Options { return pipeline.Options{Stat: files.Stat} }

func example(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../examples/wordcount/pipeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseExample(t *testing.T) {
	p, err := pipeline.Parse("pipeline.yaml", example(t), options())
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "wordcount" || p.Guarantee != pipeline.AtLeastOnce || p.Lease() != 5*time.Minute {
		t.Errorf("got %q, %q, %v", p.Name, p.Guarantee, p.Lease())
	}
	if got, want := p.SinksFirst(), []string{"out", "sort", "count", "split", "in"}; !slices.Equal(got, want) {
		t.Errorf("sinks first: %v, want %v", got, want)
	}
	if got := len(p.Slots()); got != 6 {
		t.Errorf("%d slots, want 6", got)
	}
	if e := p.Edges[1]; e.Routing != pipeline.Key || e.Key != "word" {
		t.Errorf("edge 1: %+v", e)
	}
}

// Each file of testdata is a spec followed by "---" and the problems it must give, all in one go.
func TestProblems(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(cases) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, name := range cases {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			spec, want, _ := strings.Cut(string(b), "\n---\n")
			_, err = pipeline.Parse("p.yaml", []byte(spec), options())
			if err == nil {
				t.Fatal("accepted")
			}
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(name, []byte(spec+"\n---\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestInReplacedNeedNotExist(t *testing.T) {
	spec := strings.Replace(string(example(t)), "opticks.txt", "nowhere.txt", 1)
	if _, err := pipeline.Parse("p.yaml", []byte(spec), options()); err == nil || !strings.Contains(err.Error(), `"nowhere.txt"`) {
		t.Errorf("a missing source: %v", err)
	}
	o := options()
	o.InReplaced = true
	if _, err := pipeline.Parse("p.yaml", []byte(spec), o); err != nil {
		t.Errorf("replaced: %v", err)
	}
}

// A lease that no action can have is the fault of who gave it: of the flag, not of a line of the file.
func TestLeaseOfTheFlag(t *testing.T) {
	for _, d := range []time.Duration{time.Hour, time.Second, -time.Minute} {
		o := options()
		o.Lease = d
		_, err := pipeline.Parse("p.yaml", example(t), o)
		var ps pipeline.Problems
		if err == nil || errors.As(err, &ps) || !strings.Contains(err.Error(), "--lease "+d.String()) {
			t.Errorf("%v: %v", d, err)
		}
	}
	o := options()
	o.Lease = 10 * time.Second
	if p, err := pipeline.Parse("p.yaml", example(t), o); err != nil || p.Lease() != o.Lease {
		t.Errorf("%v: %+v, %v", o.Lease, p, err)
	}
}

func TestMissingFileSaysWhy(t *testing.T) {
	o := pipeline.Options{Stat: func(string) (fs.FileInfo, error) { return nil, &fs.PathError{Op: "stat", Err: fs.ErrPermission} }}
	_, err := pipeline.Parse("p.yaml", example(t), o)
	var ps pipeline.Problems
	if !errors.As(err, &ps) || len(ps) != 4 || !strings.Contains(ps[0].Text, "permission denied") {
		t.Errorf("got %v", err)
	}
}

func TestSchemaIsCurrentAndHoldsForExamples(t *testing.T) {
	want, err := pipeline.Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := os.ReadFile("schema.json"); string(got) != string(want) {
		t.Error("schema.json is not what the types say; run go test ./pipeline -update")
	}
	c := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(want)))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource(pipeline.SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(pipeline.SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	specs, _ := filepath.Glob("../examples/*/pipeline*.yaml")
	for _, name := range specs {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(b), "# yaml-language-server: $schema=") {
			t.Errorf("%s does not name the schema in its first line", name)
		}
		var v any
		j, err := yaml.YAMLToJSON(b)
		if err == nil {
			v, err = jsonschema.UnmarshalJSON(strings.NewReader(string(j)))
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad, _ := jsonschema.UnmarshalJSON(strings.NewReader(`{"apiVersion":"weft/v2","kind":"Pipeline","metadata":{"name":"x"},"spec":{"vertices":[],"edges":[]}}`))
	if s.Validate(bad) == nil {
		t.Error("the schema accepts weft/v2")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(example(f)))
	f.Add("a: [b, {c: *d}]")
	f.Fuzz(func(t *testing.T, src string) {
		p, err := pipeline.Parse("p.yaml", []byte(src), options())
		if (p == nil) == (err == nil) {
			t.Fatalf("got %v and %v", p, err)
		}
	})
}

func TestPublicHasNoSecrets(t *testing.T) {
	f := &pipeline.Function{Source: "f.py", Env: map[string]string{"SECRET": "canary"}, Parameters: map[string]any{"tok": "canary"}}
	p := &pipeline.Pipeline{Name: "p", Stages: []pipeline.Stage{{Name: "in"}, {Name: "f", Function: f}}}
	public := p.Public()
	if got := public.Stages[1].Function; got.Source != "f.py" || got.Env != nil || got.Parameters != nil {
		t.Errorf("public: %+v", got)
	}
	if f.Env == nil || f.Parameters == nil {
		t.Error("the pipeline itself has lost them")
	}
}

func TestHTTPSourceAndSink(t *testing.T) {
	const spec = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: p}
spec:
  guarantee: best-effort
  vertices:
    - {name: in, source: {http: {listen: "[::1]:0"}, format: ndjson}}
    - {name: out, sink: {http: {url: "http://127.0.0.1:9000/in?x=1"}}}
  edges:
    - {from: in, to: out}
`
	p, err := pipeline.Parse("p.yaml", []byte(spec), options())
	if err != nil {
		t.Fatal(err)
	}
	if in := p.Stage("in").Source; *in.HTTP != (pipeline.HTTPIn{Listen: "[::1]:0", Path: "/"}) || in.Format != pipeline.NDJSON {
		t.Errorf("source %+v", in)
	}
	if out := p.Stage("out").Sink.HTTP; out.URL != "http://127.0.0.1:9000/in?x=1" {
		t.Errorf("sink %+v", out)
	}
}
