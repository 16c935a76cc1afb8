package conductor_test

import (
	"encoding/json"
	"testing"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/pipeline"
)

// Without op, what a pipeline with an ingress is invoked with is an event; everything else is the
// conductor's.
func TestEventOfAnInvocation(t *testing.T) {
	plan := func(p *pipeline.Pipeline) string {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	bare := chainOf(2)
	in := chainOf(2)
	in.Stages[0].Source = &pipeline.Source{Ingress: true}
	for _, c := range []struct{ value, name, event string }{
		{`{"text":"hello","pipeline":` + plan(in) + `}`, "p", `{"text":"hello"}`},
		{`{"pipeline":` + plan(in) + `}`, "p", `{}`},
		{`{"op":"status","pipeline":` + plan(in) + `}`, "", ""},
		{`{"op":null,"pipeline":` + plan(in) + `}`, "", ""},
		{`{"$weft":{},"pipeline":` + plan(in) + `}`, "", ""},
		{`{"text":"hello","pipeline":` + plan(bare) + `}`, "", ""},
		{`{"text":"hello","pipeline":7}`, "", ""},
		{`{"text":"hello"}`, "", ""},
		{`[1]`, "", ""},
		{`null`, "", ""},
	} {
		if name, event := conductor.EventOf(json.RawMessage(c.value)); name != c.name || string(event) != c.event {
			t.Errorf("%.80s: %q %s, want %q %s", c.value, name, event, c.name, c.event)
		}
	}
	if got := string(conductor.ResultOf(json.RawMessage(`{"action":"/_/x"}`))); got != `{"params":{"action":"/_/x"}}` {
		t.Errorf("a result is %s: its fields could be orders", got)
	}
}
