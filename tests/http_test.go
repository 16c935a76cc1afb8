package tests

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

const overHTTP = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: web}
spec:
  guarantee: best-effort
  vertices:
    - {name: in, source: {http: {listen: "127.0.0.1:0", path: /events}}}
    - {name: out, sink: {http: {url: "URL"}}}
  edges:
    - {from: in, to: out}
`

// TestHTTP posts events to a weft run, which posts them on; DELETE is the end.
func TestHTTP(t *testing.T) {
	got := &lockedBuffer{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(got, r.Body) }))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	write(t, dir, "p.yaml", strings.ReplaceAll(overHTTP, "URL", server.URL))
	w := weftIn(t, dir, "run", "p.yaml")
	var at []string
	w.eventually("the source's address", func() bool {
		at = regexp.MustCompile(`takes POST (\S+);`).FindStringSubmatch(w.stderr.String())
		return at != nil
	})
	for _, r := range []struct{ method, kind, body string }{
		{"POST", "application/x-ndjson", "{\"n\":1}\n{\"n\":2}\n"}, {"POST", "application/json", "{\n\"n\":3}"}, {"DELETE", "", ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), r.method, at[1], strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", r.kind)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			t.Errorf("%s: %s", r.method, resp.Status)
		}
	}
	if code := w.wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if want := "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"; got.String() != want {
		t.Errorf("got %q, want %q", got.String(), want)
	}
}
