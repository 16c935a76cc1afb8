package tests

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/weft-stream/weft/internal/control"
)

// attacked is a pipeline that runs, somebody who has its namespace's key, and what was to be seen on Kafka.
type attacked struct {
	*fed
	rest
	before control.PipelineStatus
	tokens []control.Token // of the pipeline's leases, all used
}

func attack(t *testing.T) *attacked {
	f := feed(t, stateless, nil)
	a := &attacked{fed: f, before: f.running()}
	host, key, _ := f.api()
	a.rest = rest{t, host, key}
	a.tokens = f.captured()
	if len(a.tokens) < len(a.before.Slots) {
		t.Fatalf("%d leases were fired for %d slots", len(a.tokens), len(a.before.Slots))
	}
	return a
}

// captured reads the leases' tokens from the platform's Kafka.
func (c *command) captured() (out []control.Token) {
	c.t.Helper()
	line := processesWith(c.mark)[c.hookPID()]
	_, broker, _ := strings.Cut(line, "--kafka ")
	broker, _, _ = strings.Cut(broker, " ")
	consumer, err := sarama.NewConsumer([]string{broker}, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer consumer.Close()
	const topic = "invoker0"
	from, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		c.t.Fatal(err)
	}
	defer from.Close()
	for {
		select {
		case m := <-from.Messages():
			var message struct {
				Content struct {
					Weft *control.Token `json:"__weft"`
				}
			}
			if json.Unmarshal(m.Value, &message) == nil && message.Content.Weft != nil {
				out = append(out, *message.Content.Weft)
			}
			if m.Offset+1 == from.HighWaterMarkOffset() {
				return out
			}
		case <-time.After(10 * time.Second):
			c.t.Fatalf("no messages in %s", topic)
		}
	}
}

// token is a captured one of a stage.
func (a *attacked) token(stage string) control.Token {
	a.rest.t.Helper()
	for _, k := range a.tokens {
		if k.Stage == stage {
			return k
		}
	}
	a.rest.t.Fatalf("no lease of %s was captured", stage)
	return control.Token{}
}

// clusterKey is the hook's own: who has it can sign anything, but fires no lease by that.
func (a *attacked) clusterKey() []byte {
	a.rest.t.Helper()
	names, _ := filepath.Glob(filepath.Join(strings.TrimPrefix(a.mark, "TMPDIR="), "weft-*", "cluster.key"))
	if len(names) != 1 {
		a.rest.t.Fatalf("cluster keys: %v", names)
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		a.rest.t.Fatal(err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		a.rest.t.Fatal(err)
	}
	return key
}

// unharmed: the same holders hold the same slots, nothing was rolled back, no secret was told, and every
// event comes out once.
func (a *attacked) unharmed() {
	t := a.rest.t
	t.Helper()
	a.flows()
	after := a.running()
	if after.Attempt != a.before.Attempt || after.Restarts != 0 || after.Moves != 0 {
		t.Errorf("attempt %s → %s, %d restarts, %d moves\n%s", a.before.Attempt, after.Attempt, after.Restarts, after.Moves, a.why())
	}
	for _, s := range a.before.Slots {
		if now := slotOf(t, after, s.Slot.String()); now.PID != s.PID || now.Incarnation != s.Incarnation {
			t.Errorf("%s has moved: %+v → %+v", s.Slot, s, now)
		}
	}
	said := a.stderr.String() + a.why() + a.ask("logs", "stateless")
	logs, _ := filepath.Glob(filepath.Join(strings.TrimPrefix(a.mark, "TMPDIR="), "weft-*", "*.log"))
	for _, name := range logs {
		b, _ := os.ReadFile(name)
		said += string(b)
	}
	for _, k := range a.tokens {
		if strings.Contains(said, k.MAC) {
			t.Errorf("a token of %s was logged", k.Stage)
		}
	}
	a.complete()
	if n := strings.Count(a.stdout.String(), "\n"); n != a.n {
		t.Errorf("%d events came out of %d", n, a.n)
	}
}

// TestForgedLeases invokes stage actions with leases that the hook has not fired: each is answered with
// an error that says why, and gets no slot.
func TestForgedLeases(t *testing.T) {
	a := attack(t)
	hour := time.Now().Add(time.Hour)
	replayed := a.token("go")
	other := replayed
	other.Stage = "py"
	forged := replayed
	forged.ID, forged.MAC = strings.Repeat("ab", 16), strings.Repeat("cd", 32)
	for name, c := range map[string]struct {
		weft  any
		words string
	}{
		"no lease":       {map[string]any{"hello": 1}, "reserved"},
		"a text":         {"lease", "reserved"},
		"forged":         {forged, "MAC"},
		"another stage":  {other, "MAC"},
		"replayed":       {replayed, "used before"},
		"never fired":    {control.SignToken(a.clusterKey(), "guest", "stateless", "go", strings.Repeat("0", 32), hour), "unknown"},
		"expired":        {control.SignToken(a.clusterKey(), "guest", "stateless", "go", replayed.ID, time.Now().Add(-time.Second)), "expired"},
		"another key":    {control.SignToken(bytes.Repeat([]byte{1}, 32), "guest", "stateless", "go", strings.Repeat("0", 32), hour), "MAC"},
		"no pipeline":    {control.SignToken(a.clusterKey(), "guest", "other", "go", strings.Repeat("0", 32), hour), "refused"},
		"another's":      {control.SignToken(a.clusterKey(), "other", "stateless", "go", strings.Repeat("0", 32), hour), "refused"},
		"at wrong stage": {a.token("py"), "refused"},
	} {
		var got activation
		code := a.call("POST", "actions/stateless.stages/go?blocking=true", map[string]any{"__weft": c.weft}, &got)
		said := errorText(t, got.Response.Result)
		if code != http.StatusBadGateway || !strings.Contains(said, c.words) {
			t.Errorf("%s: status %d, %q, want %q", name, code, said, c.words)
		}
		if strings.Contains(said, replayed.MAC) || strings.Contains(said, replayed.ID) {
			t.Errorf("%s: the answer tells the token: %q", name, said)
		}
	}
	a.unharmed()
}

// TestStageInvokedByHand: an ordinary invocation of a stage's action is answered by another container, as
// any other action is; sources and sinks have nothing to answer.
func TestStageInvokedByHand(t *testing.T) {
	a := attack(t)
	for _, stage := range []string{"py", "go"} {
		var got activation
		code := a.call("POST", "actions/stateless.stages/"+stage+"?blocking=true", map[string]any{"n": 7}, &got)
		if code != http.StatusOK || string(got.Response.Result) != `{"n":7}` {
			t.Errorf("%s: status %d, %s", stage, code, got.Response.Result)
		}
	}
	for _, stage := range []string{"in", "out"} {
		var got activation
		if code := a.call("POST", "actions/stateless.stages/"+stage+"?blocking=true", nil, &got); code != http.StatusBadGateway || errorText(t, got.Response.Result) == "" {
			t.Errorf("%s: status %d, %s", stage, code, got.Response.Result)
		}
	}
	a.unharmed()
}

// TestRunAtAHolder posts to the /run of containers that hold slots, past the platform.
func TestRunAtAHolder(t *testing.T) {
	a := attack(t)
	for _, c := range []struct {
		slot, words string
		value       any
	}{
		{"py[0]", "held by pipeline stateless", map[string]any{"n": 1}},
		{"go[1]", "lease refused", map[string]any{"__weft": a.token("go")}},
		{"py[1]", "lease refused", map[string]any{"__weft": a.token("go")}},
		{"out[0]", "lease refused", map[string]any{"__weft": a.token("out")}},
		{"in[0]", "held by pipeline stateless", nil},
	} {
		s := slotOf(t, a.before, c.slot)
		ip, _, err := net.SplitHostPort(s.Addr)
		if err != nil {
			t.Fatalf("address of %s: %v", c.slot, err)
		}
		body, _ := json.Marshal(map[string]any{
			"value": c.value, "namespace": "guest", "action_name": "/guest/stateless.stages/" + s.Slot.Stage,
			"activation_id": strings.Repeat("0", 32), "deadline": fmt.Sprint(time.Now().Add(time.Minute).UnixMilli()),
		})
		resp, err := http.Post("http://"+net.JoinHostPort(ip, "8080")+"/run", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(answer), c.words) {
			t.Errorf("%s: status %d, %s, want %q", c.slot, resp.StatusCode, answer, c.words)
		}
		resp, err = http.Post("http://"+net.JoinHostPort(ip, "8080")+"/init", "application/json", strings.NewReader(`{"value":{"code":"x"}}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("%s: initialised again", c.slot)
		}
	}
	a.unharmed()
}
