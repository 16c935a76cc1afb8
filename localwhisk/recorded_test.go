package localwhisk_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
)

// exchange is one recorded call of a real OpenWhisk.
type exchange struct {
	Name    string `json:"name"`
	Request struct {
		Method string          `json:"method"`
		Path   string          `json:"path"`
		Body   json.RawMessage `json:"body"`
		Auth   string          `json:"auth"`
	} `json:"request"`
	Response struct {
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    any               `json:"body"`
	} `json:"response"`
}

// replay makes the recorded calls in order and compares each answer with the
// recorded one: status, headers, texts, fields, values and the order of
// annotations; not what differs from run to run.
type replay struct {
	p    *localwhisk.Platform
	code string
	ids  map[string]string // recorded activation id: ours
}

// deviations are the rows of which the body differs, with what it says here;
// docs/compatibility.md gives the reason of each.
var deviations = map[string]string{
	"action bad json": "The request content was malformed:\ninvalid character 'n' looking for beginning of object key string at input index 1 (line 1)",
	"invoke bad json": "The request content was malformed:\nunexpected end of JSON input at input index 0 (line 1)",
}

func TestRecordedREST(t *testing.T) {
	p, c := start(t, func(c *localwhisk.Config) {
		c.Limits = localwhisk.DefaultLimits()
		c.Limits.MaxConcurrency = 200
		node := c.Runtimes["go:1.26"]
		node.Image = "whisk/fakeproxy:local"
		c.Runtimes["nodejs:20"] = node
		node.Image = "whisk/action-golang-v1.26:local"
		c.Runtimes["go:1.26"] = node
	})
	found(t, p, c)
	r := &replay{p, base64.StdEncoding.EncodeToString([]byte("hello!")), map[string]string{}}
	r.run(t, "rest.json", nil)
}

// found makes what was there before the recording began: 14 actions, and a
// rule that is older than all of it.
func found(t *testing.T, p *localwhisk.Platform, c *openwhisk.Client) {
	put(t, c, "hello", nil)
	for i := range 13 {
		put(t, c, fmt.Sprint("found", i), nil)
	}
	for _, e := range [][2]string{{"triggers/trg", "{}"}, {"rules/rul", `{"trigger": "/_/trg", "action": "/_/hello"}`}} {
		if a := call(t, p, "PUT", e[0], e[1]); a.status != 200 {
			t.Fatalf("%s: %d %s", e[0], a.status, a.body)
		}
	}
}

func TestRecordedBehaviour(t *testing.T) {
	p, c := start(t, func(c *localwhisk.Config) {
		r := c.Runtimes["go:1.26"]
		r.Env = []string{containerEnv + "=stock"}
		c.Runtimes["go:1.26"] = r
	})
	r := &replay{p, "eA==", map[string]string{}}
	r.run(t, "behaviour.json", func(e exchange) {
		if e.Name == "its activation while it runs" { // the call itself was not recorded
			inv, err := c.Invoke(t.Context(), "m1", params{"mode": "sleep", "ms": 2000}, openwhisk.InvokeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			r.ids[e.Request.Path[strings.LastIndexByte(e.Request.Path, '/')+1:]] = inv.ActivationID
		}
	})
}

func (r *replay) run(t *testing.T, file string, before func(exchange)) {
	b, err := os.ReadFile("../openwhisk/testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all []exchange
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if before != nil {
			before(e)
		}
		t.Run(e.Name, func(t *testing.T) { r.one(t, e) })
	}
}

var placeholder = regexp.MustCompile(`"<(\d+) characters>"`)

func (r *replay) one(t *testing.T, e exchange) {
	path := e.Request.Path
	for recorded, ours := range r.ids {
		path = strings.ReplaceAll(path, recorded, ours)
	}
	if strings.Contains(path, "/activations/") && e.Response.Status == 200 {
		record(t, r.client(t), strings.Split(path, "/")[6])
	}
	req, err := http.NewRequestWithContext(t.Context(), e.Request.Method, r.p.APIHost()+path, bytes.NewReader(r.body(t, e)))
	if err != nil {
		t.Fatal(err)
	}
	switch e.Request.Auth {
	case "guest":
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(r.p.Auth())))
	case "wrong":
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("a:b")))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != e.Response.Status {
		t.Fatalf("status %d, recorded %d: %.300s", resp.StatusCode, e.Response.Status, raw)
	}
	for _, h := range []string{"x-request-id", "access-control-allow-origin", "x-openwhisk-activation-id", "content-type", "allow"} {
		got, want := resp.Header.Get(h), e.Response.Headers[h]
		if id := strings.HasPrefix(h, "x-"); id && (got == "") != (want == "") || !id && got != want {
			t.Errorf("header %s is %q, recorded %q", h, got, want)
		}
	}
	var got any
	if strings.HasPrefix(resp.Header.Get("content-type"), "text/plain") {
		got = map[string]any{"_text": string(raw)}
	} else if e.Response.Status == 204 && len(raw) == 0 {
		return
	} else if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("body %s: %v", raw, err)
	}
	r.learn(e.Response.Body, got)
	if text, ok := deviations[e.Name]; ok {
		if ours, _ := got.(map[string]any)["error"].(string); ours != text {
			t.Errorf("error %q, not %q, which docs/compatibility.md has", ours, text)
		}
		return
	}
	want, have := stable("", e.Response.Body), stable("", got)
	if !reflect.DeepEqual(want, have) {
		w, _ := json.Marshal(want)
		h, _ := json.Marshal(have)
		t.Errorf("answers differ\nrecorded %.1500s\nours     %.1500s", w, h)
	}
}

// body is the recorded body with what was shortened in it made up again.
func (r *replay) body(t *testing.T, e exchange) []byte {
	var raw struct {
		Raw *string `json:"_raw"`
	}
	if json.Unmarshal(e.Request.Body, &raw) == nil && raw.Raw != nil {
		return []byte(*raw.Raw)
	}
	if string(e.Request.Body) == "null" {
		return nil
	}
	if m := placeholder.FindSubmatch(e.Request.Body); m != nil && e.Request.Method == "POST" {
		n, _ := strconv.Atoi(string(m[1]))
		return fmt.Appendf(nil, `{"x": "%s"}`, strings.Repeat("y", n))
	}
	return placeholder.ReplaceAll(e.Request.Body, []byte(`"`+r.code+`"`))
}

// learn pairs the activation ids of two answers.
func (r *replay) learn(recorded, ours any) {
	a, _ := recorded.(map[string]any)
	b, _ := ours.(map[string]any)
	if id, ok := a["activationId"].(string); ok {
		r.ids[id], _ = b["activationId"].(string)
	}
}

var ruleID = regexp.MustCompile(`[0-9a-f]{32}`)

var logTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT[\d:.]+Z +`)

// stable is a value without what differs from run to run.
func stable(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = stable(k, e)
			if k == "build" || k == "buildno" {
				out[k] = k
			}
		}
		if env, ok := v["env"].(map[string]any); ok { // of the names, only some have values that stay
			for _, k := range []string{"__OW_ACTIVATION_ID", "__OW_TRANSACTION_ID", "__OW_DEADLINE", "__OW_API_HOST", "__OW_ACTION_VERSION"} {
				if _, ok := env[k]; ok {
					out["env"].(map[string]any)[k] = k
				}
			}
		}
		if r, _ := v["result"].(map[string]any); r["env"] != nil {
			out["size"] = "of the environment"
		}
		// Whether a container was warm depends on calls that were not recorded.
		if v["key"] == "waitTime" || v["key"] == "initTime" {
			out["value"] = "ms"
		}
		return out
	case []any:
		out := []any{}
		for _, e := range v {
			if m, ok := e.(map[string]any); ok && m["key"] == "initTime" {
				continue
			}
			out = append(out, stable(key, e))
		}
		if key == "logs" { // the two streams' lines have no order between them
			sort.SliceStable(out, func(i, j int) bool { return out[i].(string)[:6] < out[j].(string)[:6] })
		}
		return out
	case string:
		switch {
		case key == "activationId" || key == "code":
			return key
		case key == "error" && strings.HasPrefix(v, "<1048694") || len(v) > 1<<20:
			return "1048694 characters"
		case key == "logs" && len(v) == 32:
			return "step id"
		case key == "logs" && strings.HasPrefix(v, "{"): // a rule's
			return ruleID.ReplaceAllString(v, "id")
		case key == "logs":
			return logTime.ReplaceAllString(v, "")
		}
	case float64:
		switch key {
		case "start", "end", "duration", "updated":
			return "ms"
		}
	}
	return v
}
