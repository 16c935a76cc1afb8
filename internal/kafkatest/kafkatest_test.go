package kafkatest_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/IBM/sarama"

	"github.com/weft-stream/weft/internal/kafkatest"
)

// TestJars downloads them where they are not here yet.
func TestJars(t *testing.T) {
	dir, err := kafkatest.Libs(t.Context())
	if errors.Is(err, kafkatest.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if jars, err := filepath.Glob(filepath.Join(dir, "kafka_2.13-*.jar")); err != nil || len(jars) != 1 {
		t.Fatalf("jars of Kafka in %s: %q, %v", dir, jars, err)
	}
}

// TestBrokerLifeCycle: data survive a kill and a stop, and not a wipe.
func TestBrokerLifeCycle(t *testing.T) {
	tls, err := kafkatest.NewTLS("localhost")
	if err != nil {
		t.Fatal(err)
	}
	c := kafkatest.New(t, kafkatest.Config{TLS: tls, Users: []kafkatest.User{{Name: "u", Password: "p"}}})
	b := c.Brokers[0]
	create(t, c)
	for _, end := range []func(){b.Kill, b.Stop} {
		end()
		if b.PID() != 0 {
			t.Error("there is a process yet")
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !has(t, c) {
			t.Fatal("the topic is gone")
		}
	}
	b.Stop()
	if err := errors.Join(b.Wipe(t.Context()), b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	if has(t, c) {
		t.Fatal("the topic is still there")
	}
}

func create(t *testing.T, c *kafkatest.Cluster) {
	t.Helper()
	admin, err := sarama.NewClusterAdmin(c.Addrs(), sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.CreateTopic("x", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, c *kafkatest.Cluster) bool {
	t.Helper()
	client, err := sarama.NewClient(c.Addrs(), sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := client.Topics()
	if err != nil {
		t.Fatal(err)
	}
	return len(topics) > 0
}
