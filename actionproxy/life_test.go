package actionproxy_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/actionproxy/process"
)

func TestSecondInit(t *testing.T) {
	p := startBehaviour(t, actionproxy.Config{})
	if status, body := p.init(t, behaviour, "main", nil); status != http.StatusForbidden ||
		body != `{"error":"Cannot initialize the action more than once."}` {
		t.Errorf("%d %s", status, body)
	}
	p.expect(t, `{"a":1}`, 200, `{"got":{"a":1}}`)
}

func TestEvents(t *testing.T) {
	var mu sync.Mutex
	var events []string
	p := startBehaviour(t, actionproxy.Config{Log: func(event string, kv ...any) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, fmt.Sprint(event, kv[:2]))
	}})
	p.expect(t, `{"mode":"scalar"}`, 502, `{"error":"The action did not return a dictionary or array."}`)
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(events[1:], " "); got != "init[status 200] run[status 502]" {
		t.Errorf("events: %s", got)
	}
}

func TestEnvironmentOfFunctions(t *testing.T) {
	p := startProxy(t, actionproxy.Config{Env: actionproxy.ReadEnvironment([]string{"OW_WAIT_FOR_ACK=yes", "PATH=/bin",
		"__OW_API_HOST=http://h?a=b", "__OW_NAMESPACE=old", "OW_X=1"})})
	if status, body := p.init(t, behaviour, "main", map[string]any{"__OW_NAMESPACE": "guest", "n": 12345678901234567, "o": map[string]any{"a": "<"},
		"none": nil, "yes": true}); status != http.StatusOK {
		t.Fatal(body)
	}
	p.expect(t, `{"mode":"env"}`, 200, `{"env":{"__OW_API_HOST":"http://h?a=b","__OW_NAMESPACE":"guest","__OW_PROXY_VERSION":"1.17.1",`+
		`"__OW_WAIT_FOR_ACK":"yes","n":"12345678901234567","none":"","o":"{\"a\":\"\\u003c\"}","yes":"true"}}`)
}

func TestDeathBetweenRuns(t *testing.T) {
	fn := make(chan *actionproxy.Function, 1)
	p := startBehaviour(t, actionproxy.Config{Leases: &leases{lease: func(_ context.Context, _ *actionproxy.Request, f *actionproxy.Function) actionproxy.Reply {
		fn <- f
		return actionproxy.Reply{Status: 200, Body: []byte(`{}`)}
	}}})
	p.expect(t, `{"__weft":{"v":1}}`, 200, `{}`)
	f := <-fn
	f.Process().Kill()
	<-f.Process().Done()
	p.expect(t, `{}`, 500, `{"error":"command exited"}`)
	if _, err := f.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.expect(t, `{}`, 200, `{"got":{}}`)
}

// leases plays the worker.
type leases struct {
	lease   func(context.Context, *actionproxy.Request, *actionproxy.Function) actionproxy.Reply
	holding string
}

func (l *leases) Lease(ctx context.Context, r *actionproxy.Request, f *actionproxy.Function) actionproxy.Reply {
	return l.lease(ctx, r, f)
}
func (l *leases) Holding() string { return l.holding }

func TestLeases(t *testing.T) {
	l := &leases{holding: "wordcount"}
	l.lease = func(_ context.Context, r *actionproxy.Request, f *actionproxy.Function) actionproxy.Reply {
		if r.ActionName != "/guest/m" || !r.Deadline.Equal(time.UnixMilli(4102444800000)) || f.Process().ABI() != "" {
			t.Errorf("request: %+v", r)
		}
		return actionproxy.Failure(http.StatusBadGateway, "leave")
	}
	p := startBehaviour(t, actionproxy.Config{Leases: l})
	p.expect(t, `{"__weft":{"v":1}}`, 502, `{"error":"leave"}`)
	p.expect(t, `{"x":"\"__weft\""}`, 200, `{"error":"held by pipeline wordcount"}`)
	for name, got := range map[string]string{"stdout": p.stdout.String(), "stderr": p.stderr.String()} {
		if got != strings.Repeat(process.Sentinel+"\n", 2) {
			t.Errorf("%s: %q", name, got)
		}
	}
	p = startBehaviour(t, actionproxy.Config{})
	if status, body := p.run(t, `{"__weft":{"v":1}}`); status != 200 || !strings.Contains(body, "WEFT_HOOK") {
		t.Errorf("without a hook: %d %s", status, body)
	}
}

type builtin struct{}

func (builtin) Run(_ context.Context, r *actionproxy.Request) actionproxy.Reply {
	return actionproxy.Reply{Status: 200, Body: r.Value}
}

func TestBuiltins(t *testing.T) {
	p := startProxy(t, actionproxy.Config{Builtins: map[string]actionproxy.Builtin{"echo": builtin{}}})
	if status, body := p.init(t, []byte("weft:none"), "", nil); status != 502 || !strings.Contains(body, "weft:none") {
		t.Errorf("unknown: %d %s", status, body)
	}
	if status, body := p.init(t, []byte("weft:echo\n"), "", nil); status != 200 {
		t.Fatalf("init: %d %s", status, body)
	}
	p.expect(t, `{"a":1}`, 200, `{"a":1}`)
	if p.stdout.String() != process.Sentinel+"\n" {
		t.Errorf("stdout: %q", p.stdout.String())
	}
}

func TestSentinelsAndLargeResults(t *testing.T) {
	script := "#!/bin/sh\necho '{\"ok\":true}' >&3\nwhile read -r line; do echo before; echo " + process.Sentinel +
		"; echo " + process.Sentinel + " >&2; printf unended; echo '{}' >&3; done\n"
	p := startProxy(t, actionproxy.Config{Env: actionproxy.ReadEnvironment([]string{"OW_WAIT_FOR_ACK=1"})})
	if status, body := p.init(t, []byte(script), "", nil); status != 200 {
		t.Fatal(body)
	}
	p.expect(t, `{}`, 200, `{}`)
	if got := p.stdout.String(); got != "before\n(sentinel removed)\nunended\n"+process.Sentinel+"\n" {
		t.Errorf("stdout: %q", got)
	}
	if got := p.stderr.String(); got != "(sentinel removed)\n"+process.Sentinel+"\n" {
		t.Errorf("stderr: %q", got)
	}
}

func TestTenMegabytes(t *testing.T) {
	p := startBehaviour(t, actionproxy.Config{})
	text := strings.Repeat("z", 4<<20)
	p.expect(t, `{"x":"`+text+`"}`, 200, `{"got":{"x":"`+text+`"}}`)
	script := "#!/bin/sh\necho '{\"ok\":true}' >&3\nwhile read -r line; do echo '{\"x\":\"'$(head -c 10485760 /dev/zero | tr '\\000' y)'\"}' >&3; done\n"
	p = startProxy(t, actionproxy.Config{Env: actionproxy.ReadEnvironment([]string{"OW_WAIT_FOR_ACK=1"})})
	if status, body := p.init(t, []byte(script), "", map[string]any{"PATH": os.Getenv("PATH")}); status != 200 {
		t.Fatal(body)
	}
	if status, body := p.run(t, `{}`); status != 200 || len(body) != 10<<20+len(`{"x":""}`) {
		t.Errorf("%d, %d bytes", status, len(body))
	}
}

func TestInitThatHangsEndsWithTheRequest(t *testing.T) {
	p := startProxy(t, actionproxy.Config{Env: actionproxy.ReadEnvironment([]string{"OW_WAIT_FOR_ACK=1"})})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	body := `{"value":{"code":` + strconv.Quote("#!/bin/sh\nread x\n") + `}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/init", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.Do(req); err == nil {
		t.Fatal("the init was answered")
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if status, body := p.init(t, behaviour, "main", nil); status == http.StatusOK {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("a later init: %d %s", status, body)
		}
	}
}

func TestInitIsBounded(t *testing.T) {
	p := startProxy(t, actionproxy.Config{})
	if status, _, body := p.call(t, http.MethodPost, "/run", make([]byte, 9<<20)); status != 400 {
		t.Errorf("a run of 9 MiB: %d %s", status, body)
	}
}

func TestExecutionEnv(t *testing.T) {
	p := startProxy(t, actionproxy.Config{Env: actionproxy.ReadEnvironment([]string{"OW_WAIT_FOR_ACK=1", "OW_EXECUTION_ENV=image"})})
	script := []byte("#!/bin/sh\necho '{\"ok\":true}' >&3\nread x\n")
	if status, body := p.init(t, zipOf(map[string][]byte{"exec": script, "exec.env": []byte("other\n")}), "", nil); status != 502 ||
		body != `{"error":"cannot start action: the action was compiled for \"other\"; this runtime is \"image\""}` {
		t.Errorf("%d %s", status, body)
	}
	if status, body := p.init(t, zipOf(map[string][]byte{"exec": script, "exec.env": []byte("image\n")}), "", nil); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}
