package localwhisk_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/weft-stream/weft/localwhisk"
	"github.com/weft-stream/weft/openwhisk"
)

// listen reads a topic from its beginning, as an outside listener does.
func listen(t *testing.T, p *localwhisk.Platform, topic string) <-chan []byte {
	t.Helper()
	c, err := sarama.NewConsumer([]string{p.KafkaAddr()}, sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	part, err := c.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan []byte, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m := range part.Messages() {
			if m.Key != nil {
				t.Errorf("a key on %s", topic)
			}
			out <- m.Value
		}
	}()
	t.Cleanup(func() {
		part.Close()
		<-done
		c.Close()
	})
	return out
}

// next waits for a message that matches.
func next(t *testing.T, from <-chan []byte, match func([]byte) bool) []byte {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case b := <-from:
			if match(b) {
				return b
			}
		case <-deadline:
			t.Fatal("no such message within 20 s")
		}
	}
}

// shape lists a message's fields with the types of their values.
func shape(t *testing.T, b []byte) []string {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	var out []string
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			out = append(out, path+"{}")
			for k, e := range v {
				walk(path+"."+k, e)
			}
		case []any:
			out = append(out, path+"[]")
			for i, e := range v {
				if m, ok := e.(map[string]any); ok {
					walk(fmt.Sprintf("%s[%v]", path, m["key"]), e)
				} else {
					walk(fmt.Sprintf("%s[%d]", path, i), e)
				}
			}
		default:
			out = append(out, fmt.Sprintf("%s %T", path, v))
		}
	}
	walk("", v)
	slices.Sort(out)
	return out
}

// recordedShapes are the shapes of a recorded topic, without the results,
// which belong to other actions.
func recordedShapes(t *testing.T, topic string) map[string]string {
	t.Helper()
	f, err := os.Open("../openwhisk/testdata/kafka/" + topic + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]string{}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var m struct {
			Value json.RawMessage `json:"value"`
		}
		if err := json.Unmarshal(sc.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		out[own(t, m.Value)] = string(m.Value)
	}
	return out
}

// own is the shape of what the platform says, not the action.
func own(t *testing.T, b []byte) string {
	var keep []string
	for _, s := range shape(t, b) {
		if !hasPrefix(s, ".content.", ".response.response.result.") {
			keep = append(keep, s)
		}
	}
	return fmt.Sprint(keep)
}

func hasPrefix(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return len(s) > len(p) && s[:len(p)] == p })
}

func has(id string) func([]byte) bool {
	return func(b []byte) bool { return json.Valid(b) && len(id) > 0 && slices.Contains(ids(b), id) }
}

// ids are the activation ids that a message is about.
func ids(b []byte) []string {
	var m struct {
		ActivationID string          `json:"activationId"`
		Response     json.RawMessage `json:"response"`
		Body         struct {
			ActivationID string `json:"activationId"`
		} `json:"body"`
	}
	json.Unmarshal(b, &m)
	var inner struct {
		ActivationID string `json:"activationId"`
	}
	json.Unmarshal(m.Response, &inner)
	var text string
	json.Unmarshal(m.Response, &text)
	return []string{m.ActivationID, inner.ActivationID, m.Body.ActivationID, text}
}

// TestMessagesHaveTheRecordedShape runs a call, a cold and a warm one, a
// sequence and a composition, and compares each message's fields and types
// with those recorded from a real OpenWhisk.
func TestMessagesHaveTheRecordedShape(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "m", nil)
	put(t, c, "c", func(a *openwhisk.Action) { a.Annotations = openwhisk.KeyValues{openwhisk.KV("conductor", true)} })
	if _, err := c.PutAction(t.Context(), "s", openwhisk.Action{Exec: openwhisk.SequenceExec("/_/m", "/_/m")}, false); err != nil {
		t.Fatal(err)
	}
	topics := map[string]<-chan []byte{}
	for _, topic := range []string{openwhisk.TopicInvoker0, openwhisk.TopicCompleted0, openwhisk.TopicEvents, openwhisk.TopicHealth, openwhisk.TopicCacheInvalidation} {
		topics[topic] = listen(t, p, topic)
	}
	check := func(topic string, match func([]byte) bool) {
		t.Helper()
		b := next(t, topics[topic], match)
		if recorded := recordedShapes(t, topic); recorded[own(t, b)] == "" {
			t.Errorf("%s: no recorded message has the shape of\n%s", topic, b)
		}
	}
	any := func([]byte) bool { return true }
	check(openwhisk.TopicHealth, any)
	check(openwhisk.TopicCacheInvalidation, any)
	for range 2 {
		inv := invoke(t, c, "m", params{"a": 1})
		check(openwhisk.TopicInvoker0, has(inv.ActivationID))
		check(openwhisk.TopicCompleted0, has(inv.ActivationID)) // result
		check(openwhisk.TopicCompleted0, has(inv.ActivationID)) // completion
		check(openwhisk.TopicEvents, func(b []byte) bool { e, _ := openwhisk.ParseEvent(b); return e.EventType == openwhisk.EventMetric })
		check(openwhisk.TopicEvents, has(inv.ActivationID))
		settle(t, p)
	}
	for _, name := range []string{"s", "c"} {
		inv := invoke(t, c, name, params{"mode": "conduct", "component": "/_/m"})
		for _, step := range inv.Activation.Logs {
			check(openwhisk.TopicInvoker0, has(step))
			check(openwhisk.TopicCompleted0, has(step))
			check(openwhisk.TopicCompleted0, has(step))
		}
		check(openwhisk.TopicEvents, has(inv.ActivationID))
		settle(t, p)
	}
}

// TestAckOfNonBlocking: without logs there is one combined ack, and nobody
// waits for the answer, so it carries the id alone.
func TestAckOfNonBlocking(t *testing.T) {
	p, c := start(t, nil)
	put(t, c, "m", func(a *openwhisk.Action) { a.Limits = openwhisk.NewLimits(10000, 128, 0) })
	acks := listen(t, p, openwhisk.TopicCompleted0)
	inv, err := c.Invoke(t.Context(), "m", nil, openwhisk.InvokeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := openwhisk.ParseAck(next(t, acks, has(inv.ActivationID)))
	if err != nil || !a.HasResponse || a.Activation != nil || !a.Completed() {
		t.Errorf("%+v %v", a, err)
	}
	blocking := invoke(t, c, "m", nil)
	a, err = openwhisk.ParseAck(next(t, acks, has(blocking.ActivationID)))
	if err != nil || a.Activation == nil || !a.Completed() {
		t.Errorf("blocking: %+v %v", a, err)
	}
}

// TestOthersMayUseTheBroker: a topic of one's own, compacted, written to in a
// transaction.
func TestOthersMayUseTheBroker(t *testing.T) {
	p, _ := start(t, nil)
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V2_6_0_0
	cfg.Producer.Idempotent, cfg.Producer.RequiredAcks, cfg.Net.MaxOpenRequests = true, sarama.WaitForAll, 1
	cfg.Producer.Transaction.ID = "other"
	cfg.Producer.Return.Successes = true
	admin, err := sarama.NewClusterAdmin([]string{p.KafkaAddr()}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	compact := "compact"
	if err := admin.CreateTopic("other", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1,
		ConfigEntries: map[string]*string{"cleanup.policy": &compact}}, false); err != nil {
		t.Fatal(err)
	}
	pr, err := sarama.NewSyncProducer([]string{p.KafkaAddr()}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	if err := pr.BeginTxn(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := pr.SendMessage(&sarama.ProducerMessage{Topic: "other", Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder("v")}); err != nil {
		t.Fatal(err)
	}
	if err := pr.CommitTxn(); err != nil {
		t.Fatal(err)
	}
	missing, err := sarama.NewSyncProducer([]string{p.KafkaAddr()}, func() *sarama.Config {
		c := sarama.NewConfig()
		c.Producer.Return.Successes, c.Producer.Retry.Max, c.Metadata.Retry.Max = true, 0, 0
		return c
	}())
	if err != nil {
		t.Fatal(err)
	}
	defer missing.Close()
	if _, _, err := missing.SendMessage(&sarama.ProducerMessage{Topic: "nobody-made-this", Value: sarama.StringEncoder("v")}); err == nil {
		t.Error("a topic came about by itself")
	}
}
