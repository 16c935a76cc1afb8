package localwhisk_test

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
)

// TestOutcomes is the table of what a container may do and what the
// activation says then, and whether the container lives on.
func TestOutcomes(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "m", nil)
	for _, o := range []struct {
		mode   string
		status openwhisk.StatusCode
		text   string // in the error
		kept   bool
	}{
		{"error", openwhisk.StatusApplicationError, "it went wrong", true},
		{"errorobj", openwhisk.StatusApplicationError, `{"code":7,"text":"structured"}`, true},
		{"big", openwhisk.StatusApplicationError, "exceeded the allowed length: 2097161 > 1048576 bytes. The truncated response was: ", true},
		{"exit", openwhisk.StatusDeveloperError, "The action did not produce a valid response and exited unexpectedly.", false},
		{"notjson", openwhisk.StatusDeveloperError, "The action did not return a dictionary or array.", false},
		{"garbage", openwhisk.StatusDeveloperError, "The action did not produce a valid JSON response: hello", false},
		{"chunked", openwhisk.StatusDeveloperError, "The action did not produce a valid response", false},
	} {
		t.Run(o.mode, func(t *testing.T) {
			before := ask(t, c, "m").Pid
			settle(t, p)
			inv := invoke(t, c, "m", params{"mode": o.mode})
			settle(t, p)
			a := inv.Activation
			text := string(result[struct{ Error json.RawMessage }](t, a.Response.Result).Error)
			json.Unmarshal([]byte(text), &text) // if it is a string
			if inv.Status != 502 || a.Response.StatusCode != o.status || !strings.Contains(text, o.text) {
				t.Errorf("%d %v %.200s", inv.Status, a.Response.StatusCode, text)
			}
			after := ask(t, c, "m").Pid
			settle(t, p)
			if kept := before == after; kept != o.kept {
				t.Errorf("container kept: %v", kept)
			}
		})
	}
}

func TestTimeLimit(t *testing.T) {
	_, c := start(t, nil)
	for _, o := range []struct{ name, code, mode, text string }{
		{"run", "eA==", "sleep", "The action exceeded its time limits of 1000 milliseconds."},
		{"init", "slowinit", "", "The action exceeded its time limits of 1000 milliseconds during initialization."},
	} {
		t.Run(o.name, func(t *testing.T) {
			put(t, c, o.name, func(a *openwhisk.Action) {
				a.Exec, a.Limits = openwhisk.CodeExec("go:1.26", o.code, false), openwhisk.NewLimits(1000, 128, 1)
			})
			a := invoke(t, c, o.name, params{"mode": o.mode, "ms": 60000}).Activation
			if got := string(a.Response.Result); a.Response.StatusCode != openwhisk.StatusDeveloperError || got != `{"error":"`+o.text+`"}` {
				t.Errorf("%v %s", a.Response.StatusCode, got)
			}
			if !a.Annotations.Truthy("timeout") || a.Response.Size != nil {
				t.Errorf("annotations %v, size %v", a.Annotations, a.Response.Size)
			}
		})
	}
}

func TestFailedInit(t *testing.T) {
	_, c := start(t, nil)
	put(t, c, "m", func(a *openwhisk.Action) { a.Exec = openwhisk.CodeExec("go:1.26", "failinit", false) })
	a := invoke(t, c, "m", nil).Activation
	if a.Response.StatusCode != openwhisk.StatusDeveloperError || string(a.Response.Result) != `{"error":"cannot start"}` {
		t.Errorf("%v %s", a.Response.StatusCode, a.Response.Result)
	}
}

func TestMemoryLimit(t *testing.T) {
	_, c := start(t, nil)
	put(t, c, "m", nil)
	a := invoke(t, c, "m", params{"mode": "memory"}).Activation
	if a.Response.StatusCode != openwhisk.StatusDeveloperError || string(a.Response.Result) != `{"error":"The action exhausted its memory and was aborted."}` {
		t.Errorf("%v %.200s", a.Response.StatusCode, a.Response.Result)
	}
	if inv := invoke(t, c, "m", nil); inv.Status != 200 {
		t.Errorf("afterwards: %d", inv.Status)
	}
}

func TestLogs(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "m", nil)
	put(t, c, "nolog", func(a *openwhisk.Action) { a.Limits = openwhisk.NewLimits(10000, 128, 0) })
	if a := record(t, c, invoke(t, c, "m", params{"mode": "print"}).ActivationID); len(a.Logs) != 6 {
		t.Errorf("logs %q", a.Logs)
	}
	settle(t, p)
	if a := record(t, c, invoke(t, c, "m", nil).ActivationID); len(a.Logs) != 0 {
		t.Errorf("another's lines: %q", a.Logs)
	}
	if a := record(t, c, invoke(t, c, "nolog", params{"mode": "print"}).ActivationID); len(a.Logs) != 0 {
		t.Errorf("logs with a limit of 0: %q", a.Logs)
	}
	settle(t, p)
	before := invoke(t, c, "m", params{"mode": "who"})
	settle(t, p)
	a := record(t, c, invoke(t, c, "m", params{"mode": "flood"}).ActivationID)
	if last := a.Logs[len(a.Logs)-1]; !strings.HasSuffix(last, "stderr: Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes.") {
		t.Errorf("last line %q", last)
	}
	a = record(t, c, invoke(t, c, "m", params{"mode": "nosentinel"}).ActivationID)
	if !strings.Contains(strings.Join(a.Logs, "\n"), "There was an issue while collecting your logs. Data might be missing.") {
		t.Errorf("without sentinels: %q", a.Logs)
	}
	if string(before.Result) == string(invoke(t, c, "m", params{"mode": "who"}).Result) {
		t.Error("the container outlived a failed log collection")
	}
}

func TestThrottle(t *testing.T) {
	_, c := start(t, func(c *localwhisk.Config) {
		c.Limits = localwhisk.StockLimits()
		c.Limits.ConcurrentInvocations = 1
	})
	put(t, c, "m", nil)
	first, err := c.Invoke(t.Context(), "m", params{"mode": "sleep", "ms": 1500}, openwhisk.InvokeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	busy := func(want string) {
		t.Helper()
		_, err := c.Invoke(t.Context(), "m", nil, openwhisk.InvokeOptions{Blocking: true})
		var e *openwhisk.APIError
		if !errors.As(err, &e) || e.Status != 429 || !openwhisk.IsBusy(err) || e.Message != want || e.Code == "" {
			t.Errorf("got %v", err)
		}
	}
	busy("Too many concurrent requests in flight (count: 1, allowed: 1).")
	record(t, c, first.ActivationID)
}

func TestThrottleByMinute(t *testing.T) {
	now := newClock()
	_, c := start(t, func(c *localwhisk.Config) {
		c.Limits = localwhisk.StockLimits()
		c.Limits.InvocationsPerMinute = 2
		c.Now = now.time
	})
	put(t, c, "m", nil)
	invoke(t, c, "m", nil)
	invoke(t, c, "m", nil)
	_, err := c.Invoke(t.Context(), "m", nil, openwhisk.InvokeOptions{Blocking: true})
	var e *openwhisk.APIError
	if !errors.As(err, &e) || e.Message != "Too many requests in the last minute (count: 3, allowed: 2)." {
		t.Errorf("got %v", err)
	}
	now.minuteLater()
	invoke(t, c, "m", nil)
}

func TestNonBlocking(t *testing.T) {
	_, c := start(t, func(c *localwhisk.Config) { c.BlockingWait = 200e6 })
	put(t, c, "m", nil)
	for _, blocking := range []bool{false, true} { // a blocking call turns into one after the wait
		inv, err := c.Invoke(t.Context(), "m", params{"mode": "sleep", "ms": 1000}, openwhisk.InvokeOptions{Blocking: blocking})
		if err != nil || inv.Status != 202 || len(inv.ActivationID) != 32 {
			t.Fatalf("%+v %v", inv, err)
		}
		if _, err := c.GetActivation(t.Context(), inv.ActivationID); !openwhisk.IsNotFound(err) {
			t.Errorf("the record of a running activation: %v", err)
		}
		if a := record(t, c, inv.ActivationID); string(a.Response.Result) != `{"slept":true}` {
			t.Errorf("result %s", a.Response.Result)
		}
	}
}

func TestEnvironmentAndKey(t *testing.T) {
	p, c := start(t, nil)
	type seen struct {
		Env     map[string]string
		Process []string
		Run     struct {
			Value    map[string]any
			APIKey   string `json:"api_key"`
			Deadline any
		}
	}
	for _, withKey := range []bool{false, true} {
		put(t, c, "m", func(a *openwhisk.Action) {
			a.Annotations = openwhisk.KeyValues{openwhisk.KV("provide-api-key", withKey)}
			a.Parameters = openwhisk.KeyValues{openwhisk.KV("mode", "env"), openwhisk.KV("who", "action"), {Key: "INIT", Value: json.RawMessage(`{"a":1}`), Init: true}}
		})
		s := result[seen](t, invoke(t, c, "m", params{"own": 1}).Result)
		want := ""
		if withKey {
			want = p.Auth()
		}
		if s.Run.APIKey != want || s.Env["__OW_API_KEY"] != want {
			t.Errorf("key wanted %v: run %q, init %q", withKey, s.Run.APIKey, s.Env["__OW_API_KEY"])
		}
		if s.Env["INIT"] != `{"a":1}` || s.Run.Value["INIT"] != nil || s.Run.Value["own"] != 1.0 || s.Run.Value["who"] != "action" {
			t.Errorf("parameters: %v and %v", s.Env, s.Run.Value)
		}
		if d, ok := s.Run.Deadline.(string); !ok || len(d) != 13 {
			t.Errorf("deadline %v is not a string of ms", s.Run.Deadline)
		}
		env := strings.Join(s.Process, "\n")
		if !strings.Contains(env, "__OW_API_HOST="+p.APIHost()) || !strings.Contains(env, "__OW_ALLOW_CONCURRENT=true") || strings.Contains(env, "PATH=") {
			t.Errorf("environment of the process:\n%s", env)
		}
	}
}

// TestLargePayloads: parameters and results of almost 1 MiB come through, and
// a result too large for a message still frees the slot.
func TestLargePayloads(t *testing.T) {
	p, c := start(t, nil)
	for _, logs := range []int{0, 1} {
		put(t, c, "m", func(a *openwhisk.Action) { a.Limits = openwhisk.NewLimits(10000, 128, logs) })
		text := strings.Repeat("p", 1<<20-100)
		if inv := invoke(t, c, "m", params{"x": text}); inv.Status != 200 || len(inv.Result) < len(text) {
			t.Errorf("logs %d: %d, %d bytes", logs, inv.Status, len(inv.Result))
		}
		if inv := invoke(t, c, "m", params{"mode": "big"}); inv.Status != 502 {
			t.Errorf("logs %d: %d", logs, inv.Status)
		}
		settle(t, p)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := localwhisk.New(localwhisk.Config{Listen: l.Addr().String()})
	if err := p.Open(t.Context()); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
	p.Close()
	if err := localwhisk.New(localwhisk.Config{Auth: "x"}).Open(t.Context()); err == nil {
		t.Error("a bad key passes")
	}
}
