package conductor_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/pipeline"
)

// compose plays OpenWhisk: it invokes the conductor, runs the components it names with run, and
// returns the composition's result and the components' names with their parameters.
func compose(t *testing.T, p *pipeline.Pipeline, given string, run func(action, params string) string) (result string, called []string) {
	t.Helper()
	bound, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	payload, state := given, map[string]json.RawMessage{}
	for range 2*50 + 1 {
		in := map[string]json.RawMessage{"pipeline": bound}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(payload), &fields); err != nil {
			t.Fatalf("payload %s: %v", payload, err)
		}
		maps.Copy(in, fields)
		maps.Copy(in, state)
		value, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Action string
			Params json.RawMessage
			State  map[string]json.RawMessage
			Error  json.RawMessage
		}
		answer := conductor.Conduct(value, "guest")
		if err := json.Unmarshal(answer, &out); err != nil {
			t.Fatalf("the conductor answered %s: %v", answer, err)
		}
		switch {
		case out.Error != nil:
			return string(answer), called
		case out.Action == "":
			return string(out.Params), called
		}
		if len(called) == 50 {
			return `{"error":"Too many actions in the composition."}`, called
		}
		called = append(called, out.Action+" "+string(out.Params))
		payload, state = run(out.Action, string(out.Params)), out.State
	}
	t.Fatal("more conductor runs than OpenWhisk allows")
	return "", nil
}

func chainOf(n int) *pipeline.Pipeline {
	p := &pipeline.Pipeline{Name: "p"}
	for i := range n {
		p.Stages = append(p.Stages, pipeline.Stage{Name: fmt.Sprintf("s%d", i), Replicas: pipeline.Replicas{Min: 1, Max: 1}})
	}
	return p
}

func TestCompositionOfOps(t *testing.T) {
	fine := func(action, params string) string {
		if strings.HasSuffix(action, "/report") {
			return `{"pipeline":"p","phase":"running"}`
		}
		return `{"ready":true}`
	}
	for _, c := range []struct {
		given, want string
		called      []string
	}{
		{`{"op":"start"}`, `{"phase":"running","pipeline":"p"}`, []string{
			`/guest/p.steps/plan {"step":"start","waitMs":10000}`,
			`/guest/p.steps/await-s2 {"step":"await","stage":"s2"}`,
			`/guest/p.steps/await-s1 {"step":"await","stage":"s1"}`,
			`/guest/p.steps/await-s0 {"step":"await","stage":"s0"}`,
			`/guest/p.steps/report {"step":"report"}`}},
		{`{"op":"stop"}`, `{"ready":true}`, []string{`/guest/p.steps/stop {"step":"stop"}`}},
		{`{"op":"status"}`, `{"ready":true}`, []string{`/guest/p.steps/status {"step":"status"}`}},
		{`{"op":"scale","replicas":{"f":3}}`, `{"ready":true}`, []string{`/guest/p.steps/scale {"step":"scale","replicas":{"f":3}}`}},
		{`{"op":"scale","replicas":3}`, `{"error":"op scale wants replicas, for instance {\"STAGE\": 3}, not 3"}`, nil},
		{`{"op":"restart","stage":"f"}`, `{"ready":true}`, []string{`/guest/p.steps/restart {"step":"restart","stage":"f"}`}},
		{`{"op":"update"}`, `{"ready":true}`, []string{`/guest/p.steps/update {"step":"update"}`}},
		{`{"op":"begin"}`, `{"error":"op must be start, stop, status, scale, restart or update, not \"begin\""}`, nil},
		{`{}`, `{"error":"op must be start, stop, status, scale, restart or update, not nothing; without op this would be an event, but no source of the pipeline takes any by invocation (source: {ingress: {}})"}`, nil},
		{`{"op":"start","pipeline":7}`, `{"error":"the bound parameter \"pipeline\" is missing or not a pipeline: deploy it with weft deploy"}`, nil},
		{`{"$weft":7}`, `{"error":"the composition's state $weft is not of this conductor"}`, nil},
	} {
		result, called := compose(t, chainOf(3), c.given, fine)
		if result != c.want || !reflect.DeepEqual(called, c.called) {
			t.Errorf("%s: result %s, components\n%s\nwant %s,\n%s", c.given, result, strings.Join(called, "\n"), c.want, strings.Join(c.called, "\n"))
		}
	}
}

func TestCompositionPassesNoHeadroomToThePlan(t *testing.T) {
	_, called := compose(t, chainOf(1), `{"op":"start","noHeadroom":true}`, func(string, string) string { return `{}` })
	if want := `/guest/p.steps/plan {"step":"start","noHeadroom":true,"waitMs":10000}`; called[0] != want {
		t.Errorf("called %s, want %s", called[0], want)
	}
}

func TestCompositionEndsWithAComponentsError(t *testing.T) {
	result, called := compose(t, chainOf(3), `{"op":"start"}`, func(action, _ string) string {
		if strings.HasSuffix(action, "await-s1") {
			return `{"error":"s1[0]: no compiler"}`
		}
		return `{}`
	})
	if result != `{"error":"s1[0]: no compiler"}` || len(called) != 3 {
		t.Errorf("result %s after %d components", result, len(called))
	}
}

func TestCompositionAwaitsAgainWhileItMay(t *testing.T) {
	waits := 0
	_, called := compose(t, chainOf(2), `{"op":"start"}`, func(action, _ string) string {
		waits++
		return fmt.Sprintf(`{"ready":%v}`, waits > 10)
	})
	if len(called) != 4+9 { // the plan's own answer and nine awaits said no
		t.Errorf("%d components: %s", len(called), strings.Join(called, "\n"))
	}
	result, called := compose(t, chainOf(2), `{"op":"start"}`, func(string, string) string { return `{"ready":false}` })
	if !strings.Contains(result, "stage s1 is not ready yet") || len(called) > 50 {
		t.Errorf("result %s after %d components", result, len(called))
	}
}

func TestCompositionOfManyStagesStaysWithinTheLimit(t *testing.T) {
	for _, n := range []int{46, 47, 48, 95, 400} {
		result, called := compose(t, chainOf(n), `{"op":"start"}`, func(string, string) string { return `{}` })
		if result != `{}` || len(called) != min(n, 47)+2 {
			t.Errorf("%d stages: result %s after %d components", n, result, len(called))
		}
		if !slices.Contains(called, `/guest/p.steps/await-s0 {"step":"await","stage":"s0"}`) {
			t.Errorf("%d stages: the source isn't awaited", n)
		}
	}
}

func FuzzConduct(f *testing.F) {
	f.Add([]byte(`{"op":"start","pipeline":{"name":"p","stages":[{"name":"a"}]}}`))
	f.Add([]byte(`{"$weft":{"name":"p","steps":[{"step":"await","stage":"a"},{"step":"report"}]},"ready":false}`))
	f.Add([]byte(`{"$weft":{"name":"p","steps":[{"step":"report"}]},"error":null}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		var out map[string]json.RawMessage
		if got := conductor.Conduct(value, "guest"); json.Unmarshal(got, &out) != nil || out == nil {
			t.Fatalf("%s: the conductor answered %s, not an object", value, got)
		}
	})
}
