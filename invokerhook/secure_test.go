package invokerhook_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/kafkatest"
	"github.com/weft-stream/weft/invokerhook"
)

const hookPassword = "hook-password-canary"

// secureKafka has users, access control lists, and certificates as OpenWhisk's roles make them: with a common name only.
func secureKafka(t *testing.T) (*kafkatest.Cluster, *kafkatest.TLS) {
	t.Helper()
	tls, err := kafkatest.NewTLS("openwhisk-kafka")
	if err != nil {
		t.Fatal(err)
	}
	tls.RequireClient = true
	return kafkatest.New(t, kafkatest.Config{TLS: tls, Users: []kafkatest.User{{Name: "hook", Password: hookPassword}, {Name: "stranger", Password: "s"}}}), tls
}

func pemFile(t *testing.T, text []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// allow gives the user hook what docs/kafka.md says that it needs, and no more.
func (k kafka) allow(t *testing.T, user string) {
	t.Helper()
	admin := k.admin(t)
	grant := func(r sarama.Resource, operations ...sarama.AclOperation) {
		acls := &sarama.ResourceAcls{Resource: r}
		for _, op := range operations {
			acls.Acls = append(acls.Acls, &sarama.Acl{Principal: "User:" + user, Host: "*", Operation: op, PermissionType: sarama.AclPermissionAllow})
		}
		if err := admin.CreateACLs([]*sarama.ResourceAcls{acls}); err != nil {
			t.Fatal(err)
		}
	}
	topic := func(name string, pattern sarama.AclResourcePatternType) sarama.Resource {
		return sarama.Resource{ResourceType: sarama.AclResourceTopic, ResourceName: k.prefix + name, ResourcePatternType: pattern}
	}
	for _, prefix := range []string{"completed", "invoker", "health", "events"} {
		grant(topic(prefix, sarama.AclPatternPrefixed), sarama.AclOperationRead, sarama.AclOperationDescribe)
	}
	grant(topic("weft.registry", sarama.AclPatternLiteral), sarama.AclOperationCreate, sarama.AclOperationRead, sarama.AclOperationWrite,
		sarama.AclOperationDescribe, sarama.AclOperationDescribeConfigs)
	grant(sarama.Resource{ResourceType: sarama.AclResourceTransactionalID, ResourceName: k.prefix + "weft.registry-", ResourcePatternType: sarama.AclPatternPrefixed},
		sarama.AclOperationWrite, sarama.AclOperationDescribe)
}

// TestRights runs a hook as a user of Kafka that may read the platform's topics and write its registry, and
// nothing else: all that a hook does, it does with that. So it never writes to a topic of the platform.
func TestRights(t *testing.T) {
	t.Parallel()
	c, tls := secureKafka(t)
	k := topicsOn(t, c)
	k.allow(t, "hook")
	trusted, err := invokerhook.KafkaTLS(invokerhook.TLSFiles{CA: pemFile(t, tls.CA), Name: tls.ServerName})
	if err != nil {
		t.Fatal(err)
	}
	s := newSiteOn(t, k, func(cfg *invokerhook.Config) {
		cfg.Kafka = c.SASLTLSAddrs()
		cfg.Access = invokerhook.KafkaAccess{TLS: trusted, Mechanism: "SCRAM-SHA-512", User: "hook", Password: hookPassword}
	})
	p := s.staff(1000)
	var release control.Release
	p["in"].await(control.TypeRelease, &release)
	s.complete(p["in"].lease.activation)
	if r := p["in"].bring(s.next()); r.Verdict != control.Renewed {
		t.Fatalf("renewal: %+v", r)
	}
	_ = s.hook.Close()
	s.open() // a take-over
	for _, topic := range []string{"invoker0", "health", "events"} {
		if m := s.messages(topic); len(m) != 0 {
			t.Errorf("%s has %q", topic, m)
		}
	}
	// The control: that user can't write there.
	cfg := sarama.NewConfig()
	cfg.Producer.Return.Successes = true
	cfg.Net.SASL.Enable, cfg.Net.SASL.User, cfg.Net.SASL.Password = true, "hook", hookPassword
	producer, err := sarama.NewSyncProducer(c.SASLAddrs(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: s.topic("health"), Value: sarama.StringEncoder("x")}); err == nil {
		t.Error("the lists don't hold")
	}
	if strings.Contains(s.log.String(), hookPassword) {
		t.Error("the log has the password")
	}
}

// TestWaysIn opens a hook in every way that is right, and in none that is not.
func TestWaysIn(t *testing.T) {
	t.Parallel()
	c, tls := secureKafka(t)
	k := topicsOn(t, c)
	k.allow(t, "hook")
	k.allow(t, "ANONYMOUS")
	k.allow(t, "CN=hook")
	other, err := kafkatest.NewTLS("openwhisk-kafka", net.IPv4(127, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(tls.ServerDER)
	pin := hex.EncodeToString(sum[:])
	ca, cert, key := pemFile(t, tls.CA), pemFile(t, tls.Client), pemFile(t, tls.ClientKey)
	login := invokerhook.KafkaAccess{User: "hook", Password: hookPassword}
	for name, way := range map[string]struct {
		mechanism, password string
		files               *invokerhook.TLSFiles
		own                 bool   // the listener that asks for certificates
		want                string // of the error
	}{
		"PLAIN":                       {mechanism: "PLAIN"},
		"SCRAM-SHA-256":               {mechanism: "SCRAM-SHA-256"},
		"SCRAM-SHA-512":               {mechanism: "SCRAM-SHA-512"},
		"TLS, common name":            {mechanism: "PLAIN", files: &invokerhook.TLSFiles{CA: ca, Name: "openwhisk-kafka"}},
		"TLS, fingerprint":            {mechanism: "SCRAM-SHA-256", files: &invokerhook.TLSFiles{Fingerprints: []string{pin}}},
		"TLS, client's certificate":   {own: true, files: &invokerhook.TLSFiles{CA: ca, Name: "openwhisk-kafka", Cert: cert, Key: key}},
		"wrong password, PLAIN":       {mechanism: "PLAIN", password: "wrong-password-canary", want: "SASL"},
		"wrong password, SCRAM":       {mechanism: "SCRAM-SHA-512", password: "wrong-password-canary", want: "SASL"},
		"TLS, its address, not in it": {mechanism: "PLAIN", files: &invokerhook.TLSFiles{CA: ca}, want: "certificate"},
		"TLS, other name":             {mechanism: "PLAIN", files: &invokerhook.TLSFiles{CA: ca, Name: "kafka"}, want: `is for "openwhisk-kafka", want "kafka"`},
		"TLS, other authority":        {mechanism: "PLAIN", files: &invokerhook.TLSFiles{CA: pemFile(t, other.CA), Name: "openwhisk-kafka"}, want: "certificate"},
		"TLS, other fingerprint":      {mechanism: "PLAIN", files: &invokerhook.TLSFiles{CA: ca, Name: "openwhisk-kafka", Fingerprints: []string{strings.Repeat("ab", 32)}}, want: "none of the fingerprints"},
		"TLS, system's authorities":   {mechanism: "PLAIN", files: &invokerhook.TLSFiles{Name: "openwhisk-kafka"}, want: "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{platform: newPlatform(t, k), log: &logBuffer{}}
			newest := newConfig(t, s)
			newest.Access = login
			newest.Access.Mechanism = way.mechanism
			if way.password != "" {
				newest.Access.Password = way.password
			}
			newest.Kafka = c.SASLAddrs()
			if way.files != nil {
				var err error
				if newest.Access.TLS, err = invokerhook.KafkaTLS(*way.files); err != nil {
					t.Fatal(err)
				}
				newest.Kafka = c.SASLTLSAddrs()
			}
			if way.own {
				newest.Kafka, newest.Access.User, newest.Access.Password = c.TLSAddrs(), "", ""
			}
			s.cfg = newest
			_, err := newHook(s)
			if way.want == "" && err != nil || way.want != "" && (err == nil || !strings.Contains(err.Error(), way.want)) {
				t.Errorf("got %v, want %q", err, way.want)
			}
			for _, secret := range []string{hookPassword, "wrong-password-canary"} {
				if err != nil && strings.Contains(err.Error(), secret) || strings.Contains(s.log.String(), secret) {
					t.Errorf("the password is told: %v\n%s", err, s.log.String())
				}
			}
		})
	}
}

// TestTLSFilesThatAreNoGood says what to do.
func TestTLSFilesThatAreNoGood(t *testing.T) {
	for want, f := range map[string]invokerhook.TLSFiles{
		"keytool":         {CA: pemFile(t, []byte("a Java key store"))},
		"no such file":    {CA: "/nowhere"},
		"-fingerprint":    {Fingerprints: []string{"abc"}},
		"hook's certific": {Cert: "/nowhere", Key: "/nowhere"},
	} {
		if _, err := invokerhook.KafkaTLS(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", f, err, want)
		}
	}
}
