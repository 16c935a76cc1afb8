package compile_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/weft-stream/weft/actionproxy/compile"
	"github.com/weft-stream/weft/pipeline"
)

// two are a group's files: both stages have a function, a variable and a package of the same name.
var two = map[string]string{
	pipeline.FusedCode: `[{"stage":"one","dir":"stage1-one"},{"stage":"two","dir":"stage2-two"}]`,
	"stage1-one/f.go": `// Package main has a comment.
package main

import (
	"context"
	"fmt"

	"function/add"
	weft "github.com/weft-stream/weft/sdk/go"
)

type event struct{ N int }

var calls int

func main() {
	defer fmt.Println("one has ended")
	weft.Map(f)
}

func f(_ context.Context, e event) (event, error) { calls++; return event{e.N + add.What + calls}, nil }
`,
	"stage1-one/add/add.go": "package add\n\nconst What = 100\n",
	"stage2-two/main.go": `package main; import "context"; import "function/add"; import weft "github.com/weft-stream/weft/sdk/go"
type event struct{ N int }
var calls int
func f(_ context.Context, e event) (event, error) { calls += 10; return event{e.N + add.What + calls}, nil }
func main() { weft.Map(f) }
`,
	"stage2-two/add/add.go": "package add\n\nconst What = 1000\n",
}

// TestGoFused: packages main are built into one program, each as if it were alone, and end as they would.
func TestGoFused(t *testing.T) {
	b := mustStart(t, request(t, compile.Go, "", two))
	if b.ABI() != "weft.stream/1" {
		t.Errorf("ABI: %q", b.ABI())
	}
	b.expect(`{"value":{"N":0}}`, `{"N":1111}`)
	b.expect(`{"value":{"N":0}}`, `{"N":1122}`)
	b.Close()
	if got := b.stdout.String(); got != "one has ended\n" {
		t.Errorf("stdout %q", got)
	}
}

func TestGoFusedErrors(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"type":     {"stage2-two/main.go", "package main\n\nfunc main() { undefined() }\n", "stage2-two/main.go:3:15: undefined: undefined"},
		"syntax":   {"stage2-two/main.go", "package main\n\nfunc main() {\n", "stage2-two/main.go:4:1: syntax error"},
		"no main":  {"stage2-two/main.go", "package main\n\nfunc Main(m map[string]any) map[string]any { return m }\n", "stage two: there is no func main"},
		"package":  {"stage2-two/main.go", "package two\n", "stage two: main.go is package two"},
		"returns":  {"stage2-two/main.go", "package main\n\nfunc main() {}\n", "the main function of stage two has returned without weft.Run"},
		"outside":  {pipeline.FusedCode, `[{"stage":"one","dir":"../stage1-one"}]`, `"../stage1-one" is no folder's name`},
		"no list":  {pipeline.FusedCode, `{}`, "read the list of fused stages"},
		"no stage": {pipeline.FusedCode, `[]`, "it lists no stage"},
	} {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(two)
			files[c.file] = c.text
			b, err := start(t, request(t, compile.Go, "", files))
			words := ""
			if b != nil {
				words = b.stderr.String()
			}
			if err == nil || !strings.Contains(err.Error()+words, c.want) {
				t.Errorf("%v, words %q; want %q in them", err, words, c.want)
			}
		})
	}
}

func TestPythonFused(t *testing.T) {
	need(t, "python3")
	files := map[string]string{
		pipeline.FusedCode: `[{"stage":"json","dir":"stage1-json"},{"stage":"two","dir":"stage2-two","main":"other"}]`,
		"stage1-json/f.py": "import json\ncalls = []\ndef main(e):\n    calls.append(1)\n    return {'n': e['n'] + len(calls), 'j': json.dumps(1)}\n",
		"stage2-two/f.py":  "calls = []\ndef other(e):\n    calls.append(1)\n    e['n'] += 100 * len(calls)\n    return e\n",
	}
	b := mustStart(t, request(t, compile.Python, "", files))
	b.expect(`{"value":{"n":0}}`, `{"n":101,"j":"1"}`)
	b.expect(`{"value":{"n":0}}`, `{"n":202,"j":"1"}`)
	files["stage2-two/f.py"] = "def main(e): return e\n"
	if got := fails(t, request(t, compile.Python, "", files)); !strings.Contains(got, "f.py has no other") {
		t.Errorf("words %q", got)
	}
}
