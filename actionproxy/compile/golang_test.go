package compile_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy/compile"
)

func goFile(body string) map[string]string { return map[string]string{"exec": "package main\n" + body} }

func TestGoEntryPoints(t *testing.T) {
	b := mustStart(t, request(t, compile.Go, "", goFile(`
import ("fmt"; "os"; json "strings")
var _ = json.ToUpper
func Main(in map[string]any) map[string]any {
	fmt.Println("hello")
	if in["panic"] != nil { panic("it fell over") }
	return map[string]any{"in": in, "id": os.Getenv("__OW_ACTIVATION_ID"), "a": os.Getenv("A")}
}`)))
	b.expect(`{"value":{"x":1},"activation_id":"7"}`, `{"a":"b","id":"7","in":{"x":1}}`)
	b.expect(`{"value":{"panic":1}}`, `{"error":"panic: it fell over"}`)
	if !strings.Contains(b.stderr.String(), "main.go:7") || b.stdout.String() != "hello\nhello\n" {
		t.Errorf("stdout %q, stderr %q", b.stdout, b.stderr)
	}
	b.expect(`{"value":[1]}`, `{"error":"decode parameters: json: cannot unmarshal array into Go value of type map[string]interface {}"}`)
	b.expect(`{x`, `{"error":"decode activation: invalid character 'x' looking for beginning of object key string"}`)

	list := mustStart(t, request(t, compile.Go, "twice", goFile("func Twice(in []any) []any { return append(in, in...) }")))
	list.expect(`{"value":[1,"a"]}`, `[1,"a",1,"a"]`)
}

// Objects and arrays go in and come out in any combination, as with OpenWhisk's launcher.
func TestGoShapes(t *testing.T) {
	for signature, c := range map[string]struct{ body, in, want string }{
		"(in map[string]interface{}) []interface{}":                   {`return []interface{}{"a", in["x"]}`, `{"x":1}`, `["a",1]`},
		"(in []interface{}) map[string]interface{}":                   {`return map[string]interface{}{"n": len(in)}`, `[1,2]`, `{"n":2}`},
		"(in map[string]interface{}) map[string]string":               {`return map[string]string{"a": "b"}`, `{}`, `{"a":"b"}`},
		"(in map[string]interface{}) (map[string]interface{}, error)": {`return in, nil`, `{"x":1}`, `{"x":1}`},
	} {
		code := goFile("func Main" + signature + " { " + c.body + " }\n")
		mustStart(t, request(t, compile.Go, "", code)).expect(`{"value":`+c.in+`}`, c.want)
	}
}

// The loop is in the language of the action's module, however old that is.
func TestGoOldModule(t *testing.T) {
	files := map[string]string{"go.mod": "module action\n\ngo 1.16\n",
		"main.go": "package main\nfunc Main(in map[string]interface{}) map[string]interface{} { return in }\n"}
	mustStart(t, request(t, compile.Go, "", files)).expect(`{"value":{"x":1}}`, `{"x":1}`)
}

func TestGoSDK(t *testing.T) {
	b := mustStart(t, request(t, compile.Go, "", map[string]string{"exec": `package main
import ("context"; weft "github.com/weft-stream/weft/sdk/go")
func main() { weft.Map(func(_ context.Context, in map[string]any) (map[string]any, error) { return in, nil }) }`}))
	if b.ABI() != "weft.stream/1" {
		t.Errorf("ABI: %q", b.ABI())
	}
	b.expect(`{"value":{"x":1}}`, `{"x":1}`)
}

func TestGoFolders(t *testing.T) {
	files := map[string]string{
		"go.mod":     "module shop\n\ngo 1.24\n",
		"price.go":   "package main\nimport \"shop/tax\"\nfunc Main(in map[string]any) map[string]any { return map[string]any{\"tax\": tax.Rate} }\n",
		"tax/tax.go": "package tax\nconst Rate = 19\n",
	}
	mustStart(t, request(t, compile.Go, "", files)).expect(`{}`, `{"tax":19}`)
	files["price.go"] = "package main\nimport (\"context\"; \"shop/tax\"; weft \"github.com/weft-stream/weft/sdk/go\")\n" +
		"func main() { weft.Map(func(context.Context, struct{}) (map[string]any, error) { return map[string]any{\"tax\": tax.Rate}, nil }) }\n"
	mustStart(t, request(t, compile.Go, "", files)).expect(`{}`, `{"tax":19}`)
}

func TestGoErrors(t *testing.T) {
	for name, c := range map[string]struct {
		code map[string]string
		want string
	}{
		"type":    {goFile("func Main(in map[string]any) map[string]any {\n\treturn x\n}\n"), "main.go:3:9: undefined: x"},
		"syntax":  {goFile("func Main( {\n"), "main.go:2:12: syntax error"},
		"entry":   {goFile("func other() {}\n"), "main.go has neither func main nor func Main(map[string]any) map[string]any"},
		"package": {map[string]string{"exec": "package x\n"}, "main.go is package x; an action is package main"},
		"empty":   {map[string]string{"readme": "x"}, "the action has no Go file at its top"},
		"module":  {goFile("import _ \"example.com/none\"\nfunc main() {}\n"), "example.com/none"},
		"missing module": {map[string]string{"main.go": "package main\nimport _ \"example.com/none\"\nfunc main() {}\n",
			"go.mod": "module action\n\ngo 1.21\n\nrequire example.com/none v1.0.0\n"}, "go mod vendor"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fails(t, request(t, compile.Go, "", c.code)); !strings.Contains(got, c.want) || strings.Contains(got, "# ") {
				t.Errorf("words: %q; want %q in them", got, c.want)
			}
		})
	}
}

// The second build of the same code needs no compiler, and is told from other code.
func TestGoCache(t *testing.T) {
	code := goFile("func Main(in map[string]any) map[string]any { return in }")
	tool := filepath.Join(t.TempDir(), "go")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\necho x >> \"$COUNT\"\nexec \"$REAL\" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	real, err := exec.LookPath("go")
	if err != nil {
		t.Skip("go is needed; install Go")
	}
	count := filepath.Join(t.TempDir(), "count")
	first := request(t, compile.Go, "", code)
	first.Env = append(first.Env, "PATH="+filepath.Dir(tool)+":"+os.Getenv("PATH"), "COUNT="+count, "REAL="+real)
	for range 2 {
		r := request(t, compile.Go, "", code)
		r.Env = first.Env
		mustStart(t, r).expect(`{"value":{"x":1}}`, `{"x":1}`)
	}
	other := request(t, compile.Go, "", goFile("func Main(in map[string]any) map[string]any { return nil }"))
	other.Env = first.Env
	mustStart(t, other).expect(`{"value":{}}`, `null`)
	if b, _ := os.ReadFile(count); len(b) != len("x\nx\n") {
		t.Errorf("the compiler ran for: %q; want two times", b)
	}
}

// The first build on a machine compiles the standard library too, in a container of ordinary size.
func TestGoFitsItsContainer(t *testing.T) {
	const mb = 256
	r := request(t, compile.Go, "", goFile("func Main(in map[string]any) map[string]any { return in }"))
	cache := "GOCACHE=" + t.TempDir()
	r.Env = append(r.Env, cache, "XDG_CACHE_HOME="+t.TempDir(), "OW_MEMORY_MB="+strconv.Itoa(mb))
	done := make(chan struct{})
	var peak int
	var watch sync.WaitGroup
	watch.Go(func() {
		for tick := time.Tick(20 * time.Millisecond); ; {
			peak = max(peak, anonymousMB(cache))
			select {
			case <-tick:
			case <-done:
				return
			}
		}
	})
	b := mustStart(t, r)
	close(done)
	watch.Wait()
	b.expect(`{"value":{"x":1}}`, `{"x":1}`)
	if peak == 0 || peak > mb-32 { // the rest is the proxy's
		t.Errorf("the build took %d MiB of %d", peak, mb)
	}
	t.Logf("%d MiB", peak)
}

// anonymousMB is the memory of their own of all processes with a text in the environment.
func anonymousMB(text string) int {
	pages := 0
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		if env, err := os.ReadFile(d + "/environ"); err != nil || !strings.Contains(string(env), text) {
			continue
		}
		statm, _ := os.ReadFile(d + "/statm")
		if f := strings.Fields(string(statm)); len(f) > 2 {
			resident, _ := strconv.Atoi(f[1])
			shared, _ := strconv.Atoi(f[2])
			pages += resident - shared
		}
	}
	return pages * os.Getpagesize() >> 20
}
