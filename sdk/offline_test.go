package sdk_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-stream/weft/sdk"
)

// buildOffline builds a Go function from its files and the embedded SDK alone.
func buildOffline(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range files {
		text, err := os.ReadFile(name)
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o644))
	}
	check(t, sdk.WriteGo(dir))
	bin := filepath.Join(t.TempDir(), "function")
	cmd := exec.Command("go", "build", "-mod=vendor", "-o", bin, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOMODCACHE="+filepath.Join(dir, "none"), "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// TestSourceIsWhole: what WriteGo writes is all that a function needs beside the standard library.
func TestSourceIsWhole(t *testing.T) {
	const module = "github.com/weft-stream/weft/"
	cmd := exec.Command("go", "list", "-deps", "-f", `{{if not .Standard}}{{.ImportPath}}{{range .GoFiles}} {{.}}{{end}}{{end}}`, "./go")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	check(t, err)
	dir := t.TempDir()
	check(t, sdk.WriteGo(dir))
	written := map[string]bool{}
	check(t, filepath.WalkDir(filepath.Join(dir, "vendor", module), func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, err = filepath.Rel(filepath.Join(dir, "vendor", module), name)
			written[name] = true
		}
		return err
	}))
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		room, ours := strings.CutPrefix(words[0], module)
		if !ours {
			t.Errorf("functions need %s, which they can't have offline", words[0])
			continue
		}
		for _, file := range words[1:] {
			if name := filepath.Join(room, file); file != "source.go" && !written[name] {
				t.Errorf("%s is not written", name)
			}
			delete(written, filepath.Join(room, file))
		}
	}
	for name := range written {
		if !strings.Contains(name, "_") { // of another system
			t.Errorf("%s is written and not needed", name)
		}
	}
}

// TestWordCount runs the example's three functions on bytes of every kind.
func TestWordCount(t *testing.T) {
	const examples = "../examples/wordcount"
	run := func(cmd *exec.Cmd, in []string) (out []string) {
		p := start(t, cmd)
		p.stream()
		for i, payload := range in {
			p.send(data(uint64(i+1), payload))
		}
		p.send(endOfInput)
		for _, line := range p.until(0) {
			_, payload, _ := strings.Cut(line, " ")
			out = append(out, payload)
		}
		check(t, p.exit())
		return out
	}
	script := func(name string) *exec.Cmd {
		return exec.Command(python(t), "-c", `import sys
sys.path[:0] = ["python", sys.argv[1]]
import weft, importlib
weft.serve(importlib.import_module(sys.argv[2]).main)`, examples, name)
	}
	words := run(script("split"), []string{
		`{"line":"b\tA\u000bb \u00e9"}`, `{"line":"\udcc3 b\u00a0c \u001c"}`, `{"line":"é \udcc3 <\"\\\u0000"}`, `{"line":" "}`,
	})
	equal(t, words, `{"word":"b"}`, `{"word":"A"}`, `{"word":"b"}`, `{"word":"\u00e9"}`, `{"word":"\udcc3"}`,
		`{"word":"b\u00a0c"}`, `{"word":"\u001c"}`, `{"word":"\u00e9"}`, `{"word":"\udcc3"}`, `{"word":"<\"\\\u0000"}`)
	counts := run(exec.Command(buildOffline(t, examples+"/count.go")), words)
	equal(t, run(script("sort"), counts),
		`{"word":"b","count":2}`, `{"word":"\udcc3","count":2}`, `{"word":"\u00e9","count":2}`,
		`{"word":"\u001c","count":1}`, `{"word":"<\"\\\u0000","count":1}`, `{"word":"A","count":1}`, `{"word":"b\u00a0c","count":1}`)
}
