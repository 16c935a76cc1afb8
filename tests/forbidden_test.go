package tests

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestForbidden: a cluster that forbids what a pipeline wants. Each refusal says what, and what to do.
func TestForbidden(t *testing.T) {
	need(t, "python3", "Python 3")
	for _, c := range []struct {
		name     string
		settings []string
		lease    string
		deploy   int // exit code
		words    []string
	}{
		{"memory", []string{"whisk.memory-limit.max=200 MB", "whisk.memory-limit.std=128 MB"}, "", exitRefused,
			[]string{"p.stages/f", "memory size 256 MB exceeds allowed threshold of 200 MB"}},
		{"time", []string{"whisk.time-limit.max=1 m"}, "", exitRefused,
			[]string{"300000 milliseconds exceeds allowed threshold of 60000 milliseconds", "set the pipeline's lease (--lease)"}},
		{"less time", []string{"whisk.time-limit.max=1 m"}, "1m", 0, nil},
		{"activations", []string{"limits.actions.invokes.concurrent=3"}, "", 0,
			[]string{"and 4 concurrent activations", "namespace guest has 3", "--no-headroom"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"up", "--listen", "127.0.0.1:0"}
			for _, s := range c.settings {
				args = append(args, "--config", s)
			}
			w := weft(t, args...)
			dir := t.TempDir()
			write(t, dir, "p.yaml", strings.Replace(python, "{stdin: {}, format: ndjson}", "{generator: {rate: 1}}", 1))
			write(t, dir, "f.py", passPython)
			host, key, _ := w.printed()
			deploy := []string{"deploy", "p.yaml", "--apihost", host, "--auth", key}
			if c.lease != "" {
				deploy = append(deploy, "--lease", c.lease)
			}
			d := weftIn(t, dir, deploy...)
			code := d.wait(time.Minute)
			said := d.stderr.String()
			if code == 0 {
				said = errorText(t, rest{t, host, key}.conduct("p", "start").Response.Result)
			}
			for _, word := range c.words {
				if !strings.Contains(said, word) {
					t.Errorf("%q is not in %s", word, said)
				}
			}
			if code != c.deploy || c.words == nil && said != "" {
				t.Errorf("weft deploy: exit code %d, want %d; then %s", code, c.deploy, said)
			}
		})
	}
}

const exitRefused = 4

// TestSoakOutOfQuota: the invocations of a minute are used up half-way through a start. It waits for the
// next minute, and says so.
func TestSoakOutOfQuota(t *testing.T) {
	if os.Getenv("WEFT_SOAK") == "" {
		t.Skip("make soak runs this: it waits for the next minute")
	}
	need(t, "python3", "Python 3")
	w := weft(t, "up", "--listen", "127.0.0.1:0", "--config", "limits.actions.invokes.perMinute=3")
	dir := t.TempDir()
	write(t, dir, "p.yaml", strings.Replace(python, "{stdin: {}, format: ndjson}", "{generator: {rate: 1}}", 1))
	write(t, dir, "f.py", passPython)
	host, key, hook := w.printed()
	r := rest{t, host, key}
	deployed(t, r, dir)
	start := weftIn(t, dir, "start", "p", "--apihost", host, "--auth", key, "--hook", hook)
	if code := start.wait(3 * time.Minute); code != 0 {
		t.Fatalf("exit code %d: %s", code, start.stderr.String())
	}
	why := weftIn(t, dir, "why", "p", "--apihost", host, "--auth", key, "--hook", hook)
	why.wait(time.Minute)
	if said := why.stdout.String(); !strings.Contains(said, "lease refused") || !strings.Contains(said, "Too many requests in the last minute") {
		t.Errorf("weft why: %s", said)
	}
}

// TestHookOutOfReach: the containers have no way to the hook. The start says so.
func TestHookOutOfReach(t *testing.T) {
	need(t, "python3", "Python 3")
	w := weft(t, "up", "--listen", "127.0.0.1:0")
	dir := t.TempDir()
	write(t, dir, "p.yaml", strings.Replace(python, "{stdin: {}, format: ndjson}", "{generator: {rate: 1}}", 1))
	write(t, dir, "f.py", passPython)
	host, key, hook := w.printed()
	r := rest{t, host, key}
	deployed(t, r, dir)
	socket := strings.TrimPrefix(hook, "unix:")
	if err := os.Rename(socket, socket+".away"); err != nil {
		t.Fatal(err)
	}
	if said := errorText(t, r.conduct("p", "start").Response.Result); !strings.Contains(said, "connect to the hook: dial unix "+socket) {
		t.Errorf("the start says %q", said)
	}
	if err := os.Rename(socket+".away", socket); err != nil {
		t.Fatal(err)
	}
	if a := r.conduct("p", "start"); !a.Response.Success {
		t.Errorf("with the hook: %s", a.Response.Result)
	}
}
