package actionproxy_test

import (
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/actionproxy/process"
)

// withCompiler is a proxy that builds sources, with a cache of its own.
func withCompiler(t *testing.T, compiler, cache string, more ...string) *proxy {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	env := append([]string{"OW_COMPILER=" + compiler, "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"XDG_CACHE_HOME=" + cache, "GOCACHE=" + strings.TrimSpace(string(out))}, more...)
	return startProxy(t, actionproxy.Config{Env: actionproxy.ReadEnvironment(env)})
}

// need skips a test whose program is missing, but fails in CI.
func need(t *testing.T, program, install string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("%s is needed; install %s", program, install)
	} else if err != nil {
		t.Skipf("%s is needed; install %s", program, install)
	}
}

const goSource = "package main\n\nfunc Main(in map[string]any) map[string]any {\n\treturn in\n}\n"

func TestGoSource(t *testing.T) {
	p := withCompiler(t, "weft:go", t.TempDir())
	broken := strings.Replace(goSource, "return in", "return out", 1)
	if status, body := p.init(t, []byte(broken), "main", nil); status != http.StatusBadGateway || body != `{"error":"main.go:4:9: undefined: out"}` {
		t.Errorf("broken: %d %s", status, body)
	}
	if status, body := p.init(t, []byte(goSource), "main", nil); status != http.StatusOK {
		t.Fatalf("then a good one: %d %s", status, body)
	}
	p.expect(t, `{"a":1}`, 200, `{"a":1}`)
}

func TestGoSourceWithLoggedErrors(t *testing.T) {
	p := withCompiler(t, "weft:go", t.TempDir(), "OW_LOG_INIT_ERROR=1")
	broken := strings.Replace(goSource, "return in", "return out", 1)
	if status, body := p.init(t, []byte(broken), "main", nil); status != http.StatusBadGateway ||
		body != `{"error":"The action failed to generate or locate a binary. See logs for details."}` {
		t.Errorf("%d %s", status, body)
	}
	if got := p.stderr.String(); got != "main.go:4:9: undefined: out\n"+process.Sentinel+"\n" {
		t.Errorf("stderr: %q", got)
	}
}

// The replicas of a stage start at the same time; one of them compiles.
func TestReplicasOfGoSource(t *testing.T) {
	cache := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		p := withCompiler(t, "weft:go", cache)
		all.Go(func() {
			if status, body := p.init(t, []byte(goSource), "main", nil); status != http.StatusOK {
				t.Errorf("%d %s", status, body)
			}
			p.expect(t, `{"a":1}`, 200, `{"a":1}`)
		})
	}
	all.Wait()
}

func TestPythonSource(t *testing.T) {
	need(t, "python3", "Python 3.9 or newer")
	p := withCompiler(t, "weft:python", t.TempDir())
	if status, body := p.init(t, []byte("def main(:\n"), "", nil); status != http.StatusBadGateway || !strings.Contains(body, `main.py\", line 1`) {
		t.Errorf("broken: %d %s", status, body)
	}
	if status, body := p.init(t, []byte("def hello(args):\n    print('hi')\n    return {'hello': args['name']}\n"), "hello", nil); status != http.StatusOK {
		t.Fatalf("then a good one: %d %s", status, body)
	}
	p.expect(t, `{"name":"you"}`, 200, `{"hello":"you"}`)
	p.expect(t, `{}`, 200, `{"error":"KeyError: 'name'"}`)
	if got := p.stdout.String(); strings.Count(got, "hi\n"+process.Sentinel+"\n") != 2 {
		t.Errorf("stdout: %q", got)
	}
}

func TestNodeSource(t *testing.T) {
	need(t, "node", "Node.js 18 or newer")
	p := withCompiler(t, "weft:node", t.TempDir())
	if status, body := p.init(t, []byte("function main( {\n"), "main", nil); status != http.StatusBadGateway || !strings.Contains(body, "index.js:2") {
		t.Errorf("broken: %d %s", status, body)
	}
	zipped := zipOf(map[string][]byte{"package.json": []byte(`{"main":"lib/hello.js"}`), "lib/hello.js": []byte(
		"exports.hello = async ({name}) => { console.log('hi'); console.error('err'); return {hello: name.trim(), v: process.env.V} }\n")})
	if status, body := p.init(t, zipped, "hello", map[string]any{"V": "v"}); status != http.StatusOK {
		t.Fatalf("then a good one: %d %s", status, body)
	}
	p.expect(t, `{"name":" you"}`, 200, `{"hello":"you","v":"v"}`)
	p.expect(t, `{}`, 200, `{"error":"TypeError: Cannot read properties of undefined (reading 'trim')"}`)
	end := process.Sentinel + "\n"
	if got := p.stdout.String(); got != "hi\n"+end+"hi\n"+end {
		t.Errorf("stdout: %q", got)
	}
	if got := p.stderr.String(); !strings.HasSuffix(got, "err\n"+end+"err\nTypeError: Cannot read properties of undefined (reading 'trim')\n    at exports.hello (lib/hello.js:1:98)\n"+end) {
		t.Errorf("stderr: %q", got)
	}
}

// Variables that are no strings, and the words of a start that fails, are the stock proxy's.
func TestStartAsStock(t *testing.T) {
	p := startProxy(t, actionproxy.Config{Env: actionproxy.ReadEnvironment([]string{"OW_WAIT_FOR_ACK=1"})})
	if status, body := p.init(t, []byte("#!/bin/sh\nexit 3\n"), "", nil); status != http.StatusBadGateway ||
		!strings.HasPrefix(body, `{"error":"cannot start action: command exited`) {
		t.Errorf("a script that ends: %d %s", status, body)
	}
	environ := withCompiler(t, "weft:go", t.TempDir())
	code := "package main\nimport \"os\"\nfunc Main(map[string]any) []any { return []any{os.Getenv(\"A\")} }\n"
	request := `{"value":{"code":` + strconv.Quote(code) + `,"env":{"A":{ "b": [1, 2] }}}}`
	if status, _, body := environ.call(t, http.MethodPost, "/init", []byte(request)); status != http.StatusOK {
		t.Fatalf("init: %d %s", status, body)
	}
	environ.expect(t, `{}`, 200, `["{\"b\":[1,2]}"]`)
}
