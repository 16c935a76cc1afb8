package openwhisk_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/weft-stream/weft/openwhisk"
)

// answering is a client of a server that gives the recorded answer of that
// name to every call.
func answering(t *testing.T, file, name string) *openwhisk.Client {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Name     string `json:"name"`
		Response struct {
			Status  int               `json:"status"`
			Headers map[string]string `json:"headers"`
			Body    json.RawMessage   `json:"body"`
		} `json:"response"`
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.Name != name {
			continue
		}
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, pass, ok := r.BasicAuth(); !ok || user != "id" || pass != "key" {
				t.Errorf("authorization %q", r.Header.Get("Authorization"))
			}
			for k, v := range e.Response.Headers {
				w.Header().Set(k, v)
			}
			w.WriteHeader(e.Response.Status)
			w.Write(e.Response.Body)
		}))
		t.Cleanup(s.Close)
		c, err := openwhisk.NewClient(openwhisk.Config{APIHost: s.URL, Auth: "id:key"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Fatalf("no record %q in %s", name, file)
	return nil
}

// TestInvokeReadsRecordedAnswers: a failed activation is an answer; a call
// that brings none about is an error.
func TestInvokeReadsRecordedAnswers(t *testing.T) {
	for _, o := range []struct {
		file, name string
		result     bool
		status     int
		got        string // the result, unspaced
		record     bool
	}{
		{"rest.json", "invoke blocking", false, 200, `{"greeting":"Hello, x!","hops":1,"name":"x"}`, true},
		{"rest.json", "invoke blocking result", true, 200, `{"greeting":"Hello, x!","hops":1,"name":"x"}`, false},
		{"rest.json", "invoke non blocking", false, 202, ``, false},
		{"behaviour.json", "application error", false, 502, `{"error":"it went wrong"}`, true},
		{"behaviour.json", "application error, result only", true, 502, `{"error":"it went wrong"}`, false},
		{"behaviour.json", "array result", false, 200, `[1,{"a":2}]`, false},
		{"behaviour.json", "conductor itself fails", false, 502, `{"error":"it went wrong"}`, true},
	} {
		t.Run(o.name, func(t *testing.T) {
			inv, err := answering(t, o.file, o.name).Invoke(t.Context(), "a", nil, openwhisk.InvokeOptions{Blocking: true, Result: o.result})
			if err != nil {
				t.Fatal(err)
			}
			if inv.Status != o.status || len(inv.ActivationID) != 32 || (inv.Activation != nil) != o.record {
				t.Errorf("%+v", inv)
			}
			if o.got != "" {
				sameJSON(t, []byte(o.got), inv.Result)
			}
		})
	}
}

func TestRecordedErrors(t *testing.T) {
	for name, want := range map[string]openwhisk.APIError{
		"invoke missing":        {Status: 404, Message: "The requested resource does not exist."},
		"invoke string body":    {Status: 400, Message: "The request content was malformed:\nJSON object expected"},
		"invoke body too large": {Status: 413, Message: "Request larger than allowed: 1100009 > 1048576 bytes."},
		"wrong auth":            {Status: 401, Message: "The supplied authentication is invalid"},
		"other namespace":       {Status: 403, Message: "The supplied authentication is not authorized to access 'someone'."},
	} {
		_, err := answering(t, "rest.json", name).Invoke(t.Context(), "a", nil, openwhisk.InvokeOptions{Blocking: true})
		var e *openwhisk.APIError
		if !errors.As(err, &e) || e.Status != want.Status || e.Message != want.Message || e.Code == "" || e.Busy() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := answering(t, "rest.json", "create action again").PutAction(t.Context(), "a", openwhisk.Action{}, false); !openwhisk.IsConflict(err) {
		t.Errorf("a second creation: %v", err)
	}
}

func TestRecordedEntities(t *testing.T) {
	ctx := t.Context()
	a, err := answering(t, "rest.json", "get action").GetAction(ctx, "t1")
	if err != nil || a.Version != "0.0.3" || *a.Limits.Timeout != 6000 || string(a.Parameters.Get("name")) != `"bound"` || !*a.Exec.Binary {
		t.Errorf("action %+v, %v", a, err)
	}
	p, err := answering(t, "rest.json", "package get").GetPackage(ctx, "p1")
	if err != nil || len(p.Actions) != 1 || p.Actions[0].Name != "a1" {
		t.Errorf("package %+v, %v", p, err)
	}
	l, err := answering(t, "rest.json", "namespace limits").Limits(ctx)
	if err != nil || l.ConcurrentInvocations != 1000 || l.MaxParameterSize != "1048576 B" {
		t.Errorf("limits %+v, %v", l, err)
	}
	r, err := answering(t, "rest.json", "activation result").ActivationResult(ctx, "x")
	if err != nil || !r.Success() || *r.Size != 45 {
		t.Errorf("result %+v, %v", r, err)
	}
	act, err := answering(t, "rest.json", "activation").GetActivation(ctx, "x")
	if err != nil || act.Response.StatusCode != openwhisk.StatusSuccess || len(act.Logs) != 1 {
		t.Errorf("activation %+v, %v", act, err)
	}
}
