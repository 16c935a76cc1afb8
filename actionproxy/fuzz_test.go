package actionproxy_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/actionproxy/process"
)

// Whatever a /run's body is, it gets an answer that the platform understands, and its log ends.
func FuzzRun(f *testing.F) {
	for _, body := range []string{`{"value":{"a":1},"deadline":"4102444800000"}`, `{"value":{"__weft":{}}}`, `{"deadline":1.5}`, "{x", ""} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		stdout := &log{}
		p, err := actionproxy.New(actionproxy.Config{Stdout: stdout, Stderr: &log{}, Builtins: map[string]actionproxy.Builtin{"echo": builtin{}}})
		if err != nil {
			t.Fatal(err)
		}
		post(p, "/init", []byte(`{"value":{"code":"weft:echo"}}`))
		w := post(p, "/run", body)
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
			t.Errorf("status %d", w.Code)
		}
		if !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
			t.Errorf("answer %q of length %s", w.Body, w.Header().Get("Content-Length"))
		}
		if stdout.String() != process.Sentinel+"\n" {
			t.Errorf("log %q", stdout.String())
		}
	})
}

func post(p *actionproxy.Proxy, path string, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body))))
	return w
}
