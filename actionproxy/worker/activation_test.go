package worker

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/weft-stream/weft/actionproxy"
)

func TestActivationLine(t *testing.T) {
	at := time.UnixMilli(1234)
	for _, test := range []struct{ params, event, value string }{
		{`{}`, `{"a":1}`, `{"a":1}`},
		{`{"p":1,"q":{"x":2}}`, `{"a":1}`, `{"p":1,"q":{"x":2},"a":1}`},
		{`{"a":0,"q":2}`, `{ "a":1}`, `{"q":2,"a":1}`},
		{`{"p":1}`, `{}`, `{"p":1}`},
		{`{"p":1}`, `{ }`, `{"p":1}`},
		{`{"a":0}`, `{"\u0061":1}`, `{"a":1}`}, // the same name in another spelling
		{`{"p":[1,
			2]}`, "{\n\"a\":\n1}", `{"p":[1,2],"a":1}`},
	} {
		r := &leaseRequest{Request: &actionproxy.Request{Namespace: "ns", ActivationID: "a\"b", APIKey: "k"}}
		if err := json.Unmarshal([]byte(test.params), &r.params); err != nil {
			t.Fatal(err)
		}
		line := newActivationLine(r).append(nil, []byte(test.event), at)
		var got struct {
			Value         any    `json:"value"`
			Namespace     string `json:"namespace"`
			ActivationID  string `json:"activation_id"`
			APIKey        string `json:"api_key"`
			Deadline      string `json:"deadline"`
			ActionVersion *string
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var want any
		_ = json.Unmarshal([]byte(test.value), &want)
		if !reflect.DeepEqual(got.Value, want) || got.Namespace != "ns" || got.ActivationID != `a"b` || got.APIKey != "k" || got.Deadline != "1234" {
			t.Errorf("%s under %s gives %s", test.params, test.event, line)
		}
		for _, c := range line {
			if c == '\n' {
				t.Errorf("%q has a line break", line)
			}
		}
	}
}

func TestGenerator(t *testing.T) {
	// three slots share the numbers; a slot that begins at a position makes the same events again
	seen := map[string]bool{}
	for slot := range 3 {
		g := newGenerator(generatorOf(100, 40), slot, 3, 0)
		var all []string
		for {
			m, err := g.next(t.Context(), nil)
			if err == errFinished {
				break
			}
			if err != nil || m.position != int64(len(all)) || !json.Valid(m.payload) {
				t.Fatalf("event %d: %+v, %v", len(all), m, err)
			}
			all = append(all, string(m.payload))
			seen[string(m.payload)] = true
		}
		if g.position() != int64(len(all)) {
			t.Errorf("position %d after %d events", g.position(), len(all))
		}
		again := newGenerator(generatorOf(100, 40), slot, 3, 5)
		if m, err := again.next(t.Context(), nil); err != nil || string(m.payload) != all[5] {
			t.Errorf("from position 5 on: %s, want %s", m.payload, all[5])
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d different events, want 100", len(seen))
	}
}
