package invokerhook_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weft-stream/weft/internal/control"
)

// guestKey and otherKey open the namespaces guest and other of the test's platform.
const (
	guestKey = "guest-uuid:guest-secret"
	otherKey = "other-uuid:other-secret"
)

// platform is as much of OpenWhisk as a hook sees: REST calls and Kafka messages.
type platform struct {
	kafka
	t        *testing.T
	broker   *broker
	brokers  []string
	url      string
	producer sarama.SyncProducer
	fired    chan firing

	mu      sync.Mutex
	n       int
	status_ int // what invocations answer; 0: 202
	room    int // for so many invocations, when full says so; the others get 429
	full    bool
	refusal string            // what they are told; else that they are too many in a minute
	down    bool              // 503 is what everything answers
	records map[string]string // of ended activations, JSON
	limits  string

	beforeAnswer func(activation string) // called before an invocation is answered
}

// firing is one lease that the hook has fired.
type firing struct {
	activation, action string
	token              control.Token
}

// kafka is where a test's messages go: a prefix sets its topics apart on a broker of many tests.
type kafka struct {
	addrs  []string
	prefix string
}

// fakeKafka is a broker in this process, of one test.
func fakeKafka(t *testing.T) kafka {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "completed0", "invoker0", "health", "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return kafka{addrs: c.ListenAddrs()}
}

func newPlatform(t *testing.T, k kafka) *platform {
	t.Helper()
	b := &broker{}
	p := &platform{t: t, kafka: k, broker: b, brokers: k.addrs, fired: make(chan firing, 100), records: map[string]string{},
		limits: `{"concurrentInvocations":30,"invocationsPerMinute":6000}`}
	cfg := sarama.NewConfig()
	cfg.Producer.Return.Successes = true
	var err error
	if p.producer, err = sarama.NewSyncProducer(p.brokers, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.producer.Close() })
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, key, _ := r.BasicAuth()
	namespaces := map[string]string{guestKey: "guest", otherKey: "other"}
	ns := namespaces[user+":"+key]
	if ns == "" {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"The supplied authentication is invalid.","code":"x"}`)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"error":"the controller is away"}`)
		return
	}
	switch path := strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces"); {
	case path == "" || path == "/":
		fmt.Fprintf(w, `[%q]`, ns)
	case strings.HasSuffix(path, "/limits"):
		fmt.Fprint(w, p.limits)
	case strings.Contains(path, "/activations/"):
		rec, ok := p.records[path[strings.LastIndexByte(path, '/')+1:]]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			rec = `{"error":"The requested resource does not exist."}`
		}
		fmt.Fprint(w, rec)
	case r.Method == http.MethodPost:
		p.invoke(w, r, path)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (p *platform) invoke(w http.ResponseWriter, r *http.Request, path string) {
	if p.full {
		p.room--
	}
	if p.status_ != 0 || p.room < 0 {
		w.WriteHeader(cmp.Or(p.status_, http.StatusTooManyRequests))
		fmt.Fprintf(w, `{"error":%q}`, cmp.Or(p.refusal, "Too many requests in the last minute (count: 61, allowed: 60)."))
		return
	}
	var body map[string]control.Token
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		p.t.Errorf("body of an invocation: %v", err)
	}
	p.n++
	f := firing{activation: activationID(p.n), action: strings.Replace(path, "/actions/", "/", 1), token: body[control.Reserved]}
	p.fired <- f
	if p.beforeAnswer != nil {
		p.beforeAnswer(f.activation)
	}
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, `{"activationId":%q}`, f.activation)
}

// answers says whether the platform does, from now on.
func (p *platform) answers(ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = !ok
}

func activationID(n int) string { return fmt.Sprintf("%032x", n) }

// complete ends an activation, as the platform tells it to everybody.
func (p *platform) complete(activation string) {
	p.produce("completed0", fmt.Sprintf(`{"response":%q,"transid":["t",1],"isSystemError":false,"instance":{"instance":0,"instanceType":"invoker","uniqueName":"0","userMemory":"1 B"}}`, activation))
}

// fail ends an activation with a record that has a text.
func (p *platform) fail(activation, text string) {
	p.mu.Lock()
	p.records[activation] = fmt.Sprintf(`{"activationId":%q,"response":{"status":"action developer error","success":false,"result":{"error":%q}}}`, activation, text)
	p.mu.Unlock()
	p.complete(activation)
}

func (p *platform) produce(topic, value string) {
	p.t.Helper()
	if _, _, err := p.producer.SendMessage(&sarama.ProducerMessage{Topic: p.topic(topic), Value: sarama.StringEncoder(value)}); err != nil {
		p.t.Error(err)
	}
}

func (p *platform) topic(name string) string { return p.prefix + name }

// messages are the values on a topic, up to now.
func (p *platform) messages(topic string) []string {
	p.t.Helper()
	topic = p.topic(topic)
	c, err := sarama.NewClient(p.brokers, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	end, err := c.GetOffset(topic, 0, sarama.OffsetNewest)
	if err != nil {
		p.t.Fatal(err)
	}
	cfg := sarama.NewConfig()
	cfg.Consumer.IsolationLevel = sarama.ReadUncommitted
	consumer, err := sarama.NewConsumer(p.brokers, cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	defer consumer.Close()
	part, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		p.t.Fatal(err)
	}
	defer part.Close()
	var out []string
	// The last offsets of a transaction hold no message.
	for end > 0 {
		select {
		case m := <-part.Messages():
			out = append(out, string(m.Value))
			if m.Offset >= end-2 {
				return out
			}
		case <-time.After(patience):
			p.t.Fatalf("topic %s was not read to its end", topic)
		}
	}
	return out
}

// groups are the consumer groups of the broker.
func (p *platform) groups() []string {
	p.t.Helper()
	admin, err := sarama.NewClusterAdmin(p.brokers, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer admin.Close()
	groups, err := admin.ListConsumerGroups()
	if err != nil {
		p.t.Fatal(err)
	}
	return slices.Collect(maps.Keys(groups))
}
