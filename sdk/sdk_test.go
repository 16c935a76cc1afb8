package sdk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// functions is the built testdata/functions.
var functions string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "weft")
	if err != nil {
		panic(err)
	}
	functions = filepath.Join(dir, "functions")
	if out, err := exec.Command("go", "build", "-o", functions, "./testdata/functions").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build test functions: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// languages start a test function by its name.
var languages = map[string]func(t *testing.T, name string) *exec.Cmd{
	"go": func(_ *testing.T, name string) *exec.Cmd { return exec.Command(functions, name) },
	"python": func(t *testing.T, name string) *exec.Cmd {
		return exec.Command(python(t), "-c", `import sys
sys.path[:0] = ["python", "testdata"]
import functions, weft
weft.serve(getattr(functions, sys.argv[1]))`, name)
	},
}

func python(t *testing.T) string {
	path, err := exec.LookPath("python3")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("python3 is needed; install Python 3.9 or newer")
	} else if err != nil {
		t.Skip("python3 is needed; install Python 3.9 or newer")
	}
	return path
}

// both runs a test for each language.
func both(t *testing.T, name string, test func(t *testing.T, p *proxy)) {
	for language, command := range languages {
		t.Run(language, func(t *testing.T) { test(t, start(t, command(t, name))) })
	}
}

func TestEcho(t *testing.T) {
	both(t, "echo", func(t *testing.T, p *proxy) {
		p.stream()
		p.send(data(1, `{"a":1}`))
		equal(t, p.until(1), `1 {"a":1}`)
		p.send(data(2, `{"b":"\udc80<é"}`), data(3, `{}`), endOfInput)
		got := p.until(0)
		for i := range got {
			got[i] = strings.ReplaceAll(got[i], `\u00e9`, "é")
		}
		equal(t, got, `2 {"b":"\udc80<é"}`, `3 {}`)
		p.conn.Close()
		if got := p.activate(`{"c":2}`); compact([]byte(got)) != `{"c":2}` {
			t.Fatalf("an activation after the stream gives %s", got)
		}
		check(t, p.exit())
	})
}

func TestManyEvents(t *testing.T) {
	both(t, "split", func(t *testing.T, p *proxy) {
		p.stream()
		const n = 20000
		var frames []frame.Frame
		for i := range n {
			frames = append(frames, data(uint64(i+1), fmt.Sprintf(`{"line":"a%d b c"}`, i)))
		}
		p.sendAside(append(frames, endOfInput)...)
		got := p.until(0)
		if len(got) != 3*n {
			t.Fatalf("%d outputs of %d", len(got), 3*n)
		}
		equal(t, got[len(got)-3:], `20000 {"word":"a19999"}`, `20000 {"word":"b"}`, `20000 {"word":"c"}`)
	})
}

func TestRollbackForgets(t *testing.T) {
	both(t, "count", func(t *testing.T, p *proxy) {
		p.stream()
		p.send(data(1, `{}`), data(2, `{}`))
		p.until(2)
		p.start(frame.MakeAttempt(1, 1))
		p.send(data(1, `{}`), endOfInput)
		equal(t, p.until(0), `0 {"count":1}`)
		p.start(frame.MakeAttempt(2, 0)) // after the end, too
		p.send(endOfInput)
		equal(t, p.until(0), `0 {"count":0}`)
	})
}

func TestErrors(t *testing.T) {
	both(t, "fail", func(t *testing.T, p *proxy) {
		p.stream()
		p.send(data(1, `{"line":"error"}`), data(2, `{"line":"fine"}`), data(3, `{"line":"panic"}`), data(4, `{"line":`), endOfInput)
		got := p.until(0)
		if len(got) != 4 || got[1] != `2 {"line":"fine"}` {
			t.Fatalf("got:\n%s", strings.Join(got, "\n"))
		}
		for i, part := range map[int]string{0: "no good", 2: "panic: no good", 3: "JSON"} {
			if i == 3 && strings.Contains(got[3], "Expecting value") {
				continue
			}
			if !strings.HasPrefix(got[i], fmt.Sprintf(`%d! {"error":"`, i+1)) || !strings.Contains(got[i], part) {
				t.Errorf("%s has no %q", got[i], part)
			}
		}
		if got := p.exit(); got != nil {
			t.Fatal(got)
		}
		if !strings.Contains(p.stderr.String(), "no good") {
			t.Error("the log doesn't have the panic")
		}
	})
}

func TestOutputsAreObjects(t *testing.T) {
	both(t, "scalar", func(t *testing.T, p *proxy) {
		p.stream()
		p.send(data(1, `{}`))
		if got := p.until(1); len(got) != 1 || !strings.HasPrefix(got[0], `1! {"error":`) {
			t.Fatalf("got %s", got)
		}
	})
	both(t, "null", func(t *testing.T, p *proxy) {
		p.stream()
		p.send(data(1, `{}`))
		equal(t, p.until(1))
	})
}

func TestLargePayload(t *testing.T) {
	both(t, "echo", func(t *testing.T, p *proxy) {
		p.stream()
		large := `{"x":"` + strings.Repeat("0123456789", 1<<20) + `"}`
		p.sendAside(data(1, large), data(2, `{}`))
		equal(t, p.until(2), "1 "+large, `2 {}`)
	})
}

func TestPrintingIsLogging(t *testing.T) {
	both(t, "printing", func(t *testing.T, p *proxy) {
		p.stream()
		p.send(data(1, `{"line":"a"}`), data(2, `{"line":"\udcff"}`))
		if got := p.until(2); len(got) != 2 {
			t.Fatalf("got %s", got)
		}
		check(t, p.exit())
		if !strings.HasPrefix(p.stdout.String(), "out a\nout ") || !strings.HasPrefix(p.stderr.String(), "err a\nerr ") {
			t.Fatal("the prints are missing")
		}
	})
}

func TestDeathShows(t *testing.T) {
	both(t, "die", func(t *testing.T, p *proxy) {
		p.stream()
		p.send(data(1, `{"line":"a"}`))
		p.until(1)
		p.send(data(2, `{"line":"die"}`))
		for {
			if _, err := p.readErr(); err != nil {
				break
			}
		}
		var status *exec.ExitError
		if err := p.cmd.Wait(); !errors.As(err, &status) || status.ExitCode() != 3 {
			t.Fatalf("the process ended with %v", err)
		}
	})
}

func TestBadEndEndsTheProcess(t *testing.T) {
	both(t, "badend", func(t *testing.T, p *proxy) {
		p.stream()
		p.send(endOfInput)
		if f, err := p.readErr(); err == nil {
			t.Fatalf("a frame of type %d instead of the end", f.Type)
		}
		if err := p.cmd.Wait(); err == nil || !strings.Contains(p.stderr.String(), "the end is bad") {
			t.Fatalf("the process ended with %v", err)
		}
	})
}

func TestFactsOfAnEvent(t *testing.T) {
	both(t, "facts", func(t *testing.T, p *proxy) {
		p.stream()
		in := data(1, `{}`)
		in.ID, in.Key, in.EventTime = []byte("f:12/0"), []byte("k"), 1_700_000_000_123_456
		in.Headers = frame.AppendHeader(nil, "traceparent", "00-1")
		p.send(in)
		told, own := p.read(), p.read()
		var got map[string]any
		check(t, json.Unmarshal(told.Payload, &got))
		text, _ := json.Marshal(got)
		equal(t, []string{string(text)}, `{"factor":3,"headers":{"traceparent":"00-1"},"id":"f:12/0","key":"k",`+
			`"replicas":2,"slot":1,"stage":"s","time":1700000000123456}`)
		if told.Edge != frame.AllEdges || told.EventTime != 0 || len(told.Headers)+len(told.Key)+len(told.ID) != 0 {
			t.Errorf("an output without facts has %+v", told)
		}
		if own.Edge != 4 || string(own.Key) != "k2" || own.EventTime != 7_000_001 ||
			string(own.Headers) != string(frame.AppendHeader(nil, "traceparent", "00-2")) {
			t.Errorf("an output with facts has %+v", own)
		}
	})
}

func TestOrdinaryActivations(t *testing.T) {
	both(t, "split", func(t *testing.T, p *proxy) {
		for value, want := range map[string]string{
			`{"line":""}`:    `{}`,
			`{"line":"a"}`:   `{"word":"a"}`,
			`{"line":"a b"}`: `[{"word":"a"},{"word":"b"}]`,
		} {
			if got := p.activate(value); got != want {
				t.Errorf("%s gives %s, not %s", value, got, want)
			}
		}
		if got := p.activate(`{"line":7}`); !strings.HasPrefix(got, `{"error":"`) {
			t.Errorf("a bad event gives %s", got)
		}
		check(t, p.exit())
	})
	both(t, "count", func(t *testing.T, p *proxy) {
		if got := p.activate(`{}`); got != `{}` {
			t.Errorf("got %s", got)
		}
	})
}

// TestArrayActions has what OpenWhisk allows beyond objects: a list in and a list out.
func TestArrayActions(t *testing.T) {
	p := start(t, languages["python"](t, "reverse"))
	for value, want := range map[string]string{`[1,"a"]`: `["a",1]`, `[1]`: `[1]`, `[]`: `[]`, `[{}]`: `[{}]`} {
		if got := p.activate(value); got != want {
			t.Errorf("%s gives %s, not %s", value, got, want)
		}
	}
}

func TestProxyGoesAway(t *testing.T) {
	both(t, "split", func(t *testing.T, p *proxy) {
		p.stream()
		var frames []frame.Frame
		for i := range 5000 {
			frames = append(frames, data(uint64(i+1), `{"line":"a b c d e f g h"}`))
		}
		p.sendAside(frames...)
		p.read() // it is at work: what it writes next has no reader
		p.conn.Close()
		if got := p.activate(`{"line":"a"}`); got != `{"word":"a"}` {
			t.Fatalf("an activation after the stream gives %s", got)
		}
		p.stream() // another one
		p.send(data(1, `{"line":"b"}`))
		equal(t, p.until(1), `1 {"word":"b"}`)
		check(t, p.exit())
	})
}

func TestStartThatFailsEndsTheProcess(t *testing.T) {
	both(t, "badstart", func(t *testing.T, p *proxy) {
		p.connect()
		p.send(frame.Frame{Header: frame.Header{Type: frame.Start}, Payload: []byte(`{}`)})
		if f, err := p.readErr(); err == nil {
			t.Fatalf("a frame of type %d instead of the end", f.Type)
		}
		if err := p.cmd.Wait(); err == nil || !strings.Contains(p.stderr.String(), "only") {
			t.Fatalf("the process ended with %v", err)
		}
	})
}
