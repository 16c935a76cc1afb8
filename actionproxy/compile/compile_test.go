package compile_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy/compile"
	"github.com/weft-stream/weft/actionproxy/process"
)

// built is an action that has been built and started.
type built struct {
	*process.Process
	t              *testing.T
	stderr, stdout *strings.Builder
}

// need is the path of a tool that tests run.
func need(t *testing.T, name string) string {
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("%s is needed; install it", name)
	} else if err != nil {
		t.Skipf("%s is needed; install it", name)
	}
	return path
}

// toolEnv is what the proxy's environment needs for compilers: a cache of its own, Go's own cache.
func toolEnv(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command(need(t, "go"), "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir(), "GOCACHE="+strings.TrimSpace(string(out)))
}

// request lays out an action's files.
func request(t *testing.T, compiler, main string, files map[string]string) compile.Request {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, "src", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return compile.Request{Compiler: compiler, Dir: dir, Main: main, Env: toolEnv(t)}
}

// start builds and starts.
func start(t *testing.T, r compile.Request) (*built, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	program, err := compile.Build(ctx, r)
	if err != nil {
		return nil, err
	}
	b := &built{t: t, stdout: &strings.Builder{}, stderr: &strings.Builder{}}
	b.Process, err = process.Start(ctx, process.Config{Path: program.Path, Args: program.Args, Dir: program.Dir,
		Env: []string{"A=b"}, WaitForAck: program.Acks, Stdout: b.stdout, Stderr: b.stderr})
	if err == nil {
		t.Cleanup(b.Close)
	}
	return b, err
}

func mustStart(t *testing.T, r compile.Request) *built {
	t.Helper()
	b, err := start(t, r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *built) expect(line, want string) {
	b.t.Helper()
	got, err := b.Exchange(b.t.Context(), []byte(line))
	b.Drain()
	if err != nil || string(got) != want {
		b.t.Errorf("%s: %s, %v; want %s\n%s", line, got, err, want, b.stderr)
	}
}

// fails builds and starts what can't be, and returns the words.
func fails(t *testing.T, r compile.Request) string {
	t.Helper()
	_, err := start(t, r)
	if err == nil {
		t.Fatal("it was built")
	}
	if strings.Contains(err.Error(), r.Dir) {
		t.Errorf("the error names a folder that the user doesn't know: %v", err)
	}
	return err.Error()
}

func TestExternalCompiler(t *testing.T) {
	script := filepath.Join(t.TempDir(), "compiler")
	text := "#!/bin/sh\nif [ \"$1\" = bad ]; then echo it is bad; exit 1; fi\n(echo '#!/bin/sh'; cat \"$2/exec\") > \"$3/exec\"\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	code := map[string]string{"exec": "while read -r line; do echo \"{\\\"main\\\":true}\" >&3; done\n"}
	mustStart(t, request(t, script, "", code)).expect(`{}`, `{"main":true}`)
	if got := fails(t, request(t, script, "bad", code)); got != "it is bad" {
		t.Errorf("words: %q", got)
	}
}

func TestNoCompiler(t *testing.T) {
	mustStart(t, request(t, "", "", map[string]string{"exec": "#!/bin/sh\nread -r x; echo [] >&3\n"})).expect(`{}`, `[]`)
	if got := fails(t, request(t, "", "", map[string]string{"other": "x"})); got != "the action has no file named exec" {
		t.Errorf("words: %q", got)
	}
}

func TestMissingTools(t *testing.T) {
	for compiler, want := range map[string]string{compile.Go: "install Go", compile.Python: "install Python",
		compile.Node: "install Node.js", compile.Java: "install a JDK"} {
		r := request(t, compiler, "", map[string]string{"exec": "x"})
		r.Env = []string{"PATH=/none"}
		if got := fails(t, r); !strings.Contains(got, want) {
			t.Errorf("%s: %q; want %q in it", compiler, got, want)
		}
	}
}
