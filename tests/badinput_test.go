package tests

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// through has one function, called f, between the standard input and output; %s is its line.
func through(function string) string {
	return fmt.Sprintf(`apiVersion: weft/v1
kind: Pipeline
metadata: {name: p}
spec:
  vertices:
    - {name: in, source: {stdin: {}, format: ndjson}}
    - {name: f, %s}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: f}
    - {from: f, to: out, maxPayload: 8Mi}
`, function)
}

var python = through("function: {source: f.py}")

// files are written into the command's folder; "-" is its standard input.
type files map[string]string

// runs runs weft run p.yaml in a folder with files, and waits for its end.
func runs(t testing.TB, f files, args ...string) *command {
	t.Helper()
	return f.weft(t, func(*exec.Cmd) {}, append([]string{"run", "p.yaml"}, args...)...)
}

func (f files) weft(t testing.TB, change func(*exec.Cmd), args ...string) *command {
	t.Helper()
	dir := t.TempDir()
	for name, text := range f {
		if name != "-" {
			write(t, dir, name, text)
		}
	}
	return weftWith(t, dir, func(c *exec.Cmd) {
		c.Stdin = strings.NewReader(f["-"])
		change(c)
	}, func() {}, args...)
}

// ends waits for the end, and wants the exit code and all the words on stderr.
func (c *command) ends(code int, words ...string) {
	c.t.Helper()
	if got := c.wait(2 * time.Minute); got != code {
		c.t.Errorf("exit code %d, want %d", got, code)
	}
	for _, w := range words {
		if !strings.Contains(c.stderr.String(), w) {
			c.t.Errorf("stderr lacks %q:\n%s", w, c.stderr.String())
		}
	}
}

// letter is one dead letter.
type letter struct {
	Error   json.RawMessage
	Stage   string
	ID      string
	Event   json.RawMessage
	Bytes   int `json:"eventBytes"`
	History []string
}

// dead reads the dead letters of pipeline p.
func (c *command) dead() []letter {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.dir, "p.dead.ndjson"))
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	return ndjson[letter](c.t, string(b))
}

// counted is {"n":0}, {"n":1}, … a line each.
func counted(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"n\":%d}\n", i)
	}
	return b.String()
}

// wantNumbers wants the events 0 … n-1 but those left out, in any order.
func (c *command) wantNumbers(n int, but ...int) {
	c.t.Helper()
	var got, want []int
	for _, e := range ndjson[struct{ N int }](c.t, c.stdout.String()) {
		got = append(got, e.N)
	}
	for i := range n {
		if !slices.Contains(but, i) {
			want = append(want, i)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		c.t.Errorf("came out: %v, want %v", got, want)
	}
}

// TestNothingIsStarted gives weft what it can't run: a clear word, the right exit code, no output.
func TestNothingIsStarted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wrong := strings.NewReplacer("to: f", "to: ff", "name: out", "nam: out", "f.py", "missing.py", "weft/v1", "weft/v2").Replace(python)
	fine := files{"p.yaml": python, "f.py": passPython}
	wordcount, err := filepath.Abs("../examples/wordcount/pipeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	nothing := t.TempDir()
	empty := func(c *exec.Cmd) { c.Env = append(c.Env, "PATH="+nothing) }
	run := []string{"run", "p.yaml"}
	for _, c := range []struct {
		name   string
		files  files
		change func(*exec.Cmd)
		args   []string
		code   int
		words  []string
	}{
		{"problems", files{"p.yaml": wrong}, nil, run, 2, []string{`p.yaml:1:13: "weft/v2"`, `"ff"`, `"nam"`, "missing.py", "problem(s) in p.yaml; nothing was started"}},
		{"no YAML", files{"p.yaml": "a: [b"}, nil, run, 2, []string{"p.yaml:1:", "not YAML"}},
		{"binary", files{"p.yaml": "\x00\x01\xff\xfe"}, nil, run, 2, []string{"p.yaml:1:1"}},
		{"empty spec", files{"p.yaml": ""}, nil, run, 2, []string{"p.yaml:1:1"}},
		{"no spec", nil, nil, run, 5, []string{"p.yaml: no such file"}},
		{"spec is a folder", files{"p.yaml/x": ""}, nil, run, 5, []string{"p.yaml: is a directory"}},
		{"no input", fine, nil, append(run, "--in", "missing.txt"), 5, []string{"source in", "missing.txt: no such file"}},
		{"input is a folder", fine, nil, append(run, "--in", "."), 5, []string{"source in", "is a folder"}},
		{"no output", fine, nil, append(run, "--out", "missing/out"), 5, []string{"sink out", "missing/out: no such file"}},
		{"no place for dead letters", fine, nil, append(run, "--dead", "missing/dead"), 5, []string{"missing/dead"}},
		{"port taken", fine, nil, append(run, "--listen", l.Addr().String()), 5, []string{l.Addr().String(), "address already in use"}},
		{"hook's port taken", fine, nil, append(run, "--hook", "tcp:"+l.Addr().String()), 5, []string{l.Addr().String(), "address already in use"}},
		{"no such address", fine, nil, append(run, "--hook", "here"), 2, []string{`"here": want unix:PATH or tcp:HOST:PORT`}},
		{"no Python", fine, empty, run, 5, []string{"python3", "not in PATH", "install"}},
		{"no Go", files{"p.yaml": through("function: {source: f.go}"), "f.go": passGo}, empty, run, 5, []string{"go", "not in PATH", "install"}},
		{"no such action", files{"p.yaml": through("function: {action: /guest/hello}")}, nil, run, 2, []string{"stage f", "/guest/hello", "weft up"}},
		{"placement", fine, nil, append(run, "--placement", "x"), 2, []string{`"x": want`}},
		{"lease", fine, nil, append(run, "--lease", "1h"), 2, []string{"--lease 1h0m0s: want"}},
		{"no key", nil, nil, []string{"up", "--auth", "key"}, 2, []string{"auth has not the form uuid:key"}},
		{"no input to validate", nil, nil, []string{"validate", wordcount}, 2, []string{"pipeline.yaml:8:", "opticks.txt"}},
		{"flag", fine, nil, append(run, "--frob"), 2, []string{"unknown flag: --frob"}},
		{"command", nil, nil, []string{"rum"}, 2, []string{`unknown command "rum"`}},
		{"no argument", nil, nil, []string{"run"}, 2, []string{"accepts 1 arg"}},
		{"no platform", nil, nil, []string{"status", "--apihost", "http://127.0.0.1:1", "--auth", "a:b"}, 3, []string{"127.0.0.1:1", "refused"}},
		{"no host", nil, func(c *exec.Cmd) { c.Env = append(c.Env, "HOME="+nothing, "WSK_CONFIG_FILE=") }, []string{"status"}, 2, []string{"--apihost"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.change == nil {
				c.change = func(*exec.Cmd) {}
			}
			w := c.files.weft(t, c.change, c.args...)
			w.ends(c.code, append(c.words, "weft: ")...)
			if out := w.stdout.String(); out != "" {
				t.Errorf("stdout: %s", out)
			}
		})
	}
}

// TestValidate: nothing is started, and a source that --in replaces need not be there.
func TestValidate(t *testing.T) {
	w := weftIn(t, "../examples/wordcount", "validate", "pipeline.yaml", "--in", "book.txt")
	w.ends(0)
	if got, want := w.stdout.String(), "pipeline.yaml: ok: in → split → count ×2 → sort → out\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestCodeThatDoesNotRun compiles and ends all the same: its last words come once, with the slot.
func TestCodeThatDoesNotRun(t *testing.T) {
	need(t, "python3", "Python 3")
	for name, c := range map[string]struct{ ending, code, word string }{
		"Go exits at once":  {"go", "package main\nimport \"os\"\nfunc main() { println(\"no licence\"); os.Exit(3) }\n", "no licence"},
		"Python lacks main": {"py", "def other(e): return e\n", "main"},
		"Python throws":     {"py", "class main:\n    def __init__(self):\n        raise RuntimeError('no licence')\n    def event(self, e):\n        return e\n", "RuntimeError: no licence"},
	} {
		t.Run(name, func(t *testing.T) {
			w := runs(t, files{"p.yaml": through("function: {source: f." + c.ending + "}"), "f." + c.ending: c.code, "-": counted(3)})
			w.ends(1, "f[0]", c.word)
			if n := strings.Count(w.stderr.String(), c.word); c.word != "main" && n != 1 {
				t.Errorf("%q comes %d times:\n%s", c.word, n, w.stderr.String())
			}
			if out := w.stdout.String(); out != "" {
				t.Errorf("stdout: %s", out)
			}
		})
	}
}

// TestInitialisationThatHangs is ended after a minute, as OpenWhisk ends /init.
func TestInitialisationThatHangs(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute long")
	}
	need(t, "python3", "Python 3")
	t.Parallel()
	w := runs(t, files{"p.yaml": python, "f.py": "import time\ntime.sleep(1000)\ndef main(e): return e\n", "-": counted(3)})
	w.ends(1, "f[0]", "initialis")
}

// wrongdoer is a Python function that does what each event says.
const wrongdoer = `
import os, sys, time

def main(event):
    do = event.get("do")
    if do == "throw":
        raise ValueError("thrown")
    if do == "error":
        return {"error": {"code": 7}}
    if do == "exit":
        os._exit(3)
    if do == "sleep":
        time.sleep(1000)
    if do == "print":
        print("said aloud")
        print("XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX", flush=True)
        print("said to stderr", file=sys.stderr)
    if do == "scalar":
        return 7
    if do == "unserialisable":
        return {"x": object()}
    if do == "large":
        return {"n": event["n"], "x": "x" * event["size"]}
    return event
`

// TestEventsThatFail: each goes to the dead letters with what is known of it, and the rest flows.
func TestEventsThatFail(t *testing.T) {
	need(t, "python3", "Python 3")
	in := []string{
		`{"n":0}`, `{"n":1,"do":"throw"}`, `{"n":2,"do":"error"}`, `{"n":3,"do":"exit"}`, `{"n":4,"do":"scalar"}`,
		`{"n":5,"do":"unserialisable"}`, `{"n":6,"do":"large","size":20000000}`, `{"n":7,"do":"print"}`, `not JSON`, `[8]`, ``,
		`{"n":9,"do":"sleep"}`, `{"n":10,"do":"large","size":5000000}`,
	}
	w := runs(t, files{"p.yaml": through("function: {source: f.py}, timeout: 1s, retries: 1"), "f.py": wrongdoer, "-": strings.Join(in, "\n")})
	w.ends(0, "9 event(s) failed: see p.dead.ndjson")
	w.wantNumbers(11, 1, 2, 3, 4, 5, 6, 8, 9)
	want := map[string]string{ // event: part of the error
		in[1]: "thrown", in[2]: `{"code":7}`, in[3]: "died on this event 2 times", in[4]: "int", in[5]: "JSON",
		in[6]: "at most 8388608", `"not JSON"`: "at byte", `[8]`: "not a JSON object", in[11]: "stalled",
	}
	for _, l := range w.dead() {
		part, ok := want[string(l.Event)]
		if l.Event == nil {
			part, ok = want[in[6]], true
			delete(want, in[6])
		}
		if !ok || !strings.Contains(string(l.Error), part) {
			t.Errorf("dead letter of %s: %s, want %q", l.Event, l.Error, part)
		}
		if l.ID == "" || l.Stage != "f" && l.Stage != "in" {
			t.Errorf("dead letter %+v", l)
		}
		delete(want, string(l.Event))
	}
	for event := range want {
		t.Errorf("no dead letter of %s", event)
	}
}

// TestErrorEdge leads failed events on; nothing goes to the dead letters then.
func TestErrorEdge(t *testing.T) {
	need(t, "python3", "Python 3")
	spec := strings.Replace(python, "  edges:\n", "    - {name: bad, sink: {file: bad.ndjson}}\n  edges:\n    - {from: f, to: bad, on: error}\n    - {from: in, to: bad, on: error}\n", 1)
	w := runs(t, files{"p.yaml": spec, "f.py": wrongdoer, "-": "{\"n\":0}\n{\"n\":1,\"do\":\"throw\"}\nnot JSON\n{\"n\":2}\n"})
	w.ends(0)
	w.wantNumbers(3, 1)
	b, err := os.ReadFile(filepath.Join(w.dir, "bad.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	stages := map[string]bool{}
	for _, l := range ndjson[letter](t, string(b)) {
		stages[l.Stage] = true
	}
	if len(stages) != 2 || len(w.dead()) != 0 {
		t.Errorf("on the error edges: %s; dead letters: %v", b, w.dead())
	}
}

// TestPrintedWords are shown by weft logs, and harm no output. OpenWhisk's own end marker is told from them.
func TestPrintedWords(t *testing.T) {
	f := feed(t, stateless, files{"pass.py": "def main(event):\n    if event['n'] % 100 == 0:\n" +
		"        print('said aloud', event['n'])\n        print('XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX', flush=True)\n    return event\n"})
	f.running()
	f.flows()
	f.eventually("what the function has printed", func() bool {
		logs := f.ask("logs", "stateless", "--stage", "py")
		return strings.Contains(logs, "said aloud 0\n") && strings.Contains(logs, "(sentinel removed)")
	})
	f.complete()
}

// TestFollowedLogs come while the pipeline runs, each line with its slot and with the event in work, and end
// with the pipeline.
func TestFollowedLogs(t *testing.T) {
	f := feed(t, stateless, files{"pass.py": "def main(event):\n    print('working on', event['n'], flush=True)\n    return event\n"})
	f.running()
	host, key, hook := f.api()
	tail := weftIn(t, f.dir, "logs", "stateless", "-f", "--slot", "py[1]", "-o", "json", "--apihost", host, "--auth", key, "--hook", hook)
	f.eventually("lines while it runs", func() bool { return strings.Count(tail.stdout.String(), "\n") > 20 })
	f.complete()
	if code := tail.wait(2 * time.Minute); code != 0 {
		t.Fatalf("exit code %d: %s", code, tail.stderr.String())
	}
	for _, l := range ndjson[control.LogLine](t, tail.stdout.String()) {
		if l.Slot.String() != "py[1]" || !strings.HasPrefix(l.Trace, "in[0]:") && l.Stream != "proxy" {
			t.Fatalf("%+v", l)
		}
	}
}

// TestInputs: empty, without a last newline, and from a pipe.
func TestInputs(t *testing.T) {
	need(t, "python3", "Python 3")
	for name, c := range map[string]struct {
		in string
		n  int
	}{"empty": {"", 0}, "newline": {"\n", 0}, "no newline": {`{"n":0}`, 1}, "some": {counted(1000), 1000}} {
		t.Run(name, func(t *testing.T) {
			w := runs(t, files{"p.yaml": python, "f.py": passPython, "-": c.in})
			w.ends(0)
			w.wantNumbers(c.n)
			if len(w.dead()) != 0 {
				t.Errorf("dead letters %v", w.dead())
			}
		})
	}
}

// TestFilesOfTheUser: --out and --dead name them.
func TestFilesOfTheUser(t *testing.T) {
	need(t, "python3", "Python 3")
	w := runs(t, files{"p.yaml": python, "f.py": wrongdoer, "in": "{\"n\":0}\n{\"do\":\"throw\"}\n"}, "--in", "in", "--out", "o", "--dead", "d")
	w.ends(0, "1 event(s) failed: see d")
	out, _ := os.ReadFile(filepath.Join(w.dir, "o"))
	dead, _ := os.ReadFile(filepath.Join(w.dir, "d"))
	if string(out) != "{\"n\":0}\n" || !strings.Contains(string(dead), "thrown") || w.stdout.String() != "" {
		t.Errorf("out %q, dead letters %q, stdout %q", out, dead, w.stdout.String())
	}
}

// leavesNoFiles wants the folder for temporary files as it was.
func (c *command) leavesNoFiles() {
	c.t.Helper()
	if left, err := os.ReadDir(strings.TrimPrefix(c.mark, "TMPDIR=")); err != nil || len(left) > 0 {
		c.t.Errorf("left in TMPDIR: %v %v", left, err)
	}
}

// TestInterrupted stops in order: what has come out is whole.
func TestInterrupted(t *testing.T) {
	f := feed(t, stateless, nil)
	f.running()
	f.flows()
	f.interrupt()
	f.ends(130, "weft: stopping stateless", "weft: interrupted")
	f.leavesNoFiles()
	seen := map[int]bool{}
	for _, e := range ndjson[struct{ N int }](t, f.stdout.String()) {
		if seen[e.N] {
			t.Errorf("event %d came twice", e.N)
		}
		seen[e.N] = true
	}
	if !strings.HasSuffix(f.stdout.String(), "}\n") {
		t.Error("the last line is not whole")
	}
}

// TestInterruptedEarly: Ctrl-C while it starts.
func TestInterruptedEarly(t *testing.T) {
	need(t, "python3", "Python 3")
	for _, words := range []string{"on this machine", "API ", "ready ("} {
		t.Run(words, func(t *testing.T) {
			w := files{"p.yaml": python, "f.py": passPython}.weft(t, func(c *exec.Cmd) {
				r, _, err := os.Pipe() // never ends
				if err != nil {
					t.Fatal(err)
				}
				c.Stdin = r
			}, "run", "p.yaml")
			w.eventually(words, func() bool { return strings.Contains(w.stderr.String(), words) })
			w.interrupt()
			w.ends(130, "weft: interrupted")
			w.leavesNoFiles()
		})
	}
}

// TestClosedOutput: whoever reads the results has gone, as head does.
// A full disk ends the run, and says which file it is.
func TestFullDisk(t *testing.T) {
	need(t, "python3", "Python 3")
	fails := files{"p.yaml": python, "f.py": "def main(event):\n    raise ValueError(event['n'])\n", "-": counted(1000)}
	passes := files{"p.yaml": python, "f.py": passPython, "-": counted(1000)}
	runs(t, passes, "--out", "/dev/full").ends(1, "write the output of out[0]: write /dev/full: no space left on device")
	runs(t, fails, "--dead", "/dev/full").ends(1, "write the dead letters of f[0]: write /dev/full: no space left on device")
}

func TestClosedOutput(t *testing.T) {
	need(t, "python3", "Python 3")
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := files{"p.yaml": python, "f.py": passPython, "-": counted(100_000)}.weft(t, func(c *exec.Cmd) { c.Stdout = out }, "run", "p.yaml")
	out.Close()
	if _, err := r.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.ends(1, "broken pipe")
}

// TestStateIsNotGuessed: a loss in a pipeline with state ends it, and no count comes out.
func TestStateIsNotGuessed(t *testing.T) {
	const count = "class main:\n    def __init__(self):\n        self.n = 0\n    def event(self, e):\n        self.n += 1\n    def end(self):\n        return {'count': self.n}\n"
	spec := strings.Replace(stateless, "{source: pass.go}, replicas: {min: 2}", "{source: count.py}, stateful: true", 1)
	for _, c := range []struct {
		name, slot string
		function   bool
	}{{"its worker", "go[0]", false}, {"its function", "go[0]", true}, {"a worker before it", "py[1]", false}, {"the source's worker", "in[0]", false}, {"the sink's worker", "out[0]", false}} {
		t.Run(c.name, func(t *testing.T) {
			f := feed(t, spec, files{"count.py": count})
			st := f.running()
			f.eventually("events", func() bool {
				st, _ = f.status()
				return len(st.Slots) > 0 && slotOf(t, st, "go[0]").In > 100
			})
			if s := slotOf(t, st, c.slot); c.function {
				kill(t, s.FuncPID)
			} else {
				kill(t, -s.PID)
			}
			f.ends(1, c.slot+" was lost", "stage go keeps state")
			if out := f.stdout.String(); out != "" {
				t.Errorf("a count came out: %s", out)
			}
		})
	}
}

// nativeWrongdoer is an executable that does what each event says.
const nativeWrongdoer = `package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	out := os.NewFile(3, "answers")
	if os.Getenv("__OW_WAIT_FOR_ACK") != "" {
		fmt.Fprintln(out, "{\"ok\":true}")
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var line struct{ Value struct{ N int; Do string } }
		json.Unmarshal(in.Bytes(), &line)
		answer := fmt.Sprintf("{\"n\":%d}", line.Value.N)
		switch line.Value.Do {
		case "garbage":
			answer = "no JSON at all"
		case "scalar":
			answer = "7"
		case "error":
			answer = "{\"error\":\"told\"}"
		case "list":
			answer = fmt.Sprintf("[%s,{\"n\":%d}]", answer, line.Value.N+1)
		case "large":
			answer = fmt.Sprintf("{\"n\":%d,\"x\":\"%s\"}", line.Value.N, strings.Repeat("x", 20_000_000))
		case "print":
			fmt.Println(answer)
		case "exit":
			fmt.Fprintln(os.Stderr, "giving up")
			os.Exit(3)
		case "panic":
			panic("no way")
		case "sleep":
			time.Sleep(time.Hour)
		}
		fmt.Fprintln(out, answer)
	}
}
`

// TestNativeActionsThatFail is TestEventsThatFail for an ordinary executable, one line in and one out.
func TestNativeActionsThatFail(t *testing.T) {
	words := map[string]string{ // of the error
		"garbage": "not JSON", "scalar": "no JSON object", "error": "told", "large": "at most 8388608",
		"exit": "giving up", "panic": "no way", "sleep": "stalled",
	}
	in, n := "{\"n\":0,\"do\":\"list\"}\n{\"n\":2,\"do\":\"print\"}\n", 3
	var bad []int
	for do := range words {
		in += fmt.Sprintf("{\"n\":%d,\"do\":%q}\n{\"n\":%d}\n", n, do, n+1)
		bad = append(bad, n)
		n += 2
	}
	w := runs(t, files{"p.yaml": through(`function: {source: f, kind: "go:1.26"}, timeout: 1s, retries: 1`),
		"f": string(compiled(t, nativeWrongdoer)), "-": in})
	w.ends(0, fmt.Sprintf("%d event(s) failed", len(words)))
	w.wantNumbers(n, bad...)
	for _, l := range w.dead() {
		event := struct{ Do string }{"large"} // what a letter has no room for
		if err := json.Unmarshal(l.Event, &event); err != nil && l.Event != nil || words[event.Do] == "" || !strings.Contains(string(l.Error), words[event.Do]) {
			t.Errorf("dead letter of %s: %s", l.Event, l.Error)
		}
		delete(words, event.Do)
	}
	if len(words) > 0 {
		t.Errorf("no dead letters: %v", words)
	}
}
