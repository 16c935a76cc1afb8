package worker_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// letters are the dead letters by the line of their event.
func (h *testHook) letters() map[string]letter {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]letter{}
	for _, text := range strings.Split(strings.TrimSpace(string(h.dead)), "\n") {
		var l letter
		if text == "" {
			continue
		}
		must(h.t, json.Unmarshal([]byte(text), &l))
		out[l.Event.Line] = l
	}
	return out
}

type letter struct {
	Error any
	Stage string
	ID    string
	Event struct{ Line string }
	// EventBytes is there instead of an event that is too large.
	EventBytes int
	// History says how the function died on the event.
	History []string
}

// Whatever a function does with an event, the others get through, and that one is found among the dead
// letters with what happened to it.
func TestBadFunctions(t *testing.T) {
	const bad = `
def main(args):
    line = args["line"]
    if line == "throw":
        raise ValueError("thrown")
    if line == "print":
        print("printed"); print("complained", file=sys.stderr)
    if line == "sentinel":
        print("XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX", flush=True)
    if line == "exit":
        print("last words", file=sys.stderr, flush=True); os._exit(3)
    if line == "hang":
        time.sleep(1000)
    if line == "large":
        return {"line": "x" * 10_000_000}
    return {"line": line.upper()}
`
	eachABI(t, bad, func(t *testing.T, code string) {
		h := newTestHook(t, chain(func(p *pipeline.Pipeline) {
			p.Stages[1].TimeoutMS = 3000 // for a large one, on a busy machine
			p.Edges[1].MaxPayload = 1 << 20
		}))
		var in strings.Builder
		for i, what := range []string{"throw", "print", "sentinel", "exit", "hang", "large"} {
			fmt.Fprintf(&in, "a%d\n%s\nb%d\n", i, what, i)
		}
		h.input = []byte(in.String())
		r := start(t, h, code)
		h.heard(control.TypeEnded, slotOf("out"))
		r.wantTexts([]string{"A0", "A1", "A2", "A3", "A4", "A5", "B0", "B1", "B2", "B3", "B4", "B5", "PRINT", "SENTINEL"})
		letters := h.letters()
		for what, want := range map[string]string{
			"throw": "thrown", "exit": "exit status 3: last words", "hang": "stalled", "large": "too large",
		} {
			l, ok := letters[what]
			if what == "large" { // the output is what can't be sent; it is too large for its letter, too
				l, ok = letters[""]
			}
			if what == "large" && l.EventBytes < 10_000_000 {
				t.Errorf("the letter of the large event speaks of %d bytes", l.EventBytes)
			}
			if text := fmt.Sprint(l.Error); !ok || !strings.Contains(text, want) || l.Stage != "f" {
				t.Errorf("%s: the letter is %.300v, want %q", what, l, want)
			}
			if (what == "exit" || what == "hang") && len(l.History) != 2 {
				t.Errorf("%s: history %q, want two deaths", what, l.History)
			}
		}
		if len(letters) != 4 {
			t.Errorf("%d dead letters, want 4", len(letters))
		}
		h.heard(control.TypeRestarted, slotOf("f"))
		for _, words := range []string{"printed", "complained", "(sentinel removed)", "last words"} {
			h.until("the log line "+words, func() bool { return h.logged(words) })
		}
		r.terminate()
		if log := r.containers["f"].log.String(); strings.Contains(log, "printed") || strings.Contains(log, "words") {
			t.Errorf("the platform's log has the function's output: %q", log)
		}
	})
}

// logged looks for a line in what workers sent as logs. The caller holds mu.
func (h *testHook) logged(words string) bool {
	for _, s := range h.said {
		for _, l := range s.log.Lines {
			if strings.Contains(l.Text, words) {
				return true
			}
		}
	}
	return false
}

// An answer that is no JSON, or no object, is the event's failure.
func TestNoJSON(t *testing.T) {
	const odd = `
def main(args):
    return {"text": "no json", "number": "7", "list": '[{"line": "x"}, 7]'}.get(args["line"], '{"line":"ok"}')
`
	h := newTestHook(t, chain(nil))
	h.input = []byte("text\nnumber\nlist\nx\n")
	r := start(t, h, ordinary(t, odd))
	h.heard(control.TypeEnded, slotOf("out"))
	r.wantTexts([]string{"ok"})
	for what, want := range map[string]string{"text": "not JSON", "number": "no JSON object: 7", "list": "no JSON object: 7"} {
		if l := h.letters()[what]; !strings.Contains(fmt.Sprint(l.Error), want) {
			t.Errorf("%s: the letter is %v, want %q", what, l, want)
		}
	}
}

// A function that dies in the middle is replaced, and what it had in work is done again: nothing is lost.
func TestDeathIsRetried(t *testing.T) {
	eachABI(t, `
def main(args):
    once = os.path.join(os.environ["__OW_DIR"] if "__OW_DIR" in os.environ else args["dir"], "died")
    if args["line"] == "line 700" and not os.path.exists(once):
        open(once, "w").close()
        os._exit(1)
    return {"line": args["line"].upper()}
`, func(t *testing.T, code string) {
		dir := t.TempDir()
		// A streaming function has its parameters in the context; a constant does for both.
		code = strings.Replace(code, `os.environ["__OW_DIR"] if "__OW_DIR" in os.environ else args["dir"]`, fmt.Sprintf("%q", dir), 1)
		h := newTestHook(t, chain(nil))
		h.input = []byte(numbered(1500))
		r := start(t, h, code)
		h.heard(control.TypeEnded, slotOf("out"))
		r.wantTexts(uppers(1500))
		if said := h.heard(control.TypeRestarted, slotOf("f")); !strings.Contains(said.state.Reason, "exit status 1") {
			t.Errorf("the reason of the restart is %q", said.state.Reason)
		}
		if len(h.letters()) != 0 {
			t.Errorf("dead letters %s", h.dead)
		}
		if matches, _ := filepath.Glob(filepath.Join(dir, "died")); len(matches) != 1 {
			t.Error("the function did not die")
		}
	})
}

// A stage with state can't go on when its function dies: the brain decides.
func TestStatefulDeath(t *testing.T) {
	eachABI(t, `
def main(args):
    os._exit(9)
`, func(t *testing.T, code string) {
		h := newTestHook(t, chain(func(p *pipeline.Pipeline) { p.Stages[1].Stateful = true }))
		h.input = []byte("x\n")
		r := start(t, h, code)
		said := h.heard(control.TypeFailed, slotOf("f"))
		if !strings.Contains(said.state.Reason, "exit status 9") || !strings.Contains(said.state.Reason, "state") {
			t.Errorf("it failed because of %q", said.state.Reason)
		}
		h.send(control.TypeTerminate, control.Terminate{Term: 1, Reason: "failed", Error: "f failed"})
		if a := await(t, r.runs["f"]); a.status != 200 || a.reply["error"] != "f failed" {
			t.Errorf("the lease answers %v", a)
		}
	})
}

// A function that can't end fails the slot, after some tries.
func TestCannotEnd(t *testing.T) {
	needPython(t)
	h := newTestHook(t, chain(nil))
	h.input = []byte("x\n")
	start(t, h, `
class main:
    def event(self, e):
        return e
    def end(self):
        raise RuntimeError("no end")
`)
	if said := h.heard(control.TypeFailed, slotOf("f")); !strings.Contains(said.state.Reason, "no end") {
		t.Errorf("it failed because of %q", said.state.Reason)
	}
}

// A function that can't begin its stream fails the slot with its own words.
func TestCannotStart(t *testing.T) {
	needPython(t)
	h := newTestHook(t, chain(nil))
	start(t, h, `
class main:
    def __init__(self):
        raise RuntimeError("no model file")
    def event(self, e):
        return e
`)
	if said := h.heard(control.TypeFailed, slotOf("f")); !strings.Contains(said.state.Reason, "no model file") {
		t.Errorf("it failed because of %q", said.state.Reason)
	}
}
