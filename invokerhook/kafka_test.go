package invokerhook_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// TestPoisonedMessagesAreSkipped puts garbage before the completions that the pipeline waits for.
func TestPoisonedMessagesAreSkipped(t *testing.T) { onBoth(t, testPoisonedMessagesAreSkipped) }

func testPoisonedMessagesAreSkipped(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	p := s.staff(1000)
	poison := []string{"", "{", "null", "[]", `"x"`, `{"activationId":5}`, `{"response":{"activationId":"x","response":{"statusCode":"no"}}}`,
		strings.Repeat("[", 10000), "\x00\xff", `{"secret":"poison-content"`}
	for _, topic := range []string{"completed0", "invoker0", "health", "events"} {
		for _, m := range poison {
			s.produce(topic, m)
		}
	}
	var release control.Release
	p["in"].await(control.TypeRelease, &release)
	s.complete(p["in"].lease.activation)
	if r := p["in"].bring(s.next()); r.Verdict != control.Renewed {
		t.Fatalf("renewal: %+v", r)
	}
	if strings.Contains(s.log.String(), "poison-content") {
		t.Error("the log has a message's content")
	}
	s.hears(func() bool { return s.hookStatus().SkippedKafka > 20 })
	if !strings.Contains(s.log.String(), "Kafka message skipped") {
		t.Error("nothing of it is in the log")
	}
}

// TestHookOnlyListens: the platform's topics have what the platform wrote, and there is no consumer group: the platform's are not joined.
func TestHookOnlyListens(t *testing.T) { onBoth(t, testHookOnlyListens) }

func testHookOnlyListens(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	s.staff(240_000)
	for _, topic := range []string{"completed0", "invoker0", "health", "events"} {
		if m := s.messages(topic); len(m) != 0 {
			t.Errorf("the hook wrote to %s: %q", topic, m)
		}
	}
	if g := s.groups(); len(g) != 0 {
		t.Errorf("groups %q", g)
	}
}

func TestEarlyCompletionIsNotLost(t *testing.T) { onBoth(t, testEarlyCompletionIsNotLost) }

func testEarlyCompletionIsNotLost(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	s.mu.Lock()
	s.records[activationID(1)] = `{"activationId":"1","response":{"status":"action developer error","success":false,"result":{"error":"too early"}}}`
	s.mu.Unlock()
	// Kafka says that the activation is over before REST has said that it began.
	s.beforeAnswer = func(activation string) { s.complete(activation); time.Sleep(50 * time.Millisecond) }
	s.start(60_000)
	s.until("failed", func(st control.PipelineStatus) bool {
		return st.Phase == control.Failed && strings.Contains(st.Error, "too early")
	})
}

func TestThrottledLeaseIsFiredAgain(t *testing.T) { onBoth(t, testThrottledLeaseIsFiredAgain) }

func testThrottledLeaseIsFiredAgain(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	s.mu.Lock()
	s.status_ = 429
	s.mu.Unlock()
	s.start(60_000)
	s.logged("lease refused")
	s.mu.Lock()
	s.status_ = 0
	s.mu.Unlock()
	s.next()
	s.next()
}

// TestEndIsHeardOfWithoutAnAck: the topic events tells of it, too.
func TestEndIsHeardOfWithoutAnAck(t *testing.T) { onBoth(t, testEndIsHeardOfWithoutAnAck) }

func testEndIsHeardOfWithoutAnAck(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	s.start(60_000)
	f := s.next()
	s.mu.Lock()
	s.records[f.activation] = `{"activationId":"x","response":{"status":"action developer error","success":false,"result":{"error":"no ack came"}}}`
	s.mu.Unlock()
	// Again and again, since the first may come before the REST call's answer.
	s.hears(func() bool {
		s.produce("events", `{"body":{"activationId":"`+f.activation+`","name":"guest/p.stages/out","statusCode":2,"kind":"go:1.26"},"eventType":"Activation","namespace":"guest","source":"invoker0"}`)
		st := s.status()
		return st.Phase == control.Failed && strings.Contains(st.Error, "no ack came")
	})
}

// TestStatusNamesTheInvoker: the activation's way goes by the invoker's topic.
func TestStatusNamesTheInvoker(t *testing.T) { onBoth(t, testStatusNamesTheInvoker) }

func testStatusNamesTheInvoker(t *testing.T, newSite siteMaker) {
	s := newSite(t, nil)
	p := s.staff(240_000)
	for stage, id := range map[string]string{"in": p["in"].lease.activation, "other": "0"} {
		s.produce("invoker0", `{"activationId":"`+id+`","action":{"name":"`+stage+`","path":"guest/p.stages"},"content":{"canary":1},"transid":["t",1],"user":{"namespace":{"name":"guest"}}}`)
	}
	s.until("placed", func(st control.PipelineStatus) bool {
		for _, x := range st.Slots {
			if want := map[string]string{"in": "invoker0"}[x.Slot.Stage]; x.Invoker != want {
				return false
			}
		}
		return true
	})
}
