package invokerhook

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestGlance: of what OpenWhisk has written, a look at the bytes passes over what is of others' actions, and
// never what is of a stage, only an id, or not of its topic.
func TestGlance(t *testing.T) {
	for _, topic := range []string{"completed0", "events", "invoker0", "health"} {
		text, err := os.ReadFile("../openwhisk/testdata/kafka/" + topic + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		passed, stages := 0, 0
		for line := range strings.Lines(string(text)) {
			var r struct{ Value json.RawMessage }
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := json.Compact(&b, r.Value); err != nil { // as the platform writes
				t.Fatal(err)
			}
			m := b.String()
			if foreign(topic, []byte(m)) {
				passed++
			}
			// The same action, as a stage's.
			of := strings.NewReplacer(`"path":"guest"`, `"path":"guest/p.stages"`, `"name":"guest/`, `"name":"guest/p.stages/`,
				`"key":"path","value":"guest/`, `"key":"path","value":"guest/p.stages/`).Replace(m)
			if of == m {
				continue
			}
			if stages++; foreign(topic, []byte(of)) {
				t.Errorf("%s: passed over: %s", topic, of)
			}
		}
		if topic == "health" {
			if passed != 0 {
				t.Errorf("%d signs of life passed over", passed)
			}
		} else if passed == 0 || stages == 0 {
			t.Errorf("%s: %d passed over, %d made a stage's", topic, passed, stages)
		}
	}
	for _, m := range []string{"", "{", "}", "null", `{"`, `{"x":1}`, `"response":{`, `{"activationId":"a"`, `{"activationId":5}`,
		`{"activationId":"a","instance":{}}`, `{"response":"a","instance":{}}`} {
		if foreign("completed0", []byte(m)) {
			t.Errorf("passed over: %s", m)
		}
	}
}
