package tests

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Actions as people have them on OpenWhisk: they know nothing of Weft.
const (
	helloPython = `def main(args):
    if "name" not in args:
        return {"error": "nobody to greet"}
    return {"greeting": "Hello, " + args["name"]}
`
	helloGo = `package main

func Main(args map[string]interface{}) map[string]interface{} {
	name, ok := args["name"].(string)
	if !ok {
		return map[string]interface{}{"error": "nobody to greet"}
	}
	return map[string]interface{}{"greeting": "Hello, " + name}
}
`
	// An executable of its own: lines on stdin, answers on descriptor 3.
	helloNative = `package main

import (
	"bufio"
	"encoding/json"
	"os"
)

func main() {
	out := json.NewEncoder(os.NewFile(3, "answers"))
	if os.Getenv("__OW_WAIT_FOR_ACK") != "" {
		out.Encode(map[string]bool{"ok": true})
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var line struct{ Value struct{ Name string } }
		if err := json.Unmarshal(in.Bytes(), &line); err != nil || line.Value.Name == "" {
			out.Encode(map[string]string{"error": "nobody to greet"})
			continue
		}
		out.Encode(map[string]string{"greeting": "Hello, " + line.Value.Name})
	}
}
`
)

// greetings is the input of all of them: one event fails, the others don't.
const greetings = "{\"name\":\"Ada\"}\n{}\n{\"name\":\"Grace\"}\n"

// greeted checks what came of greetings.
func (c *command) greeted() {
	c.t.Helper()
	if got, want := c.stdout.String(), "{\"greeting\":\"Hello, Ada\"}\n{\"greeting\":\"Hello, Grace\"}\n"; got != want {
		c.t.Errorf("came out: %s", got)
	}
	if dead := c.dead(); len(dead) != 1 || dead[0].Stage != "f" || !strings.Contains(string(dead[0].Error), "nobody to greet") || string(dead[0].Event) != "{}" {
		c.t.Errorf("dead letters: %+v", dead)
	}
}

// TestExistingActions runs them as stages, by source.
func TestExistingActions(t *testing.T) {
	need(t, "python3", "Python 3")
	native := compiled(t, helloNative)
	for name, c := range map[string]struct {
		function string
		files    files
	}{
		"python":           {"function: {source: f.py}", files{"f.py": helloPython}},
		"python main":      {"function: {source: f.py, main: greet}", files{"f.py": strings.Replace(helloPython, "main", "greet", 1)}},
		"python, a folder": {`function: {source: f, kind: "python:3"}`, files{"f/__main__.py": "from helper import main\n", "f/helper.py": helloPython}},
		"go":               {"function: {source: f.go}", files{"f.go": helloGo}},
		"native":           {`function: {source: f, kind: "go:1.26"}`, files{"f": string(native)}},
		"native zip":       {`function: {source: f.zip, kind: "go:1.26"}`, files{"f.zip": string(zipped(t, "exec", native))}},
	} {
		t.Run(name, func(t *testing.T) {
			c.files["p.yaml"], c.files["-"] = through(c.function), greetings
			w := runs(t, c.files)
			w.ends(0)
			w.greeted()
		})
	}
}

// TestDeployedAction uses an action that is on the platform already: it is copied, and stays as it was.
func TestDeployedAction(t *testing.T) {
	need(t, "python3", "Python 3")
	_, r, hook := up(t)
	action := map[string]any{"exec": map[string]any{"kind": "python:3", "code": helloPython}}
	if code := r.call("PUT", "actions/hello", action, nil); code != http.StatusOK {
		t.Fatalf("create the action: status %d", code)
	}
	native := map[string]any{"exec": map[string]any{"kind": "go:1.26", "binary": true,
		"code": base64.StdEncoding.EncodeToString(zipped(t, "exec", compiled(t, helloNative)))}}
	if code := r.call("PUT", "actions/native", native, nil); code != http.StatusOK {
		t.Fatalf("create the action: status %d", code)
	}
	for _, name := range []string{"hello", "native"} {
		dir := t.TempDir()
		write(t, dir, "p.yaml", through("function: {action: /guest/"+name+"}"))
		deployed(t, r, dir)
		w := weftWith(t, dir, func(c *exec.Cmd) { c.Stdin = strings.NewReader(greetings) }, func() {},
			"start", "p", "--attach", "p.yaml", "--apihost", r.host, "--auth", r.key, "--hook", hook)
		w.ends(0)
		w.greeted()
		var got activation
		if code := r.call("POST", "actions/"+name+"?blocking=true", map[string]string{"name": "you"}, &got); code != http.StatusOK || string(got.Response.Result) != `{"greeting":"Hello, you"}` {
			t.Errorf("the action itself: status %d, %s", code, got.Response.Result)
		}
	}
}

func compiled(t testing.TB, source string) []byte {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", "f", write(t, dir, "f.go", source))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func zipped(t testing.TB, name string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Unix(1e9, 0)}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
