package actionproxy_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/actionproxy/process"
)

// row is one call of testdata/proxy.json, or (name "streams") what a group of calls has printed.
type row struct {
	Group, Name string
	Request     struct {
		Method, Path string
		Body         json.RawMessage
	}
	Response struct {
		Status           int
		ContentLength    *string `json:"content_length"`
		TransferEncoding *string `json:"transfer_encoding"`
		ContentType      *string `json:"content_type"`
		Body             string
	}
	Stdout, Stderr string
}

// The variables the recorded proxy had, by group; the recording doesn't say, its answers do.
var recordedEnv = map[string][]string{
	"execution env": {"OW_WAIT_FOR_ACK=1", "OW_LOG_INIT_ERROR=1", "OW_EXECUTION_ENV=openwhisk/action-golang-v1.24"},
	"":              {"OW_WAIT_FOR_ACK=1", "OW_LOG_INIT_ERROR=1"},
}

// deviations are the streams that differ on purpose from the stock proxy's, by group. Answers don't.
var deviations = map[string]struct{ stdout, stderr, reason string }{
	"life": {stdout: "line 0\nline 1\nline 2\n", stderr: "err line 0\nerr line 1\nerr line 2\n",
		reason: "a second /init is not logged: it would be in the next activation's log, and count against its limit"},
	"death": {stderr: "weft: the function's process ended: exit status 3\n",
		reason: "the user is told how the function ended"},
	"script": {stderr: "start function: fork/exec DIR/1/bin/exec: no such file or directory\n",
		reason: "the stock proxy's `command exited` says nothing"},
	"source without compiler": {stderr: "start function: fork/exec DIR/1/bin/exec: exec format error\n", reason: "the same"},
	"init error logged":       {stderr: "start function: fork/exec DIR/1/bin/exec: exec format error\n", reason: "the same"},
	"execution env": {stderr: "the action has no bin/exec.env; this runtime runs what was compiled for \"openwhisk/action-golang-v1.24\"\n",
		reason: "says what the missing file means"},
}

func TestRecorded(t *testing.T) {
	text, err := os.ReadFile("testdata/proxy.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].Group == rows[0].Group {
			n++
		}
		t.Run(rows[0].Group, func(t *testing.T) { replay(t, rows[:n]) })
		rows = rows[n:]
	}
}

func replay(t *testing.T, rows []row) {
	env := recordedEnv[""]
	if e, ok := recordedEnv[rows[0].Group]; ok {
		env = e
	}
	p := startProxy(t, actionproxy.Config{Env: actionproxy.ReadEnvironment(env)})
	logs := 0 // activations and failures that have a log
	for _, r := range rows {
		if r.Name == "streams" {
			checkStreams(t, p, r, logs)
			continue
		}
		p.replayOne(t, r)
		switch status := r.Response.Status; {
		case r.Request.Path == "/run" && status != http.StatusInternalServerError,
			r.Request.Path == "/init" && status == http.StatusBadGateway:
			logs++
		}
	}
}

// recordedBody is how many bytes of a body the recording has at most.
const recordedBody = 600

func (p *proxy) replayOne(t *testing.T, r row) {
	t.Helper()
	status, header, body := p.call(t, r.Request.Method, r.Request.Path, requestBody(t, r))
	want := r.Response
	if len(want.Body) == recordedBody { // cut there
		body = body[:min(len(body), recordedBody)]
	}
	if status != want.Status || body != want.Body {
		t.Errorf("%s: %d %.200q; want %d %.200q", r.Name, status, body, want.Status, want.Body)
	}
	for name, want := range map[string]*string{"Content-Length": want.ContentLength,
		"Content-Type": want.ContentType, "Transfer-Encoding": want.TransferEncoding} {
		if w := deref(want); header.Get(name) != w {
			t.Errorf("%s: %s is %q; want %q", r.Name, name, header.Get(name), w)
		}
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// requestBody is a recorded body with the code that the recording leaves out.
func requestBody(t *testing.T, r row) []byte {
	var text string
	if json.Unmarshal(r.Request.Body, &text) == nil { // also null, as nothing
		return []byte(text)
	}
	code := behaviourZip()
	if r.Group == "raw executable" {
		code = behaviour
	}
	body := string(r.Request.Body)
	if i := strings.Index(body, `"<`); i >= 0 && strings.Contains(body[i:], ` characters>"`) {
		end := i + strings.Index(body[i:], `>"`) + len(`>"`)
		body = body[:i] + strconv.Quote(base64.StdEncoding.EncodeToString(code)) + body[end:]
	}
	return []byte(body)
}

// checkStreams compares what was printed, and that each log has ended on both streams.
func checkStreams(t *testing.T, p *proxy, r row, logs int) {
	want := struct{ stdout, stderr string }{withoutSentinels(r.Stdout), withoutSentinels(r.Stderr)}
	if d, ok := deviations[r.Group]; ok {
		want.stdout, want.stderr = d.stdout, d.stderr
	}
	for _, s := range []struct{ name, got, want string }{{"stdout", p.stdout.String(), want.stdout}, {"stderr", p.stderr.String(), want.stderr}} {
		if got := strings.Count(s.got, process.Sentinel+"\n"); got != logs {
			t.Errorf("%s: %d sentinels; want %d", s.name, got, logs)
		}
		if got := strings.ReplaceAll(withoutSentinels(s.got), p.dir, "DIR"); got != s.want {
			t.Errorf("%s: %q; want %q", s.name, got, s.want)
		}
	}
}

func withoutSentinels(s string) string { return strings.ReplaceAll(s, process.Sentinel+"\n", "") }

// call is one HTTP call; a body is sent as the platform sends it.
func (p *proxy) call(t testing.TB, method, path string, body []byte) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range resp.TransferEncoding {
		resp.Header.Set("Transfer-Encoding", e)
	}
	return resp.StatusCode, resp.Header, string(b)
}
