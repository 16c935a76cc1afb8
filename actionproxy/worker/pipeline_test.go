package worker_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// streaming is a Python function as users write it: the SDK's launcher makes it stream.
func streaming(body string) string { return "import os, sys, time\n" + body }

// ordinary is the same function as a program that knows nothing but lines: any existing action.
func ordinary(t *testing.T, body string) string {
	t.Helper()
	needPython(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	return "#!" + python + "\n" + streaming(body) + `
import json
out = os.fdopen(3, "w")
for activation in sys.stdin:
    try:
        result = main(json.loads(activation)["value"])
    except Exception as e:
        result = {"error": repr(e)}
    sys.stdout.flush()
    out.write((result if isinstance(result, str) else json.dumps(result)) + "\n")
    out.flush()
`
}

// eachABI runs a test with a function of both kinds.
func eachABI(t *testing.T, body string, test func(t *testing.T, code string)) {
	needPython(t)
	t.Run("stream", func(t *testing.T) { test(t, streaming(body)) })
	t.Run("actionloop", func(t *testing.T) { test(t, ordinary(t, body)) })
}

const upper = `
def main(args):
    return {"line": args["line"].upper()}
`

func uppers(n int) (want []string) {
	for i := range n {
		want = append(want, fmt.Sprintf("LINE %d", i))
	}
	slices.Sort(want)
	return want
}

// texts are the "line" fields of the sink's events, sorted. The caller holds mu.
func (h *testHook) texts() (out []string) {
	for _, l := range h.lines() {
		_, text, _ := strings.Cut(l, `"line"`)
		out = append(out, strings.Trim(text, `: "}`))
	}
	slices.Sort(out)
	return out
}

func (r *rig) wantTexts(want []string) {
	r.t.Helper()
	r.mu.Lock()
	got := r.texts()
	r.mu.Unlock()
	if !slices.Equal(got, want) {
		r.t.Fatalf("the sink has %d lines %.20q, want %d; %s", len(got), got[:min(20, len(got))], len(want), r.describe())
	}
}

// terminate ends the pipeline in order and looks at what the leases answer.
func (r *rig) terminate() {
	r.t.Helper()
	r.send(control.TypeTerminate, control.Terminate{Term: 1, Reason: "ended"})
	for stage, run := range r.runs {
		a := await(r.t, run)
		weft, _ := a.reply["weft"].(map[string]any)
		if a.status != 200 || weft["terminated"] != true || weft["slot"] != stage+"[0]" {
			r.t.Errorf("the lease of %s answers %v", stage, a)
		}
		if holder := r.containers[stage].worker.Holding(); holder != "" {
			r.t.Errorf("the container of %s is still held by %s", stage, holder)
		}
	}
}

// A source, a function and a sink, over real QUIC: all events arrive, and all leases are answered when
// the pipeline has ended.
func TestEndToEnd(t *testing.T) {
	eachABI(t, upper, func(t *testing.T, code string) {
		h := newTestHook(t, chain(nil))
		h.input = []byte(numbered(2000))
		r := start(t, h, code)
		for _, stage := range []string{"out", "f", "in"} {
			h.heard(control.TypeReady, slotOf(stage))
		}
		h.heard(control.TypeEnded, slotOf("in"))
		h.heard(control.TypeEnded, slotOf("out"))
		r.wantTexts(uppers(2000))
		r.terminate()
		if log := r.containers["f"].log.String(); strings.Count(log, "XXX_THE_END") != 2 {
			t.Errorf("the log of the lease is %q, want the two ends of one activation", log)
		}
	})
}

// A Go function that keeps state: it says at the end what it has gathered.
func TestGoFunction(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a Go program")
	}
	code, err := os.ReadFile("testdata/count.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	h := newTestHook(t, chain(func(p *pipeline.Pipeline) { p.Stages[1].Stateful = true }))
	h.input = []byte(numbered(5000))
	r := start(t, h, string(code))
	h.heard(control.TypeEnded, slotOf("out"))
	r.wantTexts([]string{"5000"})
	r.terminate()
}

// After its lease the container answers ordinary activations again; during it, it says who holds it.
func TestOrdinaryRuns(t *testing.T) {
	eachABI(t, upper, func(t *testing.T, code string) {
		h := newTestHook(t, chain(nil))
		h.open = true
		r := start(t, h, code)
		h.heard(control.TypeReady, slotOf("f"))
		a := await(t, r.containers["f"].run(map[string]any{"line": "x"}, patience))
		if a.status != 200 || a.reply["error"] != "held by pipeline p" {
			t.Errorf("during the lease: %v", a)
		}
		r.terminate()
		a = await(t, r.containers["f"].run(map[string]any{"line": "x"}, patience))
		if a.status != 200 || a.reply["line"] != "X" {
			t.Errorf("after the lease: %v", a)
		}
		for stage, want := range map[string]string{"in": "without a lease", "out": "without a lease"} {
			a := await(t, r.containers[stage].run(map[string]any{}, patience))
			if text, _ := a.reply["error"].(string); a.status != 200 || !strings.Contains(text, want) {
				t.Errorf("%s: %v", stage, a)
			}
		}
	})
}

// One event becomes several, none, or an error; an array of results is several.
func TestResults(t *testing.T) {
	const split = `
def main(args):
    if args["line"] == "fail":
        return {"error": {"code": 7}}
    return [{"line": w} for w in args["line"].split()]
`
	h := newTestHook(t, chain(nil))
	h.input = []byte("a b c\n\nfail\nd\n")
	r := start(t, h, ordinary(t, split))
	h.heard(control.TypeEnded, slotOf("out"))
	r.wantTexts([]string{"a", "b", "c", "d"})
	want := `{"error":{"code": 7},"stage":"f","id":"in[0]:7","event":{"line":"fail"}}`
	if got := strings.TrimSpace(string(h.dead)); strings.ReplaceAll(got, `{"code":7}`, `{"code": 7}`) != want {
		t.Errorf("dead letters %s, want %s", got, want)
	}
}

// What an ordinary action is given: the lease's own parameters under the event, and its activation.
func TestActivation(t *testing.T) {
	const show = `
seen = {}
def main(args):
    return {"line": args["line"], "greeting": args["greeting"], "lease": "__weft" in args}
`
	h := newTestHook(t, chain(nil))
	h.input = []byte("x\n")
	start(t, h, ordinary(t, show), map[string]any{"greeting": "hi", "line": "overlaid"})
	h.heard(control.TypeEnded, slotOf("out"))
	if got, want := strings.TrimSpace(string(h.output)), `{"line": "x", "greeting": "hi", "lease": false}`; got != want {
		t.Errorf("the sink has %s, want %s", got, want)
	}
}

// A key edge brings equal keys to one slot, and an event without the key to the dead letters.
func TestKeyEdge(t *testing.T) {
	const who = `
def main(args):
    return {"line": args["user"]["id"], "by": os.getpid()}
`
	needPython(t)
	h := newTestHook(t, chain(func(p *pipeline.Pipeline) {
		p.Stages[0].Source.Format = pipeline.NDJSON
		p.Stages[1].Replicas = pipeline.Replicas{Min: 2, Max: 2}
		p.Edges[0].Routing, p.Edges[0].Key = pipeline.Key, "user.id"
	}))
	var in strings.Builder
	for i := range 200 {
		fmt.Fprintf(&in, `{"user":{"id":"u%d"}}`+"\n", i%20)
	}
	in.WriteString("{\"user\":{}}\nno JSON\n")
	h.input = []byte(in.String())
	second := startContainer(t, h.addr())
	second.init(streaming(who))
	start(t, h, streaming(who))
	second.lease(h, "f", "lease-f-2")
	h.heard(control.TypeEnded, slotOf("out"))
	by := map[string]bool{}
	for _, l := range h.lines() {
		by[l] = true
	}
	if len(by) != 20 {
		t.Errorf("%d pairs of user and process, want one for each of 20 users; %s", len(by), h.describe())
	}
	for _, want := range []string{`the event has no field \"user.id\"`, `"event":"no JSON"`, fmt.Sprintf(`"id":"in[0]:%d"`, in.Len()-8)} {
		if !strings.Contains(string(h.dead), want) {
			t.Errorf("dead letters lack %s: %s", want, h.dead)
		}
	}
}
