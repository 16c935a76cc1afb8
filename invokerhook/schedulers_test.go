package invokerhook_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/weft-stream/weft/internal/control"
)

// TestSchedulersMessages: on a deployment with schedulers, orders for containers of our stages come on the
// invokers' topics, and acks in any order. None is poison, none makes a decision that it should not, and
// what they carry is not logged. The messages are written after OpenWhisk's source: none was recorded.
func TestSchedulersMessages(t *testing.T) { onBoth(t, testSchedulersMessages) }

func testSchedulersMessages(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	p := s.staff(240_000)
	text, err := os.ReadFile("../openwhisk/testdata/schedulers/invoker.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var v struct{ Value json.RawMessage }
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		s.produce("invoker0", string(v.Value))
	}
	for _, completionFirst := range []bool{true, false} {
		id := p["in"].lease.activation
		s.mu.Lock()
		s.records[id] = `{"activationId":"` + id + `","response":{"status":"success","success":true,"result":{}}}`
		s.mu.Unlock()
		acks := []string{
			`{"transid":["t",1],"activationId":"` + id + `","isSystemError":false,"instance":{"instance":3,"instanceType":"invoker","uniqueName":"3","userMemory":"2048 MB","tags":[],"dedicatedNamespaces":[]}}`,
			`{"transid":["t",1],"response":"` + id + `"}`}
		if !completionFirst {
			acks[0], acks[1] = acks[1], acks[0]
		}
		for _, ack := range acks {
			s.produce("completed0", ack)
		}
		f := s.next()
		if r := p["in"].bring(f); r.Verdict != control.Renewed {
			t.Fatalf("renewal: %+v", r)
		}
	}
	if st := s.hookStatus(); st.SkippedKafka != 0 {
		t.Errorf("%d messages were taken for poison", st.SkippedKafka)
	}
	if strings.Contains(s.log.String(), "canary") {
		t.Error("the log has what a message carried")
	}
}
