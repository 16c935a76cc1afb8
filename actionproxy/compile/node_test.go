package compile_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-stream/weft/actionproxy/compile"
	"github.com/weft-stream/weft/actionproxy/process"
)

func node(t *testing.T, main, code string) compile.Request {
	need(t, "node")
	return request(t, compile.Node, main, map[string]string{"exec": code})
}

func TestNode(t *testing.T) {
	b := mustStart(t, node(t, "", `
function main(args) {
  console.log('hello', args.x)
  if (args.fail) throw new TypeError('it fell over')
  if (args.reject) return Promise.reject({code: 7})
  if (args.status) throw Object.assign(new Error('gone'), {statusCode: 404})
  if (args.nothing) return undefined
  if (args.circle) { const o = {}; o.o = o; return o }
  if (args.list) return Promise.resolve([1, 'ü\ud800'])
  return {x: args.x, id: process.env.__OW_ACTIVATION_ID, a: process.env.A}
}`))
	b.expect(`{"value":{"x":1},"activation_id":"7"}`, `{"x":1,"id":"7","a":"b"}`)
	b.expect(`{"value":{"list":1}}`, `[1,"ü\ud800"]`)
	b.expect(`{"value":{"nothing":1}}`, `{}`)
	b.expect(`{"value":{"fail":1}}`, `{"error":"TypeError: it fell over"}`)
	b.expect(`{"value":{"reject":1}}`, `{"error":{"code":7}}`)
	b.expect(`{"value":{"status":1}}`, `{"error":{"name":"Error","message":"gone","statusCode":404}}`)
	if got, err := b.Exchange(t.Context(), []byte(`{"value":{"circle":1}}`)); err != nil || !strings.Contains(string(got), "circular") {
		t.Errorf("circle: %s, %v", got, err)
	}
	b.Drain()
	if !strings.Contains(b.stderr.String(), "at main (index.js:4:24)\n{ code") || !strings.HasPrefix(b.stdout.String(), "hello 1\nhello undefined\n") {
		t.Errorf("stdout %q, stderr %q", b.stdout, b.stderr)
	}
}

// The ways in which a main function may be given.
func TestNodeModules(t *testing.T) {
	const is = "{return {is: 1}}"
	for name, c := range map[string]struct {
		main  string
		files map[string]string
	}{
		"arrow":          {"", map[string]string{"exec": "const main = async () => (" + "{is: 1})"}},
		"named":          {"other", map[string]string{"exec": "function other() " + is}},
		"nested":         {"api.get", map[string]string{"exec": "const api = {get() " + is + "}"}},
		"exports":        {"", map[string]string{"exec": "exports.main = () => " + is}},
		"module.exports": {"", map[string]string{"exec": "const os = require('os'); module.exports = () => " + is}},
		"module":         {"", map[string]string{"exec": "import os from 'os'\nexport function main() " + is}},
		"default":        {"", map[string]string{"exec": "export default () => " + is}},
		"await":          {"", map[string]string{"exec": "const v = await 1\nexport const main = () => ({is: v})"}},
		"index":          {"", map[string]string{"index.js": "exports.main = require('./lib/a').f", "lib/a.js": "exports.f = () => " + is}},
		"index.mjs":      {"", map[string]string{"index.mjs": "export const main = () => " + is}},
		"package": {"", map[string]string{"package.json": `{"main":"lib/a.js"}`, "lib/a.js": "exports.main = () => require('b')",
			"node_modules/b/index.js": "exports.is = 1"}},
		"package of modules": {"", map[string]string{"package.json": `{"type":"module","main":"a.js"}`, "a.js": "export function main() " + is}},
		"other file":         {"a.get", map[string]string{"package.json": "{}", "a.js": "exports.get = () => " + is}},
	} {
		t.Run(name, func(t *testing.T) {
			need(t, "node")
			for i, text := range c.files {
				c.files[i] = strings.ReplaceAll(text, "=> {return {is: 1}}", "=> ({is: 1})")
			}
			r := request(t, compile.Node, c.main, c.files)
			b := mustStart(t, r)
			b.expect(`{}`, `{"is":1}`)
			b.Close()
		})
	}
}

func TestNodeErrors(t *testing.T) {
	for name, c := range map[string]struct{ code, want string }{
		"syntax":  {"function main( {\n", "index.js:2"},
		"missing": {"const x = 1\n", "Action entrypoint 'main' is not a function."},
		"throws":  {"\nthrow new Error('not now')\n", "index.js:2:7"},
		"require": {"require('nosuchmodule')\n", "Cannot find module 'nosuchmodule'"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fails(t, node(t, "", c.code)); !strings.Contains(got, c.want) || strings.Contains(got, "launcher.js") {
				t.Errorf("words: %q; want %q in them", got, c.want)
			}
		})
	}
	got := fails(t, request(t, compile.Node, "", map[string]string{"a.txt": "x"}))
	if !strings.Contains(got, "Zipped actions must contain either package.json or index.js at the root.") {
		t.Errorf("words: %q", got)
	}
}

// A version manager's node is a script; the program behind it is asked for.
func TestNodeBehindScript(t *testing.T) {
	need(t, "node")
	real, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	script := t.TempDir() + "/node"
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+real+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := node(t, "", "function main() { return {is: 1} }")
	r.Env = append(r.Env, "OW_NODE="+script, "OW_MEMORY_MB=128")
	mustStart(t, r).expect(`{}`, `{"is":1}`)

	// Who starts many containers asks once.
	got := compile.Interpreters(t.Context(), []string{"PATH=" + filepath.Dir(script)})
	if len(got) != 1 || !strings.HasPrefix(got[0], "OW_NODE=") || strings.HasSuffix(got[0], script) || !filepath.IsAbs(strings.TrimPrefix(got[0], "OW_NODE=")) {
		t.Errorf("interpreters %q", got)
	}
}

// A program can be started again, as it is after its process has died.
func TestNodeRestarts(t *testing.T) {
	need(t, "node")
	for name, code := range map[string]string{"script": "function main(a) { if (a.die) process.exit(3); return {is: 1} }",
		"module": "export const main = (a) => { if (a.die) process.exit(3); return {is: 1} }"} {
		t.Run(name, func(t *testing.T) {
			program, err := compile.Build(t.Context(), node(t, "", code))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				p, err := process.Start(t.Context(), process.Config{Path: program.Path, Args: program.Args, Dir: program.Dir,
					WaitForAck: true, Stdout: io.Discard, Stderr: io.Discard})
				if err != nil {
					t.Fatal(err)
				}
				if got, err := p.Exchange(t.Context(), []byte(`{}`)); err != nil || string(got) != `{"is":1}` {
					t.Errorf("%s, %v", got, err)
				}
				if _, err := p.Exchange(t.Context(), []byte(`{"value":{"die":1}}`)); !errors.Is(err, process.ErrExited) {
					t.Errorf("exit: %v", err)
				}
				p.Close()
			}
		})
	}
}
