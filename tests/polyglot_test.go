package tests

import (
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestPolyglot runs unmodified actions in four languages, as its README says, and some bad lines.
func TestPolyglot(t *testing.T) {
	needFourLanguages(t)
	dir := example(t, "polyglot")
	w := makeIn(t, dir, "run", "WEFT="+filepath.Join(bin, "weft"))
	if code := w.wait(4 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if got, want := jsonLines(w.stdout.String()), shown(t, dir); got != want {
		t.Errorf("got\n%swant, as its README has it,\n%s", got, want)
	}

	bad := write(t, dir, "bad.log", "no log\n"+`h - u [14/Oct/2025:09:12:01 +0200] "GET /%FF HTTP/1.1" 200 1`+"\n"+
		`h - u [yesterday] "GET / HTTP/1.1" 200 1`+"\n"+`h - ü [14/Oct/2025:09:12:01 +0200] "GET / HTTP/1.1" 200 1`+"\n")
	w = makeIn(t, dir, "bad", "-f", write(t, dir, "bad.mk", "include Makefile\nbad: jar\n\t$(WEFT) run pipeline.yaml --in "+bad+"\n"),
		"WEFT="+filepath.Join(bin, "weft"))
	w.wait(4 * time.Minute)
	if got, want := jsonLines(w.stdout.String()), `{"summary":"Tue 07:12: ü read / (0.0 KiB)"}`+"\n"; got != want {
		t.Errorf("of bad lines: %q; want %q", got, want)
	}
	dead, err := os.ReadFile(filepath.Join(dir, "polyglot.dead.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"no line of the common log format: no log", "URIError: URI malformed", "ValueError: time data 'yesterday'"} {
		if !strings.Contains(string(dead), want) {
			t.Errorf("%q is not among the failed events:\n%s", want, dead)
		}
	}
}

// TestPolyglotSequence runs the same code as what it is: actions, and a sequence of them. The kinds are
// those that wsk asks for.
func TestPolyglotSequence(t *testing.T) {
	needFourLanguages(t)
	dir := example(t, "polyglot")
	if code := makeIn(t, dir, "jar").wait(4 * time.Minute); code != 0 {
		t.Fatalf("make jar: exit code %d", code)
	}
	_, r, _ := up(t)
	for _, a := range []struct{ name, file, kind, main string }{
		{"parse", "parse.go", "go:default", ""},
		{"when", "when.py", "python:default", ""},
		{"page", "page.js", "nodejs:default", ""},
		{"summary", "build/summary.jar", "java:default", "requests.Summary"},
	} {
		b, err := os.ReadFile(filepath.Join(dir, a.file))
		if err != nil {
			t.Fatal(err)
		}
		exec := map[string]any{"kind": a.kind, "code": string(b)}
		if a.main != "" {
			exec["main"], exec["code"] = a.main, base64.StdEncoding.EncodeToString(b)
		}
		if code := r.call("PUT", "actions/"+a.name, map[string]any{"exec": exec}, nil); code != http.StatusOK {
			t.Fatalf("create %s: status %d", a.name, code)
		}
	}
	sequence := map[string]any{"exec": map[string]any{"kind": "sequence", "components": []string{"/_/parse", "/_/when", "/_/page", "/_/summary"}}}
	if code := r.call("PUT", "actions/read", sequence, nil); code != http.StatusOK {
		t.Fatalf("create the sequence: status %d", code)
	}
	const good = `192.0.2.10 - ada [14/Oct/2025:09:12:01 +0200] "GET /loom HTTP/1.1" 200 5120`
	for _, c := range []struct {
		line, want string
		code       int
	}{
		{good, `{"summary":"Tue 07:12: ada read /loom (5.0 KiB)"}`, http.StatusOK},
		{"no log", `{"error":"no line of the common log format: no log"}`, http.StatusBadGateway},
		{strings.Replace(good, "14/Oct", "99/Oct", 1), `{"error":"ValueError: time data '99/Oct/2025:09:12:01 +0200' does not match format '%d/%b/%Y:%H:%M:%S %z'"}`, http.StatusBadGateway},
		{strings.Replace(good, "/loom", "/%FF", 1), `{"error":"URIError: URI malformed"}`, http.StatusBadGateway},
	} {
		var got activation
		if code := r.call("POST", "actions/read?blocking=true", map[string]string{"line": c.line}, &got); code != c.code || string(got.Response.Result) != c.want {
			t.Errorf("%s: status %d, %s", c.line, code, got.Response.Result)
		}
	}
	var got activation
	if r.call("POST", "actions/summary?blocking=true", map[string]string{}, &got); !strings.Contains(string(got.Response.Result), "java.lang.NullPointerException") {
		t.Errorf("an exception in Java: %s", got.Response.Result)
	}
	if logs := strings.Join(r.activation(got.ID).Logs, "\n"); !strings.Contains(logs, "at requests.Summary.main(Summary.java:") {
		t.Errorf("its logs: %s", logs)
	}
}

func needFourLanguages(t *testing.T) {
	t.Helper()
	need(t, "python3", "Python 3")
	need(t, "node", "Node.js 18 or later (nodejs)")
	need(t, "javac", "a JDK of version 17 or later (openjdk-17-jdk-headless)")
	need(t, "mvn", "Maven (maven)")
}

// example copies an example's sources to a folder of the test.
func example(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	out, err := exec.Command("sh", "-c", `mkdir "$1" && cd "../examples/$0" && git ls-files -z --cached --others --exclude-standard . | xargs -0 cp -t "$1"`, name, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("copy example %s: %v\n%s", name, err, out)
	}
	return dir
}

// makeIn runs make as weft is run: interrupted at the test's end, with nothing left behind.
func makeIn(t *testing.T, dir string, args ...string) *command {
	t.Helper()
	need(t, "make", "make")
	return weftWith(t, dir, func(cmd *exec.Cmd) {
		path, err := exec.LookPath("make")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Args = path, append([]string{"make", "--no-print-directory"}, args...)
	}, func() {}, args...)
}

var jsonLine = regexp.MustCompile(`(?m)^\{.*\n`)

// jsonLines are the results in what make prints.
func jsonLines(out string) string { return strings.Join(jsonLine.FindAllString(out, -1), "") }

// shown is the output in the README of an example.
func shown(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		if m[1] == "console" {
			return m[2]
		}
	}
	t.Fatalf("%s shows no output", dir)
	return ""
}
