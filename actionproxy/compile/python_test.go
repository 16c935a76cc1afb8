package compile_test

import (
	"strings"
	"testing"

	"github.com/weft-stream/weft/actionproxy/compile"
)

func python(t *testing.T, main, code string) compile.Request {
	need(t, "python3")
	return request(t, compile.Python, main, map[string]string{"exec": code})
}

func TestPython(t *testing.T) {
	b := mustStart(t, python(t, "", `
import os
def main(args):
    print("hello", args.get("x"))
    if "raise" in args:
        raise ValueError("it fell over")
    if "list" in args:
        return [1, "ü"]
    return {"x": args["x"], "id": os.environ["__OW_ACTIVATION_ID"], "a": os.environ["A"], "cwd": os.path.basename(os.getcwd())}
`))
	b.expect(`{"value":{"x":1},"activation_id":"7"}`, `{"x":1,"id":"7","a":"b","cwd":"bin"}`)
	b.expect(`{"value":{"list":1}}`, `[1,"\u00fc"]`)
	b.expect(`{"value":{"raise":1}}`, `{"error":"ValueError: it fell over"}`)
	if !strings.Contains(b.stderr.String(), `File "main.py", line 6, in main`) || b.stdout.String() != "hello 1\nhello None\nhello None\n" {
		t.Errorf("stdout %q, stderr %q", b.stdout, b.stderr)
	}
}

func TestPythonThatStreams(t *testing.T) {
	b := mustStart(t, python(t, "words", "def words(event):\n    for w in event['line'].split():\n        yield {'word': w}\n"))
	if b.ABI() != "weft.stream/1" {
		t.Errorf("ABI: %q", b.ABI())
	}
	b.expect(`{"value":{"line":"a b"}}`, `[{"word":"a"},{"word":"b"}]`)
}

func TestPythonFolders(t *testing.T) {
	need(t, "python3")
	mustStart(t, request(t, compile.Python, "", map[string]string{
		"__main__.py": "import tax\nimport packed\ndef main(args): return {'tax': tax.RATE, 'data': open('data.txt').read(), 'packed': packed.X}\n" +
			"if __name__ == '__main__': raise SystemExit('not as a program')\n",
		"tax.py":   "RATE = 19\n",
		"data.txt": "d",
		"virtualenv/lib/python3.9/site-packages/packed.py": "X = 1\n",
	})).expect(`{}`, `{"tax":19,"data":"d","packed":1}`)
}

func TestPythonErrors(t *testing.T) {
	for name, c := range map[string]struct{ code, want string }{
		"syntax":  {"def main(:\n", "File \"main.py\", line 1\n"},
		"import":  {"import nosuchmodule\n", "ModuleNotFoundError: No module named 'nosuchmodule'"},
		"missing": {"x = 1\n", "main.py has no main; it is what the action calls"},
		"exits":   {"raise SystemExit('not now')\n", "not now"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fails(t, python(t, "", c.code)); !strings.Contains(got, c.want) || strings.Contains(got, "launcher.py") {
				t.Errorf("words: %q; want %q in them", got, c.want)
			}
		})
	}
}
