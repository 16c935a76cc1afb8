package invokerhook_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// comeBack connects a proxy again, until the hook knows its pipeline.
func (p *proxy) comeBack(addr string) control.HelloReply {
	p.t.Helper()
	p.addr = addr
	return p.connect(p.inventory(true))
}

func TestTakeOverAfterAnEnd(t *testing.T) { onBoth(t, testTakeOverAfterAnEnd) }

func testTakeOverAfterAnEnd(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	p := s.staff(60_000)
	if err := s.hook.Close(); err != nil {
		t.Fatal(err)
	}
	<-p["in"].conn.Done()
	s.open()
	for stage, w := range p {
		if r := w.comeBack(s.addr); !r.Keep {
			t.Fatalf("%s was sent away: %s", stage, r.Reason)
		}
	}
	s.until("running again", func(st control.PipelineStatus) bool { return st.Phase == control.Running && st.Term == 2 })
	// The next barrier comes in the new term, and its mark is heard.
	var b control.Barrier
	p["in"].await(control.TypeBarrier, &b)
	if b.Term != 2 {
		t.Fatalf("barrier %+v", b)
	}
	p["in"].send(control.TypeBarrierAt, control.BarrierMark{SlotState: p["in"].stateAt(b), Barrier: b.Barrier, Position: 7})
	p["out"].send(control.TypeBarrierPassed, control.BarrierMark{SlotState: p["out"].stateAt(b), Barrier: b.Barrier})
	s.until("a complete barrier", func(st control.PipelineStatus) bool { return st.Barrier == b.Barrier })
	var why control.Why
	if err := call(t, s.client(guestKey), control.TypeWhy, control.Query{Pipeline: "p"}, &why); err != nil {
		t.Fatal(err)
	}
	if n := len(why.Entries); n == 0 || !strings.Contains(why.Entries[n-1].What, "took over") {
		t.Fatalf("why: %+v", why)
	}
}

func (p *proxy) stateAt(b control.Barrier) control.SlotState {
	s := p.state()
	s.Attempt = b.Attempt
	return s
}

func TestSuccessorFencesALivingOwner(t *testing.T) { onBoth(t, testSuccessorFencesALivingOwner) }

func testSuccessorFencesALivingOwner(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	p := s.staff(60_000)
	first, firstAddr := s.hook, s.addr
	s.addr = "unix:" + t.TempDir() + "/second.sock"
	s.cfg.Listen = []string{s.addr}
	s.open()
	// What the first hook hears now, it can't write down any more, and so it commands nothing.
	p["in"].send(control.TypeRestarted, p["in"].state())
	s.logged("pipeline given up")
	for stage, w := range p {
		if r := w.comeBack(s.addr); !r.Keep {
			t.Fatalf("%s was sent away: %s", stage, r.Reason)
		}
	}
	s.until("of the second term", func(st control.PipelineStatus) bool { return st.Term == 2 && st.Phase == control.Running })
	// A proxy that comes to the first one is told to leave; it says no word of the second's business.
	w := p["in"]
	if r := w.comeBack(firstAddr); r.Keep {
		t.Fatal("the fenced hook keeps a worker")
	}
	_ = first.Close()
}

func TestUnknownInventoryIsSentAway(t *testing.T) {
	s := newSite(t, nil)
	p := s.staff(60_000)
	liar := newProxy(t, s.addr)
	liar.assignment = p["in"].assignment
	if r := liar.comeBack(s.addr); r.Keep {
		t.Fatal("another worker's slot was believed")
	}
	// What it says on that slot is not heard either.
	liar.send(control.TypeFailed, liar.state())
	if err := call(t, liar.conn, control.TypePull, control.Transfer{Namespace: "guest", Pipeline: "p",
		Slot: liar.assignment.Slot, Incarnation: liar.assignment.Incarnation}, nil); err == nil {
		t.Fatal("it can read the source's file")
	}
	if st := s.status(); st.Restarts != 0 || st.Phase != control.Running {
		t.Fatalf("status %+v", st)
	}
	ghost := newProxy(t, s.addr)
	ghost.assignment = &control.Assignment{Namespace: "guest", Pipeline: twoStages(1), Slot: liar.assignment.Slot}
	ghost.assignment.Pipeline.Name = "ghost"
	if r := ghost.comeBack(s.addr); r.Keep || r.Reason == "" {
		t.Fatalf("answer on an unknown pipeline: %+v", r)
	}
}

func TestWrongRegistryTopicIsRefused(t *testing.T) { onBoth(t, testWrongRegistryTopicIsRefused) }

func testWrongRegistryTopicIsRefused(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	_ = s.hook.Close()
	s.cfg.RegistryTopic = s.topic("health") // cleanup.policy=delete
	h, err := newHook(s)
	if err == nil {
		_ = h.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "must be compact") {
		t.Fatalf("got %v", err)
	}
}

func TestRegistryHasNoSecrets(t *testing.T) { onBoth(t, testRegistryHasNoSecrets) }

func testRegistryHasNoSecrets(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	pl := twoStages(60_000)
	pl.Stages[0].Source.File = "canary-file"
	pl.Stages = append(pl.Stages, pipeline.Stage{Name: "f", Replicas: pl.Stages[0].Replicas, Function: &pipeline.Function{Action: "/guest/f",
		Env: map[string]string{"SECRET": "canary-env"}, Parameters: map[string]any{"tok": "canary-parameter"}}})
	pl.Edges = []pipeline.Edge{{From: "in", To: "f", Routing: pipeline.Balance}, {From: "f", To: "out", Routing: pipeline.Balance}}
	err := call(t, newProxy(t, s.addr).conn, control.TypeStep,
		control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: "p"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := newProxy(t, s.addr)
	if r := w.bring(s.next()); r.Verdict != control.Take {
		t.Fatalf("%+v", r)
	}
	told, _ := json.Marshal(w.assignment)
	for _, canary := range []string{"canary-env", "canary-parameter"} {
		if strings.Contains(string(told), canary) {
			t.Errorf("a worker is told %s, which its action has", canary)
		}
	}
	seed := w.assignment.KeySeed
	secrets := []string{"guest-secret", "canary-env", "canary-parameter", "canary-file", strconv.FormatUint(seed, 10),
		string(binary.LittleEndian.AppendUint64(nil, seed)), string(binary.BigEndian.AppendUint64(nil, seed))}
	for _, m := range s.messages("weft.registry") {
		m = unfold(m)
		for _, secret := range secrets {
			for _, form := range formsOf(secret) {
				if strings.Contains(m, form) {
					t.Fatalf("%q is in the registry as %q", secret, form)
				}
			}
		}
	}
}

var base64Run = regexp.MustCompile(`[A-Za-z0-9+/]{16,}={0,2}`)

// unfold appends what is in the text in base64, and in that.
func unfold(text string) string {
	out := text
	for _, run := range base64Run.FindAllString(text, -1) {
		if b, err := base64.StdEncoding.DecodeString(run); err == nil {
			out += " " + unfold(string(b))
		}
	}
	return out
}

// formsOf is the text itself, in hex and in base64, wherever in a longer text it begins.
func formsOf(secret string) []string {
	out := []string{secret, hex.EncodeToString([]byte(secret))}
	for shift := range 3 {
		code := base64.StdEncoding.EncodeToString(append(make([]byte, shift), secret...))
		// The first and last characters depend on what is around.
		out = append(out, strings.TrimRight(code, "=")[shift+1:len(secret)*4/3-1])
	}
	return out
}

func TestRotatedClusterKey(t *testing.T) { onBoth(t, testRotatedClusterKey) }

func testRotatedClusterKey(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	s.staff(60_000)
	// With another key, the pipeline can't be taken over, and is left as it is.
	_ = s.hook.Close()
	s.cfg.Keys = [][]byte{otherClusterKey}
	s.open()
	if err := call(t, s.client(guestKey), control.TypeStatus, control.Query{Pipeline: "p"}, nil); err == nil {
		t.Fatal("taken over without the key")
	}
	_ = s.hook.Close()
	// Rotated: the new key signs, the old one still opens.
	s.cfg.Keys = [][]byte{otherClusterKey, clusterKey}
	s.open()
	if st := s.status(); st.Name != "p" {
		t.Fatalf("status %+v", st)
	}
}

// TestBadRecordConcernsItsPipelineOnly: a hook with records that it can't read takes the others over,
// and starts others, but none of those names.
func TestBadRecordConcernsItsPipelineOnly(t *testing.T) {
	onBoth(t, testBadRecordConcernsItsPipelineOnly)
}

func testBadRecordConcernsItsPipelineOnly(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	s.staff(60_000)
	_ = s.hook.Close()
	for name, value := range map[string]string{"guest/broken": "{", "guest/newer": `{"version":99,"term":3}`,
		"guest/forged": `{"version":2,"term":9,"sealed":"AAAA"}`} {
		m := &sarama.ProducerMessage{Topic: s.topic("weft.registry"), Key: sarama.StringEncoder(name), Value: sarama.StringEncoder(value)}
		if _, _, err := s.producer.SendMessage(m); err != nil {
			t.Fatal(err)
		}
	}
	s.open()
	if st := s.status(); st.Term != 2 {
		t.Errorf("the good one: %+v", st)
	}
	p := newProxy(t, s.addr)
	for name, want := range map[string]string{"broken": "guest/broken: it is no record", "newer": "has version 99",
		"forged": "not sealed with a key of this cluster", "fresh": ""} {
		pl := twoStages(60_000)
		pl.Name = name
		err := call(t, p.conn, control.TypeStep, control.Step{Step: "start", Namespace: "guest", APIKey: guestKey, Pipeline: &pl, Name: name}, nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("start of %s: %v", name, err)
		}
	}
}
