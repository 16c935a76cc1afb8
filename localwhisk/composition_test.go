package localwhisk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
)

func putSequence(t *testing.T, c *openwhisk.Client, name string, components ...string) {
	t.Helper()
	if _, err := c.PutAction(t.Context(), name, openwhisk.Action{Exec: openwhisk.SequenceExec(components...)}, true); err != nil {
		t.Fatal(err)
	}
}

func putConductor(t *testing.T, c *openwhisk.Client, name string) {
	t.Helper()
	put(t, c, name, func(a *openwhisk.Action) { a.Annotations = openwhisk.KeyValues{openwhisk.KV("conductor", true)} })
}

func TestSequence(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "m", func(a *openwhisk.Action) { a.Parameters = openwhisk.KeyValues{openwhisk.KV("mode", "hello")} })
	putSequence(t, c, "inner", "/_/m", "/_/m")
	putSequence(t, c, "outer", "/_/inner", "/_/m")
	a := invoke(t, c, "outer", params{"name": "x"}).Activation
	if got := result[struct{ Hops int }](t, a.Response.Result); got.Hops != 3 || len(a.Logs) != 2 {
		t.Errorf("%s, steps %v", a.Response.Result, a.Logs)
	}
	inner := record(t, c, a.Logs[0])
	if inner.Cause != a.ActivationID || string(inner.Annotations.Get("causedBy")) != `"sequence"` ||
		string(inner.Annotations.Get("topmost")) != "false" || string(inner.Annotations.Get("kind")) != `"sequence"` || len(inner.Logs) != 2 {
		t.Errorf("inner sequence %+v", inner)
	}
	step := record(t, c, inner.Logs[0])
	if step.Cause != inner.ActivationID || string(step.Annotations.Get("causedBy")) != `"sequence"` {
		t.Errorf("step %+v", step)
	}
	if a.Duration < inner.Duration || string(a.Annotations.Get("topmost")) != "true" {
		t.Errorf("outer %+v", a)
	}
	settle(t, p)

	put(t, c, "array", func(a *openwhisk.Action) { a.Parameters = openwhisk.KeyValues{openwhisk.KV("mode", "array")} })
	putSequence(t, c, "toarray", "/_/m", "/_/array")
	if inv := invoke(t, c, "toarray", nil); inv.Status != 200 || !strings.HasPrefix(string(inv.Result), "[") {
		t.Errorf("%d %s", inv.Status, inv.Result)
	}
	if err := c.DeleteAction(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	if inv := invoke(t, c, "outer", nil); inv.Status != 502 || string(inv.Result) != `{"error":"Sequence component does not exist."}` {
		t.Errorf("with a missing component: %d %s", inv.Status, inv.Result)
	}
}

func TestSequenceLength(t *testing.T) {
	_, c := start(t, func(c *localwhisk.Config) {
		c.Limits = localwhisk.DefaultLimits()
		c.Limits.SequenceLength = 3
	})
	put(t, c, "m", nil)
	putSequence(t, c, "two", "/_/m", "/_/m")
	putSequence(t, c, "four", "/_/two", "/_/m")
	putSequence(t, c, "two", "/_/m", "/_/m", "/_/m") // now it is four
	a := invoke(t, c, "four", nil).Activation
	if string(a.Response.Result) != `{"error":"Too many actions in the sequence."}` || a.Response.StatusCode != openwhisk.StatusApplicationError {
		t.Errorf("%+v", a.Response)
	}
	if _, err := c.PutAction(t.Context(), "long", openwhisk.Action{Exec: openwhisk.SequenceExec("/_/m", "/_/m", "/_/m", "/_/m")}, false); err == nil {
		t.Error("a sequence of 4 with a limit of 3 passes")
	}
	for _, components := range [][]string{{"/_/two", "/_/m"}, {"/_/four"}} {
		if _, err := c.PutAction(t.Context(), "nested", openwhisk.Action{Exec: openwhisk.SequenceExec(components...)}, true); err == nil {
			t.Errorf("a sequence of %v, which is 4 with a limit of 3, passes", components)
		}
	}
	putSequence(t, c, "two", "/_/m")
	for _, component := range []string{"/_/two", "/_/four"} { // four holds two
		_, err := c.PutAction(t.Context(), "two", openwhisk.Action{Exec: openwhisk.SequenceExec(component)}, true)
		if e := (*openwhisk.APIError)(nil); !errors.As(err, &e) || e.Message != "Sequence may not refer to itself." {
			t.Errorf("a sequence that holds itself in %s: %v", component, err)
		}
	}
}

type seen struct {
	Seen map[string]any
}

func TestConductorLimits(t *testing.T) {
	_, c := start(t, nil)
	put(t, c, "m", nil)
	putConductor(t, c, "c")
	// 50 components are allowed, and with them 51 runs of the conductor.
	a := invoke(t, c, "c", params{"mode": "conduct", "component": "/_/m", "steps": 50}).Activation
	if s := result[seen](t, a.Response.Result); s.Seen["$step"] != 50.0 || s.Seen["error"] != nil || len(a.Logs) != 101 {
		t.Errorf("50 components: %s, %d steps", a.Response.Result, len(a.Logs))
	}
	// The 51st is refused to the conductor, which goes on asking until it has run 101 times.
	a = invoke(t, c, "c", params{"mode": "conduct", "component": "/_/m", "steps": 51}).Activation
	if s := result[seen](t, a.Response.Result); s.Seen["error"] != "Too many actions in the composition." || len(a.Logs) != 102 {
		t.Errorf("51 components: %s, %d steps", a.Response.Result, len(a.Logs))
	}
	a = invoke(t, c, "c", params{"mode": "conduct", "component": "/_/m", "steps": 1000}).Activation
	if string(a.Response.Result) != `{"error":"Too many actions in the composition."}` || len(a.Logs) != 101+50 ||
		a.Response.StatusCode != openwhisk.StatusApplicationError {
		t.Errorf("no end: %s, %d steps", a.Response.Result, len(a.Logs))
	}
}

func TestConductorErrors(t *testing.T) {
	_, c := start(t, nil)
	put(t, c, "m", nil)
	put(t, c, "short", func(a *openwhisk.Action) { a.Limits = openwhisk.NewLimits(1000, 128, 1) })
	putConductor(t, c, "c")
	putSequence(t, c, "s", "/_/m", "/_/m")
	for _, o := range []struct {
		component any
		mode      string
		err       string
		steps     int
	}{
		{"/_/m", "error", "it went wrong", 5},
		{"m", "exit", "The action did not produce a valid response and exited unexpectedly.", 5},
		{"short", "slow", "The action exceeded its time limits of 1000 milliseconds.", 5},
		{"/guest/s", "x", "", 5},
		{"/_/none", "x", "Failed to resolve action with name 'guest/none' during composition.", 3},
		{"/other/m", "x", "Failed entitlement check for action with name 'other/m' during composition.", 3},
		{7, "x", "Failed to parse action name from json value 7 during composition.", 3},
		{"/a/b/c/d", "x", `Failed to parse action name from json value "/a/b/c/d" during composition.`, 3},
	} {
		a := invoke(t, c, "c", params{"mode": "conduct", "component": o.component, "cmode": o.mode}).Activation
		s := result[seen](t, a.Response.Result).Seen
		if got, _ := s["error"].(string); got != o.err || len(a.Logs) != o.steps || !a.Response.Success() {
			t.Errorf("%v %s: %s, %d steps", o.component, o.mode, a.Response.Result, len(a.Logs))
		}
		if first := record(t, c, a.Logs[0]); first.Cause != a.ActivationID {
			t.Errorf("step %+v", first)
		}
	}
	if a := invoke(t, c, "c", params{"mode": "conduct", "component": "c", "cmode": "x", "steps": 1}).Activation; len(a.Logs) != 3 || !a.Response.Success() {
		t.Errorf("a composition in a composition: %+v", a)
	} else if inner := record(t, c, a.Logs[1]); inner.Cause != a.ActivationID || !inner.Annotations.Truthy("conductor") || inner.Annotations.Truthy("topmost") {
		t.Errorf("inner composition %+v", inner)
	}
}
