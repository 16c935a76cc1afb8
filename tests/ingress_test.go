package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// asked stands in for a sequence: a streaming function in Python, then an ordinary action in JavaScript.
const asked = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: asked}
spec:
  guarantee: best-effort
  vertices:
    - {name: in, source: {ingress: {}}, timeout: TIMEOUT}
    - {name: work, function: {source: work.py}, replicas: {min: 2}, retries: 0}
    - {name: say, function: {source: say.js}, replicas: {min: 2}}
    - {name: out, sink: {reply: {}}}
  edges:
    - {from: in, to: work}
    - {from: work, to: say, routing: key, key: text}
    - {from: say, to: out}
`

const workPython = `import os, time

def main(event):
    do = event.get("do")
    if do == "fail":
        raise ValueError("no " + event["text"])
    if do == "die":
        os._exit(3)
    if do == "wait":
        time.sleep(event["s"])
    if do == "drop":
        return
    for i in range(event.get("times", 1)):
        yield {**event, "i": i}
`

const sayJS = `function main(args) {
  if (args.do === 'mute') return {}
  if (args.do === 'mute odd' && args.i % 2) return {}
  if (args.do === 'refuse') return {error: {code: 7}}
  return {text: args.text + '!', i: args.i}
}
`

// askable deploys and starts it.
func askable(t testing.TB, r rest, timeout string) {
	t.Helper()
	need(t, "python3", "Python 3")
	need(t, "node", "Node.js 18 or later (nodejs)")
	dir := t.TempDir()
	write(t, dir, "p.yaml", strings.ReplaceAll(asked, "TIMEOUT", timeout))
	write(t, dir, "work.py", workPython)
	write(t, dir, "say.js", sayJS)
	deployed(t, r, dir)
	if a := r.conduct("asked", "start"); !a.Response.Success {
		t.Fatalf("start: %s", a.Response.Result)
	}
}

// invoke waits for an action's result.
func (r rest) invoke(action string, params any) (status int, result string) {
	r.t.Helper()
	var raw json.RawMessage
	status = r.call("POST", "actions/"+action+"?blocking=true&result=true", params, &raw)
	return status, string(raw)
}

type object map[string]any

// TestIngress invokes a pipeline like a sequence, by each of its two actions.
func TestIngress(t *testing.T) {
	w, r, hook := up(t)
	if status, result := r.invoke("asked", object{"text": "x"}); status != http.StatusNotFound {
		t.Errorf("before it is deployed: %d %s", status, result)
	}
	askable(t, r, "20s")
	for _, action := range []string{"asked", "asked.stages/ingress"} {
		for _, c := range []struct {
			event  object
			status int
			want   string
		}{
			{object{"text": "hello"}, 200, `{"i":0,"text":"hello!"}`},
			{object{"text": "many", "times": 3}, 200, `{"results":[{"i":0,"text":"many!"},{"i":1,"text":"many!"},{"i":2,"text":"many!"}]}`},
			{object{"text": "none", "times": 0}, 200, `{}`},
			{object{"text": "nothing", "do": "drop"}, 200, `{}`},
			{object{"text": "mute", "do": "mute"}, 200, `{}`},
			{object{"text": "some", "do": "mute odd", "times": 4}, 200, `{"results":[{"i":0,"text":"some!"},{"i":2,"text":"some!"}]}`},
			{object{"text": "luck", "do": "fail"}, 502, `"reason":"ValueError: no luck","stage":"work"`},
			{object{"text": "x", "do": "die"}, 502, `the function died on this event 1 times`},
			{object{"text": "x", "do": "refuse"}, 502, `"reason":{"code":7},"stage":"say"`},
			{object{"do": "drop no text"}, 502, `edge work to say: the event has no field \"text\" to take its key from`},
		} {
			status, result := r.invoke(action, c.event)
			whole := strings.HasPrefix(c.want, "{")
			if status != c.status || whole && canonical(t, result) != c.want || !whole && !strings.Contains(canonical(t, result), c.want) {
				t.Errorf("%s %v: %d %s, want %d %s", action, c.event, status, result, c.status, c.want)
			}
		}
	}
	// The bound parameters are the pipeline's own matter; an event may have any for the ingress action.
	if status, result := r.invoke("asked.stages/ingress", object{"op": "stop", "text": "op"}); status != 200 || canonical(t, result) != `{"i":0,"text":"op!"}` {
		t.Errorf("an event with op: %d %s", status, result)
	}
	t.Run("one activation", func(t *testing.T) {
		var got activation
		r.call("POST", "actions/asked?blocking=true", object{"text": "once"}, &got)
		if len(got.Logs) != 1 {
			t.Errorf("the composition has %d activations, want the conductor's own alone", len(got.Logs))
		}
	})
	t.Run("many at once", func(t *testing.T) { r.askAtOnce(50) })
	t.Run("frozen", func(t *testing.T) {
		// The containers of all these invocations are frozen by now, or will be; their links are not trusted.
		marked := processesWith(w.mark)
		w.eventually("frozen containers", func() bool {
			n := 0
			for pid := range marked {
				if processState(pid) == 'T' {
					n++
				}
			}
			return n >= 10
		})
		r.askAtOnce(10)
	})
	t.Run("stranger", func(t *testing.T) { strangers(t, r, hook) })
	if a := r.conduct("asked", "stop"); !a.Response.Success {
		t.Errorf("stop: %s", a.Response.Result)
	}
	if status, result := r.invoke("asked", object{"text": "x"}); status != 502 || !strings.Contains(result, "has stopped: start it first") {
		t.Errorf("after the stop: %d %s", status, result)
	}
	if a := r.conduct("asked", "start"); !a.Response.Success {
		t.Fatalf("start again: %s", a.Response.Result)
	}
	r.askAtOnce(5) // warm containers find the way into the next run
}

// canonical is a JSON object without spaces, its keys sorted.
func canonical(t testing.TB, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// askAtOnce invokes n times at the same time; each gets its own answer.
func (r rest) askAtOnce(n int) {
	r.t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			want := fmt.Sprintf(`{"i":0,"text":"caller %d!"}`, i)
			if status, result := r.invoke("asked", object{"text": fmt.Sprint("caller ", i)}); status != 200 || canonical(r.t, result) != want {
				r.t.Errorf("caller %d: %d %s", i, status, result)
			}
		})
	}
	all.Wait()
}

// TestIngressTimeLimit: the vertex's timeout is the callers'.
func TestIngressTimeLimit(t *testing.T) {
	_, r, _ := up(t)
	askable(t, r, "1s")
	status, result := r.invoke("asked", object{"text": "late", "do": "wait", "s": 3})
	if status != 502 || !strings.Contains(result, "no whole result within 1s, the timeout of in") {
		t.Errorf("%d %s", status, result)
	}
	eventually(t, "an answer in time", func() bool {
		status, result := r.invoke("asked", object{"text": "soon"})
		return status == 200 && canonical(t, result) == `{"i":0,"text":"soon!"}`
	})
}

// TestIngressWorkersKilled: whoever waits for a worker that dies hears of it, and the next one is answered.
func TestIngressWorkersKilled(t *testing.T) {
	w, r, _ := up(t)
	askable(t, r, "4m")
	for _, stage := range []string{"work", "say", "out", "in"} {
		for i := range 2 {
			status := r.status("asked")
			pid := 0
			for _, s := range status.Slots {
				if s.Slot.Stage == stage && s.Slot.Index == i {
					pid = s.PID
				}
			}
			if pid == 0 {
				continue
			}
			var all sync.WaitGroup
			before := arrived(status, "work")
			for n := range 2 {
				all.Go(func() {
					code, result := r.invoke("asked", object{"text": fmt.Sprint("n", n), "do": "wait", "s": 2})
					lost := strings.Contains(result, "was lost") || strings.Contains(result, "has stopped")
					if code != 200 && (code != 502 || !lost) {
						t.Errorf("%s[%d] killed: %d %s", stage, i, code, result)
					}
				})
			}
			w.eventually("events in work", func() bool { return arrived(r.status("asked"), "work") > before })
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			all.Wait() // long before the time limit, or the test's own
			t.Logf("%s[%d] killed: all callers knew after %v", stage, i, time.Since(killed).Round(time.Millisecond))
			eventually(t, "an answer after the repair", func() bool {
				code, _ := r.invoke("asked", object{"text": "again"})
				return code == 200
			})
			w.eventually("a whole pipeline", func() bool {
				for _, s := range r.status("asked").Slots {
					if s.State != "ready" || s.PID == 0 || s.PID == pid {
						return false
					}
				}
				return true
			})
		}
	}
}

func arrived(st control.PipelineStatus, stage string) (n uint64) {
	for _, s := range st.Slots {
		if s.Slot.Stage == stage {
			n += s.In
		}
	}
	return n
}

// TestIngressRun: weft run says how it is invoked and serves until Ctrl-C.
func TestIngressRun(t *testing.T) {
	need(t, "python3", "Python 3")
	need(t, "node", "Node.js 18 or later (nodejs)")
	dir := t.TempDir()
	write(t, dir, "p.yaml", strings.ReplaceAll(asked, "TIMEOUT", "20s"))
	write(t, dir, "work.py", workPython)
	write(t, dir, "say.js", sayJS)
	w := weftIn(t, dir, "run", "p.yaml")
	host, key, _ := w.api()
	w.eventually("the word that it serves", func() bool {
		return strings.Contains(w.stderr.String(), "wsk action invoke asked -r")
	})
	r := rest{t, host, key}
	if status, result := r.invoke("asked", object{"text": "run"}); status != 200 || canonical(t, result) != `{"i":0,"text":"run!"}` {
		t.Errorf("%d %s", status, result)
	}
	w.interrupt()
	if code := w.wait(time.Minute); code != 130 {
		t.Errorf("exit code %d", code)
	}
	if out := w.stdout.String(); out != "" {
		t.Errorf("stdout %q", out)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.dead.ndjson")); len(left) > 0 {
		t.Errorf("dead letters: %v", left)
	}
}

// strangers may not enter: neither at the platform, nor as another action, nor at the hook itself.
func strangers(t *testing.T, r rest, hook string) {
	for _, key := range []string{"", "00000000-0000-0000-0000-000000000000:nobody"} {
		s := r
		s.key = key
		if status := s.call("POST", "actions/asked?blocking=true&result=true", object{"text": "x"}, nil); status != http.StatusUnauthorized {
			t.Errorf("key %q: status %d", key, status)
		}
	}
	for name, want := range map[string]string{
		"asked.stages/other": "brings no events of pipeline asked",
		"unasked":            "is in no package of a pipeline's stages",
	} {
		forged := object{"exec": object{"kind": "go:1.26", "code": "weft:ingress"}, "annotations": []object{{"key": "provide-api-key", "value": true}}}
		if status := r.call("PUT", "actions/"+name, forged, nil); status != http.StatusOK {
			t.Fatalf("create %s: %d", name, status)
		}
		if status, result := r.invoke(name, object{"text": "x"}); status != http.StatusBadGateway || !strings.Contains(result, want) {
			t.Errorf("%s: %d %s", name, status, result)
		}
	}
	conn, err := control.Dial(t.Context(), hook, func(_ *control.Message, _ bool, reply func(control.Answer)) { reply(control.Answer{}) })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Call(t.Context(), control.TypeHello, control.Hello{Version: control.Version, Role: control.RoleProxy, Worker: "stranger"}, nil, nil)
	for _, key := range []string{"", "00000000-0000-0000-0000-000000000000:nobody", r.key[:len(r.key)-1]} {
		e := control.Enter{Namespace: "guest", Pipeline: "asked", Action: "/guest/asked", APIKey: key}
		if _, err := conn.Call(t.Context(), control.TypeEnter, e, nil, nil); err == nil {
			t.Error("a stranger has entered")
		}
	}
}

// forked goes two ways, each event at both slots of a broadcast, and repairs what has failed.
const forked = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: forked}
spec:
  guarantee: best-effort
  vertices:
    - {name: in, source: {ingress: {}}, timeout: 20s}
    - {name: left, function: {source: side.py, parameters: {side: left}}, replicas: {min: 2}}
    - {name: right, function: {source: side.py, parameters: {side: right}}}
    - {name: rescue, function: {source: rescue.py}}
    - {name: out, sink: {reply: {}}, replicas: {min: 2}}
    - {name: other, sink: {reply: {}}}
  edges:
    - {from: in, to: left, routing: broadcast}
    - {from: in, to: right}
    - {from: left, to: out}
    - {from: right, to: out}
    - {from: right, to: other}
    - {from: right, to: rescue, on: error}
    - {from: rescue, to: out}
`

const sidePython = `def main(event, context):
    side = context.parameters["side"]
    if event.get("fail") == side:
        raise ValueError(side)
    for i in range(event.get(side, 1)):
        yield {"side": side, "i": i}
`

const rescuePython = `def main(letter):
    if letter["event"].get("lost"):
        return None
    return {"side": "rescued " + letter["stage"]}
`

// TestIngressShapes: all that comes of an event is waited for, by however many ways it goes, and no more.
func TestIngressShapes(t *testing.T) {
	need(t, "python3", "Python 3")
	_, r, _ := up(t)
	dir := t.TempDir()
	write(t, dir, "p.yaml", forked)
	write(t, dir, "side.py", sidePython)
	write(t, dir, "rescue.py", rescuePython)
	deployed(t, r, dir)
	if a := r.conduct("forked", "start"); !a.Response.Success {
		t.Fatalf("start: %s", a.Response.Result)
	}
	for _, c := range []struct {
		event object
		code  int
		want  map[string]int // results by side
	}{
		{object{}, 200, map[string]int{"left": 2, "right": 2}},
		{object{"left": 0}, 200, map[string]int{"right": 2}},
		{object{"left": 3, "right": 0}, 200, map[string]int{"left": 6}},
		{object{"left": 0, "right": 0}, 200, map[string]int{}},
		{object{"fail": "right"}, 200, map[string]int{"left": 2, "rescued right": 1}},
		{object{"fail": "right", "lost": 1}, 200, map[string]int{"left": 2}},
		{object{"fail": "left"}, 502, nil},
	} {
		code, result := r.invoke("forked", c.event)
		var several struct {
			Results []struct{ Side string }
			Error   struct{ Stage string }
		}
		if err := json.Unmarshal([]byte(result), &several); err != nil {
			t.Fatalf("%v: %d %s: %v", c.event, code, result, err)
		}
		sides := map[string]int{}
		for _, s := range several.Results {
			sides[s.Side]++
		}
		if code != c.code || code == 200 && !maps.Equal(sides, c.want) || code != 200 && several.Error.Stage != "left" {
			t.Errorf("%v: %d %s, want %v", c.event, code, result, c.want)
		}
	}
}

// TestIngressWithoutHook: warm containers need no hook, and others wait for the next one.
func TestIngressWithoutHook(t *testing.T) {
	w, r, _ := up(t)
	askable(t, r, "20s")
	r.askAtOnce(1)
	for pid, line := range processesWith(w.mark) {
		if strings.Contains(line, "invokerhook") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.askAtOnce(1)
	r.askAtOnce(12)
}
