package localwhisk_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
)

// start runs a platform for one test, with the test binary as its runtime.
func start(t testing.TB, change func(*localwhisk.Config)) (*localwhisk.Platform, *openwhisk.Client) {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := localwhisk.Config{
		Listen: "127.0.0.1:0", StateDir: t.TempDir(), ExtraEnv: []string{"__OW_ALLOW_CONCURRENT=true"},
		Runtimes: map[string]localwhisk.Runtime{"go:1.26": {Command: []string{self, "{address}"},
			Env: []string{containerEnv + "=1"}}},
	}
	onDocker(&cfg)
	if change != nil {
		change(&cfg)
	}
	p := localwhisk.New(cfg)
	if err := p.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, client(t, p)
}

func put(t testing.TB, c *openwhisk.Client, name string, change func(*openwhisk.Action)) {
	t.Helper()
	a := openwhisk.Action{Exec: openwhisk.CodeExec("go:1.26", "eA==", true), Limits: openwhisk.NewLimits(10000, 128, 1)}
	if change != nil {
		change(&a)
	}
	if _, err := c.PutAction(t.Context(), name, a, true); err != nil {
		t.Fatal(err)
	}
}

func (r *replay) client(t *testing.T) *openwhisk.Client { return client(t, r.p) }

func client(t testing.TB, p *localwhisk.Platform) *openwhisk.Client {
	t.Helper()
	c, err := openwhisk.NewClient(openwhisk.Config{APIHost: p.APIHost(), Auth: p.Auth()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answered is the answer to a plain HTTP call.
type answered struct {
	status int
	header http.Header
	body   string
}

// call makes a call that the client has no method for; headers are pairs. A
// path without a leading slash is one of the namespace, with its key.
func call(t testing.TB, p *localwhisk.Platform, method, path, body string, headers ...string) answered {
	t.Helper()
	url := p.APIHost() + path
	if !strings.HasPrefix(path, "/") {
		url = p.APIHost() + "/api/v1/namespaces/_/" + path
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(path, "/") {
		req.Header.Set("Authorization", key(p))
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirection
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{resp.StatusCode, resp.Header, string(b)}
}

func key(p *localwhisk.Platform) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(p.Auth()))
}

type params map[string]any

// invoke calls an action and waits for the record.
func invoke(t testing.TB, c *openwhisk.Client, name string, p params) openwhisk.Invocation {
	t.Helper()
	inv, err := c.Invoke(t.Context(), name, p, openwhisk.InvokeOptions{Blocking: true})
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// record waits for the record of an activation.
func record(t *testing.T, c *openwhisk.Client, id string) openwhisk.Activation {
	t.Helper()
	var a openwhisk.Activation
	eventually(t, "record of "+id, func() bool {
		var err error
		a, err = c.GetActivation(t.Context(), id)
		if err != nil && !openwhisk.IsNotFound(err) {
			t.Fatal(err)
		}
		return err == nil
	})
	return a
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 20 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func result[T any](t *testing.T, raw json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("result %s: %v", raw, err)
	}
	return v
}

func TestInvokeBlocking(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "m", nil)
	inv := invoke(t, c, "m", params{"a": 1})
	if inv.Status != 200 || string(inv.Result) != `{"got":{"a":1}}` {
		t.Fatalf("got %d %s", inv.Status, inv.Result)
	}
	if inv.Activation.Annotations.Get("initTime") == nil {
		t.Error("the first run of a container has no initTime")
	}
	settle(t, p)
	inv = invoke(t, c, "m", params{"a": 2})
	if inv.Activation.Annotations.Get("initTime") != nil {
		t.Error("the second run was not warm")
	}
	if a := record(t, c, inv.ActivationID); string(a.Response.Result) != `{"got":{"a":2}}` || *a.Response.Size != 16 {
		t.Errorf("record %+v", a)
	}
}

// BenchmarkWarmInvoke is a blocking call over REST, through both topics, to a
// container that is there.
func BenchmarkWarmInvoke(b *testing.B) {
	_, c := start(b, nil)
	put(b, c, "m", nil)
	invoke(b, c, "m", nil)
	for b.Loop() {
		invoke(b, c, "m", nil)
	}
}

// BenchmarkColdInvoke starts a container for each call.
func BenchmarkColdInvoke(b *testing.B) {
	_, c := start(b, nil)
	put(b, c, "m", nil)
	for b.Loop() {
		invoke(b, c, "m", params{"mode": "garbage"})
	}
}
