package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// rest speaks to a platform as any HTTP client does: with a URL, a key and nothing of Weft's.
type rest struct {
	t         testing.TB
	host, key string
}

// call sends a request and decodes its answer into reply, if that isn't nil. It gives the status.
func (r rest) call(method, path string, body, reply any) int {
	r.t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			r.t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.host+"/api/v1/namespaces/_/"+path, in)
	if err != nil {
		r.t.Fatal(err)
	}
	user, password, _ := strings.Cut(r.key, ":")
	req.SetBasicAuth(user, password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if reply != nil {
		if err := json.Unmarshal(answer, reply); err != nil {
			r.t.Fatalf("%s %s: %d %s: %v", method, path, resp.StatusCode, answer, err)
		}
	}
	return resp.StatusCode
}

// activation is what the tests read of a record.
type activation struct {
	ID          string `json:"activationId"`
	Name        string
	Cause       string
	Start, End  int64 // epoch ms
	Logs        []string
	Annotations []struct {
		Key   string
		Value any
	}
	Response struct {
		Success bool
		Result  json.RawMessage
	}
}

// annotation is "" for one that is missing or no text.
func (a *activation) annotation(key string) string {
	for _, x := range a.Annotations {
		if x.Key == key {
			s, _ := x.Value.(string)
			return s
		}
	}
	return ""
}

// lease is what the activation of a lease returned.
type lease struct {
	Slot       string
	Released   bool
	Terminated bool
}

func (a *activation) lease(t testing.TB) lease {
	t.Helper()
	var out struct{ Weft lease }
	if err := json.Unmarshal(a.Response.Result, &out); err != nil {
		t.Fatalf("activation %s of %s: %s: %v", a.ID, a.Name, a.Response.Result, err)
	}
	return out.Weft
}

// activations lists the newest, at most 200.
func (r rest) activations() []activation {
	r.t.Helper()
	var out []activation
	if code := r.call("GET", "activations?limit=200&docs=true", nil, &out); code != http.StatusOK {
		r.t.Fatalf("list activations: status %d", code)
	}
	return out
}

// activation waits for a record, which is written some time after the end.
func (r rest) activation(id string) (a activation) {
	r.t.Helper()
	eventually(r.t, "record of activation "+id, func() bool {
		return r.call("GET", "activations/"+id, nil, &a) == http.StatusOK
	})
	return a
}

// conduct invokes a pipeline's conductor action and gives its composition's record.
func (r rest) conduct(pipeline, op string) activation {
	r.t.Helper()
	var accepted struct{ ActivationID string }
	if code := r.call("POST", "actions/"+pipeline, map[string]string{"op": op}, &accepted); code != http.StatusAccepted {
		r.t.Fatalf("invoke %s: status %d", pipeline, code)
	}
	return r.activation(accepted.ActivationID)
}

// status is what op: status returns.
func (r rest) status(pipeline string) (st control.PipelineStatus) {
	r.t.Helper()
	a := r.conduct(pipeline, "status")
	if err := json.Unmarshal(a.Response.Result, &st); err != nil || !a.Response.Success {
		r.t.Fatalf("status: %s, %v", a.Response.Result, err)
	}
	return st
}

// components are the names of a composition's steps in order, without the conductor's own runs.
func (r rest) components(a activation) []string {
	r.t.Helper()
	var out []string
	for _, id := range a.Logs {
		if step := r.activation(id); step.Name != a.Name {
			out = append(out, step.Name)
		}
	}
	return out
}

// errorText is the error of a result; "" without.
func errorText(t testing.TB, result json.RawMessage) string {
	t.Helper()
	var out struct{ Error string }
	if err := json.Unmarshal(result, &out); err != nil {
		t.Fatalf("result %s: %v", result, err)
	}
	return out.Error
}

// up starts weft up and waits for what it prints.
func up(t testing.TB) (w *command, r rest, hook string) {
	t.Helper()
	w = weft(t, "up", "--listen", "127.0.0.1:0", "--pause-grace", "1s")
	host, key, hook := w.printed()
	return w, rest{t, host, key}, hook
}

// printed waits for what a weft up prints.
func (c *command) printed() (host, key, hook string) {
	c.t.Helper()
	form := regexp.MustCompile(`APIHOST=(\S+)\nAUTH=(\S+)\nWEFT_HOOK=(\S+)\n`)
	var m []string
	c.eventually("the API's address", func() bool {
		m = form.FindStringSubmatch(c.stdout.String())
		return m != nil
	})
	return m[1], m[2], m[3]
}

// deployed puts a pipeline on the platform; p.yaml and its functions are in dir.
func deployed(t testing.TB, r rest, dir string) {
	t.Helper()
	d := weftIn(t, dir, "deploy", "p.yaml", "--apihost", r.host, "--auth", r.key)
	if code := d.wait(time.Minute); code != 0 {
		t.Fatalf("weft deploy: exit code %d\n%s", code, d.stderr.String())
	}
}

// generated needs no files: the generator makes events until the sink pushes back.
const generated = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: generated}
spec:
  vertices:
    - {name: in, source: {generator: {rate: 1000}}}
    - {name: work, function: {source: work.py}, replicas: {min: 2}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: work}
    - {from: work, to: out}
`

// TestREST starts, looks at and stops a deployed pipeline with HTTP alone. Nobody reads its sink: it
// runs, and the events wait.
func TestREST(t *testing.T) {
	need(t, "python3", "Python 3")
	w, r, _ := up(t)
	dir := t.TempDir()
	write(t, dir, "p.yaml", generated)
	write(t, dir, "work.py", "def main(event):\n    yield event\n")
	deployed(t, r, dir)

	for range 2 { // what was stopped can be started again
		started := r.conduct("generated", "start")
		if !started.Response.Success {
			t.Fatalf("start: %s", started.Response.Result)
		}
		want := []string{"plan", "await-out", "await-work", "await-in", "report"}
		if got := r.components(started); !slices.Equal(got, want) {
			t.Errorf("the composition's components are %v, want %v", got, want)
		}
		var report control.PipelineStatus
		if err := json.Unmarshal(started.Response.Result, &report); err != nil || report.Phase != control.Running || len(report.Slots) != 4 {
			t.Errorf("the start returns %s", started.Response.Result)
		}
		var st control.PipelineStatus
		w.eventually("status with every worker's process", func() bool {
			if st = r.status("generated"); st.Phase != control.Running {
				t.Fatalf("phase %s, want running", st.Phase)
			}
			return !slices.ContainsFunc(st.Slots, func(s control.SlotStatus) bool { return s.PID == 0 })
		})
		leases := map[string]string{} // activation → slot
		for _, s := range st.Slots {
			leases[s.ActivationID] = s.Slot.String()
		}
		if len(leases) != 4 || leases[""] != "" {
			t.Errorf("leases %v, want one for each slot", leases)
		}

		stopped := r.conduct("generated", "stop")
		if got := r.components(stopped); !slices.Equal(got, []string{"stop"}) || !stopped.Response.Success {
			t.Errorf("stop: components %v, %s", got, stopped.Response.Result)
		}
		if st := r.status("generated"); st.Phase != control.Ended {
			t.Errorf("phase %s after the stop", st.Phase)
		}
		// No lease is open any more: each has a record that says so.
		for id, slot := range leases {
			a := r.activation(id)
			if l := a.lease(t); !l.Terminated || l.Slot != slot || a.annotation("path") != "guest/generated.stages/"+a.Name {
				t.Errorf("lease %s of %s: %s, path %s", id, slot, a.Response.Result, a.annotation("path"))
			}
		}
		// The containers are idle: the platform freezes them, which it does to none with an open activation.
		for _, s := range st.Slots {
			w.eventually(fmt.Sprintf("frozen container of %s, pid %d", s.Slot, s.PID), func() bool { return processState(s.PID) == 'T' })
		}
	}

	var known struct{ Error string }
	if code := r.call("POST", "actions/generated?blocking=true&result=true", map[string]string{"op": "dance"}, &known); code != http.StatusBadGateway ||
		known.Error == "" {
		t.Errorf("an unknown op: %d %q", code, known.Error)
	}
}
