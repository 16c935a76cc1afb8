package pipeline

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// MaxLease is the longest lease: OpenWhisk's default time limit of an action.
const MaxLease = 5 * time.Minute

// Defaults of what a spec leaves out.
const (
	defaultLease    = MaxLease
	minLease        = 2 * time.Second
	defaultTimeout  = 30 * time.Second
	defaultRetries  = 2
	defaultMemoryMB = 256
	builtinMemoryMB = 128
)

// Kinds are the kinds of functions that a source file can have, with the endings of such files.
var Kinds = map[string][]string{
	"python:3":  {".py"},
	"go:1.26":   {".go"},
	"nodejs:20": {".js", ".mjs", ".cjs"},
	"java:17":   {".jar", ".java"},
}

// Options of Parse.
type Options struct {
	// Stat looks up a file named in the spec, relative to the spec's file. nil: files are not looked for.
	Stat func(name string) (fs.FileInfo, error)
	// InReplaced says that the source's file is replaced by another one and need not exist.
	InReplaced bool
	// Lease, unless 0, replaces the spec's. It comes from the flag --lease, which errors name.
	Lease time.Duration
}

var nameForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)

// Parse reads the spec in src and checks all of it. The error is Problems, with everything that is
// wrong; file is the name they carry. Of options that are wrong it is not.
func Parse(file string, src []byte, o Options) (*Pipeline, error) {
	if o.Lease != 0 && !leaseFits(o.Lease) {
		return nil, fmt.Errorf("--lease %v: want %v to %v, the time limit of an action", o.Lease, minLease, MaxLease)
	}
	d := newDecoder(file, src)
	var s Spec
	if !d.decode(src, &s) {
		return nil, d.problems.sorted()
	}
	c := &checker{decoder: d, spec: &s, options: o}
	p := c.pipeline()
	if len(d.problems) > 0 {
		return nil, d.problems.sorted()
	}
	return p, nil
}

// checker turns a Spec into a Pipeline and reports what is wrong on the way.
type checker struct {
	*decoder
	spec    *Spec
	options Options
}

func (c *checker) pipeline() *Pipeline {
	s := c.spec
	c.oneOf("apiVersion", s.APIVersion, "weft/v1")
	c.oneOf("kind", s.Kind, "Pipeline")
	c.name("metadata.name", "pipeline", s.Metadata.Name)
	p := &Pipeline{Name: s.Metadata.Name, Guarantee: c.guarantee(), LeaseMS: c.lease().Milliseconds()}
	if len(s.Spec.Vertices) == 0 {
		c.problemAt("spec.vertices", "a pipeline needs vertices: at least a source and a sink")
	}
	for i, v := range s.Spec.Vertices {
		p.Stages = append(p.Stages, c.stage(fmt.Sprintf("spec.vertices[%d]", i), v))
	}
	c.uniqueNames(p.Stages)
	c.callers(p)
	known := c.stageNames(p.Stages)
	usual := Edge{
		Transport:  c.transport("spec.transport", s.Spec.Transport, Auto),
		MaxPayload: c.size("spec.maxPayload", s.Spec.MaxPayload, DefaultMaxPayload),
		Fuse:       c.fuse("spec.fuse", s.Spec.Fuse, false),
	}
	for i, e := range s.Spec.Edges {
		p.Edges = append(p.Edges, c.edge(fmt.Sprintf("spec.edges[%d]", i), e, known, usual))
	}
	g := &graph{checker: c, p: p}
	g.check()
	return p
}

func (c *checker) guarantee() Guarantee {
	switch g := Guarantee(c.spec.Spec.Guarantee); g {
	case "":
		return AtLeastOnce
	case ExactlyOnce:
		c.problemAt("spec.guarantee", "exactly-once needs checkpoints of state, which this version does not have; use at-least-once or best-effort")
		return g
	default:
		c.oneOf("spec.guarantee", string(g), string(AtLeastOnce), string(BestEffort))
		return g
	}
}

func (c *checker) lease() time.Duration {
	lease := c.duration("spec.lease", c.spec.Spec.Lease, defaultLease)
	if c.options.Lease != 0 {
		return c.options.Lease
	}
	if !leaseFits(lease) {
		c.problemAt("spec.lease", fmt.Sprintf("a lease of %v: want %v to %v, the time limit of an action", lease, minLease, MaxLease))
	}
	return lease
}

func leaseFits(d time.Duration) bool { return d >= minLease && d <= MaxLease }

func (c *checker) stage(at string, v Vertex) Stage {
	c.name(at+".name", "vertex", v.Name)
	s := Stage{Name: v.Name, Stateful: v.Stateful, Replicas: Replicas{1, 1}, Retries: defaultRetries, MemoryMB: builtinMemoryMB}
	s.TimeoutMS = c.duration(at+".timeout", v.Timeout, defaultTimeout).Milliseconds()
	if v.Retries != nil {
		s.Retries = *v.Retries
		c.between(at+".retries", s.Retries, 0, 100)
	}
	if r := v.Replicas; r != nil {
		s.Replicas = Replicas{max(r.Min, 1), max(r.Max, r.Min, 1)}
		c.replicas(at+".replicas.min", r.Min)
		c.replicas(at+".replicas.max", r.Max)
		if r.Max > 0 && r.Max < r.Min {
			c.problemAt(at+".replicas.max", fmt.Sprintf("max %d is below min %d", r.Max, r.Min))
		}
	}
	s.Standby = v.Standby
	c.between(at+".standby", s.Standby, 0, KeyGroups)
	kinds := 0
	if v.Source != nil {
		kinds++
		s.Source = c.source(at+".source", *v.Source, s.Replicas)
	}
	if v.Function != nil {
		kinds++
		s.Function, s.MemoryMB = c.function(at+".function", *v.Function)
	}
	if v.Sink != nil {
		kinds++
		s.Sink = c.sink(at+".sink", *v.Sink)
	}
	if kinds != 1 {
		c.problemAt(at, fmt.Sprintf("vertex %q needs exactly one of source, function and sink; it has %d", v.Name, kinds))
	}
	if v.Stateful && v.Function == nil && kinds == 1 {
		c.problemAt(at+".stateful", "only a function can be stateful")
	}
	return s
}

// replicas checks a number that the spec gives; one that it leaves out has a default.
func (c *checker) replicas(at string, n int) {
	if _, given := c.at[at]; given {
		c.between(at, n, 1, KeyGroups)
	}
}

func (c *checker) source(at string, s SourceSpec, r Replicas) *Source {
	out := &Source{File: s.File, Stdin: s.Stdin != nil, Format: Format(s.Format)}
	switch {
	case s.Format != "":
	case s.HTTP != nil:
		out.Format = NDJSON
	default:
		out.Format = Lines
	}
	c.oneOf(at+".format", string(out.Format), string(Lines), string(NDJSON))
	if n := count(s.File != "", s.Stdin != nil, s.HTTP != nil, s.Ingress != nil, s.Generator != nil); n != 1 {
		c.problemAt(at, fmt.Sprintf("a source is exactly one of file, stdin, http, ingress and generator; this has %d", n))
	}
	if s.File != "" && !c.options.InReplaced {
		if info := c.exists(at+".file", s.File); info != nil && info.IsDir() {
			c.problemAt(at+".file", fmt.Sprintf("%q is a folder: want a file", s.File))
		}
	}
	if s.Generator == nil && r.Max > 1 {
		c.problemAt(at, "a file, stdin, http or ingress is read in one place: replicas must be 1")
	}
	if s.HTTP != nil {
		out.HTTP = c.httpIn(at+".http", *s.HTTP)
	}
	if s.Ingress != nil {
		c.ingress(at, s)
		out.Ingress, out.Format = true, ""
	}
	if g := s.Generator; g != nil {
		out.Generator = &Generator{Rate: g.Rate, Count: g.Count, Seed: g.Seed, Size: g.Size}
		if g.Rate < 0 || g.Count < 0 {
			c.problemAt(at+".generator", "rate and count can't be negative")
		}
		c.between(at+".generator.size", g.Size, 0, 1_000_000)
		if s.Format != "" {
			c.problemAt(at+".format", "a generator has no format; remove it")
		}
		out.Format = ""
	}
	return out
}

func (c *checker) function(at string, f FunctionSpec) (*Function, int) {
	out := &Function{Source: f.Source, Action: f.Action, Kind: f.Kind, Main: f.Main, Env: f.Env, Parameters: f.Parameters}
	if n := count(f.Source != "", f.Action != ""); n != 1 {
		c.problemAt(at, fmt.Sprintf("a function is exactly one of source and action; this has %d", n))
		return out, f.Memory
	}
	if f.Action != "" {
		if parts := strings.Split(f.Action, "/"); parts[0] != "" || len(parts) < 3 || len(parts) > 4 || slices.Contains(parts[1:], "") {
			c.problemAt(at+".action", fmt.Sprintf("action %q: want /namespace/name or /namespace/package/name", f.Action))
		}
		if f.Kind != "" {
			c.problemAt(at+".kind", "an existing action has its own kind; remove this one")
		}
	} else {
		c.exists(at+".source", f.Source)
		out.Kind = c.kind(at, f)
	}
	if _, ok := f.Parameters["__weft"]; ok {
		c.problemAt(at+".parameters", "the parameter __weft is reserved")
	}
	switch {
	case f.Memory == 0 && f.Action != "":
		return out, 0
	case f.Memory == 0:
		return out, defaultMemoryMB
	}
	c.between(at+".memory", f.Memory, 128, 512)
	return out, f.Memory
}

// kind is the given kind, or that of the file's ending.
func (c *checker) kind(at string, f FunctionSpec) string {
	names := make([]string, 0, len(Kinds))
	byEnding := ""
	for kind, endings := range Kinds {
		names = append(names, kind)
		if slices.Contains(endings, path.Ext(f.Source)) {
			byEnding = kind
		}
	}
	slices.Sort(names)
	switch {
	case f.Kind == "" && byEnding == "":
		c.problemAt(at, fmt.Sprintf("%q needs a kind: one of %s", f.Source, strings.Join(names, ", ")))
	case f.Kind == "":
		return byEnding
	case Kinds[f.Kind] == nil:
		c.oneOf(at+".kind", f.Kind, names...)
	case byEnding != "" && byEnding != f.Kind:
		c.problemAt(at+".kind", fmt.Sprintf("%q is not of kind %s (did you mean %q?)", f.Source, f.Kind, byEnding))
	}
	return f.Kind
}

func (c *checker) sink(at string, s SinkSpec) *Sink {
	if n := count(s.Stdout != nil, s.File != "", s.HTTP != nil, s.Reply != nil); n != 1 {
		c.problemAt(at, fmt.Sprintf("a sink is exactly one of stdout, file, http and reply; this has %d", n))
	}
	out := &Sink{Stdout: s.Stdout != nil, File: s.File, Reply: s.Reply != nil}
	if s.HTTP != nil {
		out.HTTP = c.httpOut(at+".http", *s.HTTP)
	}
	return out
}

// transport is the one given, or else usual.
func (c *checker) transport(at, given string, usual Transport) Transport {
	if given == "" {
		return usual
	}
	c.oneOf(at, given, string(Auto), string(SHM), string(QUIC))
	return Transport(given)
}

// fuse is what is given, or else usual.
func (c *checker) fuse(at, given string, usual bool) bool {
	if given == "" {
		return usual
	}
	c.oneOf(at, given, "auto", "never")
	return given == "auto"
}

// size is the number of bytes given, or else usual.
func (c *checker) size(at, given string, usual int64) int64 {
	if given == "" {
		return usual
	}
	n, err := ParseSize(given)
	switch {
	case err != nil:
		c.problemAt(at, err.Error())
	case n < LeastMaxPayload || n > LimitMaxPayload:
		c.problemAt(at, fmt.Sprintf("%s: want 64Ki to 1Gi", given))
	default:
		return n
	}
	return usual
}

func (c *checker) edge(at string, e EdgeSpec, known []string, usual Edge) Edge {
	for _, end := range []struct{ key, name string }{{"from", e.From}, {"to", e.To}} {
		if !slices.Contains(known, end.name) {
			c.problemAt(at+"."+end.key, fmt.Sprintf("no vertex is called %q%s", end.name, didYouMean(end.name, known)))
		}
	}
	out := Edge{From: e.From, To: e.To, Routing: Routing(e.Routing), Key: e.Key, OnError: e.On == "error"}
	out.Transport = c.transport(at+".transport", e.Transport, usual.Transport)
	out.MaxPayload = c.size(at+".maxPayload", e.MaxPayload, usual.MaxPayload)
	out.Fuse = c.fuse(at+".fuse", e.Fuse, usual.Fuse && !out.OnError)
	if out.Fuse && out.OnError {
		c.problemAt(at+".fuse", "events that failed are not handed on by a call: remove fuse: auto")
	}
	if e.Routing == "" {
		out.Routing = Balance
	}
	c.oneOf(at+".routing", string(out.Routing), string(Balance), string(Key), string(Broadcast), string(Forward))
	if e.On != "" {
		c.oneOf(at+".on", e.On, "error")
	}
	if out.Routing == Key && e.Key == "" {
		c.problemAt(at+".routing", "routing key needs a key: the path of a field, for instance key: word")
	}
	if out.Routing != Key && e.Key != "" {
		c.problemAt(at+".key", fmt.Sprintf("a key has no meaning with routing %s; use routing: key", out.Routing))
	}
	return out
}

func (c *checker) name(at, what, name string) {
	if !nameForm.MatchString(name) {
		c.problemAt(at, fmt.Sprintf("%s name %q: want a letter, then at most 62 letters, digits, - and _", what, name))
	}
}

func (c *checker) uniqueNames(stages []Stage) {
	seen := map[string]bool{}
	for i, s := range stages {
		if seen[s.Name] {
			c.problemAt(fmt.Sprintf("spec.vertices[%d].name", i), fmt.Sprintf("two vertices are called %q", s.Name))
		}
		seen[s.Name] = true
	}
}

func (c *checker) stageNames(stages []Stage) []string {
	var out []string
	for _, s := range stages {
		out = append(out, s.Name)
	}
	return out
}

func (c *checker) oneOf(at, got string, want ...string) {
	if slices.Contains(want, got) {
		return
	}
	c.problemAt(at, fmt.Sprintf("%q: want %s%s", got, strings.Join(want, ", "), didYouMean(got, want)))
}

func (c *checker) between(at string, n, low, high int) {
	if n < low || n > high {
		c.problemAt(at, fmt.Sprintf("%d: want %d to %d", n, low, high))
	}
}

func (c *checker) duration(at, text string, def time.Duration) time.Duration {
	if text == "" {
		return def
	}
	v, err := time.ParseDuration(text)
	if err != nil || v <= 0 {
		c.problemAt(at, fmt.Sprintf("%q is not a duration: write 500ms, 30s or 4m", text))
		return def
	}
	return v
}

// exists looks a file up, or a folder; nil when it isn't there or nobody looks.
func (c *checker) exists(at, name string) fs.FileInfo {
	if c.options.Stat == nil {
		return nil
	}
	info, err := c.options.Stat(name)
	if err != nil {
		c.problemAt(at, fmt.Sprintf("file %q: %v; paths are relative to this file", name, reason(err)))
		return nil
	}
	return info
}

// reason is the last part of a file error: the path before it is the reader's already.
func reason(err error) error {
	if pe, ok := err.(*fs.PathError); ok {
		return pe.Err
	}
	return err
}

func count(given ...bool) int {
	n := 0
	for _, g := range given {
		if g {
			n++
		}
	}
	return n
}
