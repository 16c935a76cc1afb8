package openwhisk_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-stream/weft/openwhisk"
)

// recorded returns the values of a recorded topic.
func recorded(t testing.TB, topic string) []json.RawMessage {
	t.Helper()
	f, err := os.Open("testdata/kafka/" + topic + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []json.RawMessage
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var m struct {
			Value json.RawMessage `json:"value"`
		}
		if err := json.Unmarshal(sc.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m.Value)
	}
	return out
}

// sameJSON compares two texts as JSON values.
func sameJSON(t *testing.T, want, got []byte) {
	t.Helper()
	var w, g any
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(w, g) {
		t.Errorf("written back differently\nrecorded %s\nwritten  %s", want, got)
	}
}

// TestRecordedMessagesSurvive reads every recorded message and writes it back.
func TestRecordedMessagesSurvive(t *testing.T) {
	for topic, parse := range map[string]func([]byte) (any, error){
		openwhisk.TopicInvoker0:   func(b []byte) (any, error) { return wrap(openwhisk.ParseActivation(b)) },
		openwhisk.TopicCompleted0: func(b []byte) (any, error) { return wrap(openwhisk.ParseAck(b)) },
		openwhisk.TopicHealth:     func(b []byte) (any, error) { return wrap(openwhisk.ParsePing(b)) },
		openwhisk.TopicEvents:     func(b []byte) (any, error) { return wrap(openwhisk.ParseEvent(b)) },
		openwhisk.TopicCacheInvalidation: func(b []byte) (any, error) {
			return wrap(openwhisk.ParseCacheInvalidation(b))
		},
	} {
		t.Run(topic, func(t *testing.T) {
			messages := recorded(t, topic)
			if len(messages) == 0 {
				t.Fatal("nothing recorded")
			}
			for _, m := range messages {
				v, err := parse(m)
				if err != nil {
					t.Fatalf("%s: %v", m, err)
				}
				b, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				sameJSON(t, m, b)
			}
		})
	}
}

func wrap[T any](v T, err error) (any, error) { return v, err }

func TestParseInvokerKeepsNoSecrets(t *testing.T) {
	for _, m := range recorded(t, openwhisk.TopicInvoker0) {
		r, err := openwhisk.ParseInvoker(m)
		if err != nil {
			t.Fatal(err)
		}
		if r.Order != openwhisk.OrderActivation || len(r.ActivationID) != 32 || r.Action.Path == "" || r.TransID == "" || r.Namespace == "" {
			t.Errorf("record %+v of %s", r, m)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		full, err := openwhisk.ParseActivation(m)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), full.User.AuthKey.APIKey) {
			t.Errorf("the key is in %s", b)
		}
	}
}

func TestParseInvokerTellsOrdersApart(t *testing.T) {
	const base = `"transid":["t",1],"invocationNamespace":"guest","action":{"path":"guest","name":"a","version":"0.0.1"},"revision":"1-x","whiskActionMetaData":{}`
	for text, want := range map[string]openwhisk.InvokerRecord{
		`{` + base + `,"creationId":"c1","rpcPort":1}`: {Order: openwhisk.OrderContainerCreation, CreationID: "c1"},
		`{` + base + `}`: {Order: openwhisk.OrderContainerDeletion},
	} {
		want.Namespace, want.TransID, want.Action = "guest", "t", openwhisk.ActionRef{Path: "guest", Name: "a", Version: "0.0.1"}
		got, err := openwhisk.ParseInvoker([]byte(text))
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{``, `{}`, `[]`, `{"activationId":"a"}`, `{"activationId":7}`, `{"transid":["x"]}`} {
		if _, err := openwhisk.ParseInvoker([]byte(text)); !errors.Is(err, openwhisk.ErrMessage) {
			t.Errorf("%s: error %v", text, err)
		}
	}
	if _, err := openwhisk.ParseInvoker(make([]byte, openwhisk.MaxMessageBytes+1)); !errors.Is(err, openwhisk.ErrMessage) {
		t.Errorf("an oversize message: error %v", err)
	}
}

func TestAckKinds(t *testing.T) {
	instance := openwhisk.InstanceID{Instance: 0, InstanceType: "invoker"}
	trans := openwhisk.TransID{ID: "t", Start: 1}
	act := &openwhisk.Activation{ActivationID: "a", Logs: []string{}, Response: openwhisk.Response{StatusCode: openwhisk.StatusDeveloperError}}
	for name, c := range map[string]struct {
		ack  openwhisk.Ack
		done bool
		code *openwhisk.StatusCode
	}{
		"combined":   {openwhisk.Ack{ActivationID: "a", Activation: act, HasResponse: true, Instance: &instance, TransID: trans}, true, &act.Response.StatusCode},
		"id only":    {openwhisk.Ack{ActivationID: "a", HasResponse: true, Instance: &instance, TransID: trans}, true, nil},
		"completion": {openwhisk.Ack{ActivationID: "a", Instance: &instance, TransID: trans}, true, nil},
		"result":     {openwhisk.Ack{ActivationID: "a", Activation: act, HasResponse: true, TransID: trans}, false, &act.Response.StatusCode},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(c.ack)
			if err != nil {
				t.Fatal(err)
			}
			r, err := openwhisk.ParseAckRecord(b)
			if err != nil {
				t.Fatal(err)
			}
			if r.ActivationID != "a" || r.Completed != c.done || !reflect.DeepEqual(r.StatusCode, c.code) {
				t.Errorf("%s read as %+v", b, r)
			}
			if hasID := bytes.Contains(b, []byte(`{"activationId":"a","instance"`)); hasID != (name == "completion") {
				t.Errorf("written as %s", b)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, topic := range []string{openwhisk.TopicInvoker0, openwhisk.TopicCompleted0, openwhisk.TopicEvents, openwhisk.TopicHealth} {
		for _, m := range recorded(f, topic) {
			f.Add([]byte(m))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := openwhisk.ParseInvoker(b); err == nil && r.Action.Name == "" {
			t.Error("a record without an action")
		}
		if r, err := openwhisk.ParseAckRecord(b); err == nil && r.ActivationID == "" {
			t.Error("an ack without an id")
		}
		if e, err := openwhisk.ParseEvent(b); err == nil {
			e.Activation()
			e.Metric()
		}
		openwhisk.ParsePing(b)
		openwhisk.ParseCacheInvalidation(b)
		if m, err := openwhisk.ParseActivation(b); err == nil {
			if _, err := json.Marshal(m); err != nil {
				t.Errorf("does not write back: %v", err)
			}
		}
	})
}
