package tests

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// together has three functions in a row, with an error edge, a side output and parameters of the one in the
// middle, an end of its own in each.
const together = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: together}
spec:
  fuse: auto
  vertices:
    - {name: in, source: {stdin: {}}}
    - {name: split, function: {source: split.SUFFIX, parameters: {greet: nobody}}}
    - {name: check, function: {source: check.SUFFIX, parameters: {greet: hi}}}
    - {name: last, function: {source: last.SUFFIX}}
    - {name: odd, sink: {file: odd.ndjson}}
    - {name: failed, sink: {file: failed.ndjson}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: split}
    - {from: split, to: check}
    - {from: check, to: last, routing: forward}
    - {from: last, to: out}
    - {from: check, to: odd}
    - {from: check, to: failed, on: error}
`

// togetherGo are the functions: each says which event it has handled. check fails on some words, after it has
// emitted; last fails, too, and has no error edge.
var togetherGo = files{
	"split.go": `package main

import (
	"context"
	"errors"
	"strings"

	weft "github.com/weft-stream/weft/sdk/go"
)

type In struct {
	Line string ` + "`json:\"line\"`" + `
}

type Word struct {
	Word string ` + "`json:\"word\"`" + `
}

func split(ctx context.Context, in In, emit func(Word)) error {
	for word := range strings.FieldsSeq(in.Line) {
		emit(Word{word})
	}
	if strings.HasSuffix(in.Line, "!") {
		return errors.New("not in this tone")
	}
	return nil
}

func main() { weft.FlatMap(split) }
`,
	"check.go": `package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	weft "github.com/weft-stream/weft/sdk/go"
)

type check struct {
	emit  weft.Emit
	greet string
	n     int
}

type checked struct {
	Word  string ` + "`json:\"word\"`" + `
	Greet string ` + "`json:\"greet\"`" + `
	N     int    ` + "`json:\"n\"`" + `
	ID    string ` + "`json:\"id\"`" + `
}

func (c *check) Event(ctx context.Context, e *weft.Event) error {
	var in struct{ Word string }
	if err := json.Unmarshal(e.Payload, &in); err != nil {
		return err
	}
	c.n++
	out := checked{in.Word, c.greet, c.n, e.ID()}
	c.emit(weft.Output{Value: out, Key: in.Word, Headers: map[string]string{"word": in.Word}, Time: time.UnixMicro(int64(c.n))})
	switch in.Word {
	case "fail":
		return fmt.Errorf("%s: %s", weft.StageOf(ctx).Name, in.Word)
	case "panic":
		panic(in.Word)
	case "nowhere":
		c.emit(weft.Output{Value: out, To: "out"})
	case "odd":
		c.emit(weft.Output{Value: out, To: "odd"})
	case "none":
		c.emit(weft.Output{Value: nil})
	case "twice":
		c.emit(weft.Output{Value: out, To: "last", Time: time.UnixMicro(1)})
	}
	return nil
}

func (c *check) End(context.Context) error {
	c.emit(weft.Output{Value: checked{Word: "end of check", N: c.n}})
	return nil
}

func main() {
	weft.Run(func(ctx context.Context, emit weft.Emit) (weft.Handler, error) {
		c := &check{emit: emit}
		stage := weft.StageOf(ctx)
		stage.Param("greet", &c.greet)
		return c, nil
	})
}
`,
	"last.go": `package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	weft "github.com/weft-stream/weft/sdk/go"
)

type last struct {
	emit weft.Emit
	ids  []string
}

func (l *last) Event(_ context.Context, e *weft.Event) error {
	l.ids = append(l.ids, e.ID()+" "+e.Key()+" "+e.Header("word")+" "+e.Time().Format("05.000000"))
	l.emit(weft.Output{Value: json.RawMessage(e.Payload)})
	if strings.Contains(string(e.Payload), "bad") {
		return errors.New("last had a bad one")
	}
	return nil
}

func (l *last) End(context.Context) error {
	l.emit(weft.Output{Value: map[string]any{"ids": l.ids}})
	return nil
}

func main() {
	weft.Run(func(_ context.Context, emit weft.Emit) (weft.Handler, error) { return &last{emit: emit}, nil })
}
`,
}

// togetherPython does the same in Python.
var togetherPython = files{
	"split.py": `def main(event):
    for word in event["line"].split():
        yield {"word": word}
    if event["line"].endswith("!"):
        raise ValueError("not in this tone")
`,
	"check.py": `from datetime import datetime, timedelta, timezone


class main:
    def __init__(self, ctx):
        self.greet, self.n = ctx.parameters["greet"], 0

    def event(self, e, ctx):
        word = e["word"]
        self.n += 1
        out = {"word": word, "greet": self.greet, "n": self.n, "id": ctx.id}
        time = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=self.n)
        ctx.emit(out, key=word, headers={"word": word}, event_time=time)
        if word == "fail":
            raise ValueError(ctx.stage + ": " + word)
        if word == "panic":
            return {"error": {"panic": word}}
        if word == "nowhere":
            ctx.emit(out, to="out")
        if word == "odd":
            ctx.emit(out, to="odd")
        if word == "twice":
            ctx.emit(out, to="last", event_time=time)

    def end(self):
        return {"word": "end of check", "n": self.n}
`,
	"last.py": `class main:
    def __init__(self):
        self.ids = []

    def event(self, e, ctx):
        self.ids.append(f"{ctx.id} {ctx.key or ''} {ctx.headers.get('word', '')} {ctx.event_time or ''}")
        yield e
        if e["word"] == "bad":
            raise ValueError("last had a bad one")

    def end(self):
        yield {"ids": self.ids}
`,
}

const togetherInput = "one odd\nfail two\nno way !\npanic three\nnowhere\nnone twice\nbad four\n\n"

// togetherCounts are what the functions have counted of it.
var togetherCounts = []control.StageCounts{
	{Stage: "split", In: 8, Out: 11, Failed: 1},
	{Stage: "check", In: 11, Out: 10, Failed: 3},
	{Stage: "last", In: 9, Out: 8, Failed: 1},
}

// results are what a run of together leaves behind.
type results struct{ out, odd, failed, dead string }

// runTogether runs it to its end; while it runs, look sees its status.
func runTogether(t *testing.T, functions files, suffix, fuse string, look func(*command, control.PipelineStatus)) results {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "p.yaml", strings.NewReplacer("SUFFIX", suffix, "fuse: auto", "fuse: "+fuse).Replace(together))
	for name, text := range functions {
		write(t, dir, name, text)
	}
	in, open := fifo(t, dir)
	w := weftIn(t, dir, "run", "p.yaml", "--in", in)
	feed := input(t, open, w)
	defer feed.Close()
	w.running()
	if _, err := io.WriteString(feed, togetherInput); err != nil {
		t.Fatal(err)
	}
	var st control.PipelineStatus
	w.eventually("status with all that each stage has counted", func() bool {
		st, _ = w.status()
		counts := countsOf(st)
		return !slices.ContainsFunc(togetherCounts, func(want control.StageCounts) bool { return counts[want.Stage] != want })
	})
	look(w, st)
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	if code := w.wait(time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	// Letters of two workers come in any order.
	dead := slices.Sorted(strings.Lines(read("together.dead.ndjson")))
	return results{w.stdout.String(), read("odd.ndjson"), read("failed.ndjson"), strings.Join(dead, "")}
}

// countsOf are the counters of each stage, fused or not.
func countsOf(st control.PipelineStatus) map[string]control.StageCounts {
	out := map[string]control.StageCounts{}
	add := func(c control.StageCounts) {
		sum := out[c.Stage]
		out[c.Stage] = control.StageCounts{Stage: c.Stage, In: sum.In + c.In, Out: sum.Out + c.Out, Failed: sum.Failed + c.Failed}
	}
	for _, s := range st.Slots {
		add(control.StageCounts{Stage: s.Slot.Stage, In: s.In, Out: s.Out, Failed: s.Failed})
		for _, f := range s.Fused {
			add(f)
		}
	}
	return out
}

// TestFusedIsTheSame: what comes out, with its ids, what fails, where and why, and what each stage has counted
// is the same whether functions have a process each or one for all.
func TestFusedIsTheSame(t *testing.T) {
	t.Run("Go", func(t *testing.T) { testFusedIsTheSame(t, togetherGo, "go") })
	t.Run("Python", func(t *testing.T) {
		need(t, "python3", "Python 3")
		testFusedIsTheSame(t, togetherPython, "py")
	})
}

func testFusedIsTheSame(t *testing.T, functions files, suffix string) {
	apart := runTogether(t, functions, suffix, "never", func(_ *command, st control.PipelineStatus) {
		if len(st.Slots) != 7 {
			t.Errorf("%d slots, want one of each stage", len(st.Slots))
		}
	})
	fused := runTogether(t, functions, suffix, "auto", func(w *command, st control.PipelineStatus) {
		s := slotOf(t, st, "split[0]")
		if len(st.Slots) != 5 || len(s.Fused) != 2 || s.Fused[0].Stage != "check" || s.Fused[1].Stage != "last" {
			t.Errorf("slots %+v, want check and last in split's", st.Slots)
		}
		if got := w.ask("status"); strings.Count(got, "fused with split") != 2 {
			t.Errorf("weft status:\n%s", got)
		}
		if _, said := w.do("restart", "together", "check"); !strings.Contains(said, "stage check is fused with split") {
			t.Errorf("weft restart says %s", said)
		}
	})
	if fused != apart {
		t.Errorf("fused:\n%+v\napart:\n%+v", fused, apart)
	}
	for what, ok := range map[string]bool{
		"letters of check": strings.Count(apart.failed, `"stage":"check"`) == 3 && strings.Contains(apart.failed, `"id":"in[0]:8/0"`),
		"dead letters":     strings.Count(apart.dead, `"stage":"last"`) == 1 && strings.Count(apart.dead, `"stage":"split"`) == 1,
		"end of last":      strings.Contains(apart.out, `"ids":[`) && strings.Contains(apart.out, "check[0]:end/0"),
		"side output":      strings.Contains(apart.odd, `"word":"odd"`),
		"parameters":       strings.Contains(apart.out, `"greet":"hi"`),
	} {
		if !ok {
			t.Errorf("the run shows no %s: %+v", what, apart)
		}
	}
}

// fusedPass has three functions that share two workers' processes.
const fusedPass = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: pass}
spec:
  vertices:
    - {name: in, source: {stdin: {}, format: ndjson}}
    - {name: a, function: {source: pass.SUFFIX}, replicas: {min: 2}}
    - {name: b, function: {source: pass.SUFFIX}, replicas: {min: 2}}
    - {name: c, function: {source: pass.SUFFIX}, replicas: {min: 2}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: a}
    - {from: a, to: b, fuse: auto}
    - {from: b, to: c, routing: forward, fuse: auto}
    - {from: c, to: out}
`

// TestFusedDeaths: neither the death of a fused process nor that of its worker loses an event.
func TestFusedDeaths(t *testing.T) {
	for _, suffix := range []string{"go", "py"} {
		t.Run(suffix, func(t *testing.T) { testFusedDeaths(t, suffix) })
	}
}

func testFusedDeaths(t *testing.T, suffix string) {
	f := feed(t, strings.ReplaceAll(fusedPass, "SUFFIX", suffix), nil)
	st := f.running()
	f.flows()
	kill(t, slotOf(t, st, "a[0]").FuncPID)
	f.explained("a[0]", "function restarted", "killed")
	f.flows()
	kill(t, -slotOf(t, st, "a[1]").PID)
	f.explained("a[1]", "slot lost")
	f.explained("a[1]", "slot taken", "incarnation 2")
	f.explained("rollback", "a[1]")
	f.flows()
	f.complete()
}

// TestWhyNotFused: weft validate -v names the edges that ask for it in vain.
func TestWhyNotFused(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p.yaml", strings.NewReplacer("SUFFIX", "go",
		"{from: split, to: check}", "{from: split, to: check, routing: broadcast}").Replace(together))
	for name, text := range togetherGo {
		write(t, dir, name, text)
	}
	w := weftIn(t, dir, "validate", "-v", "p.yaml")
	if code := w.wait(time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	want := "p.yaml: ok: in → split → check+last → odd → failed → out\nnot fused: split and check: its routing is broadcast\n"
	if got := w.stdout.String(); got != want {
		t.Errorf("weft validate says\n%s, want\n%s", got, want)
	}
}

// deadly are functions of which the second dies on an event of the first's, and what it has besides goes on.
var deadly = files{
	"split.go": togetherGo["split.go"],
	"last.go": `package main

import (
	"context"
	"os"

	weft "github.com/weft-stream/weft/sdk/go"
)

func main() {
	weft.Map(func(ctx context.Context, e map[string]any) (map[string]any, error) {
		if e["word"] == "kill-last" {
			os.Exit(4)
		}
		return e, nil
	})
}
`,
	"check.go": `package main

import (
	"context"
	"os"

	weft "github.com/weft-stream/weft/sdk/go"
)

type event struct {
	Word string ` + "`json:\"word\"`" + `
	ID   string ` + "`json:\"id\"`" + `
}

func main() {
	weft.Map(func(ctx context.Context, e event) (event, error) {
		if e.Word == "kill" {
			os.Exit(3)
		}
		return event{e.Word, weft.EventOf(ctx).ID()}, nil
	})
}
`,
	"split.py": togetherPython["split.py"],
	"check.py": `import os


def main(event, ctx):
    if event["word"] == "kill":
        os._exit(3)
    return {"word": event["word"], "id": ctx.id}
`,
	"last.py": `import os


def main(event):
    if event["word"] == "kill-last":
        os._exit(4)
    return event
`,
}

// TestFusedPoison: an event that kills the process in one of its stages goes to that stage's error edge, as it
// would apart, and what else was made with it goes on.
func TestFusedPoison(t *testing.T) {
	for _, suffix := range []string{"go", "py"} {
		for _, retries := range []string{"0", "1"} {
			t.Run(suffix+" "+retries, func(t *testing.T) {
				run := func(fuse string) results {
					dir := t.TempDir()
					spec := strings.NewReplacer("SUFFIX", suffix, "fuse: auto", "fuse: "+fuse).Replace(together)
					write(t, dir, "p.yaml", regexp.MustCompile(`(function: .*\})\}`).ReplaceAllString(spec, "$1, retries: "+retries+"}"))
					for name, text := range deadly {
						write(t, dir, name, text)
					}
					in := write(t, dir, "in.txt", "one kill two\nkill kill kill-last three\nkill\nfour\n")
					w := weftIn(t, dir, "run", "p.yaml", "--in", in)
					if code := w.wait(2 * time.Minute); code != 0 {
						t.Fatalf("exit code %d", code)
					}
					// What was done when the process died may come again.
					lines := func(text string) string { return strings.Join(slices.Compact(slices.Sorted(strings.Lines(text))), "") }
					read := func(name string) string {
						b, err := os.ReadFile(filepath.Join(dir, name))
						if err != nil {
							t.Fatal(err)
						}
						return lines(string(b))
					}
					return results{lines(w.stdout.String()), read("odd.ndjson"), read("failed.ndjson"), read("together.dead.ndjson")}
				}
				apart, fused := run("never"), run("auto")
				if fused != apart {
					t.Errorf("fused:\n%+v\napart:\n%+v", fused, apart)
				}
				if strings.Count(apart.failed, `"stage":"check"`) != 4 || strings.Count(apart.dead, `"stage":"last"`) != 1 || strings.Count(apart.out, "\n") != 4 {
					t.Errorf("apart:\n%+v", apart)
				}
			})
		}
	}
}

// TestFusedExample: the example runs as its first lines say.
func TestFusedExample(t *testing.T) {
	example, err := filepath.Abs("../examples/fused/pipeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	book := write(t, dir, "book.txt", "The warp is kept under tension,\nthe workers are kept warm: uninterruptedly, Überraschungen!\n")
	w := weftIn(t, dir, "run", example, "--in", book)
	if code := w.wait(time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if got, want := w.stdout.String(), "{\"word\":\"uninterruptedly\"}\n{\"word\":\"überraschungen\"}\n"; got != want {
		t.Errorf("output %s, want %s", got, want)
	}
	if said := w.stderr.String(); !strings.Contains(said, "in → words+long → out; 3 workers") {
		t.Errorf("weft says %s", said)
	}
}
