package invokerhook_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"

	"github.com/weft-stream/weft/internal/kafkatest"
	"github.com/weft-stream/weft/invokerhook"
)

type siteMaker func(t *testing.T, change func(*invokerhook.Config)) *site

// onBoth runs a test on the broker in this process, and on an Apache Kafka.
func onBoth(t *testing.T, test func(t *testing.T, newSite siteMaker)) {
	t.Helper()
	t.Parallel()
	t.Run("kfake", func(t *testing.T) { test(t, newSite) })
	t.Run("kafka", func(t *testing.T) {
		test(t, func(t *testing.T, change func(*invokerhook.Config)) *site {
			t.Helper()
			return newSiteOn(t, topicsOn(t, kafkatest.Shared(t)), change)
		})
	})
}

var prefixes atomic.Int64

// topicsOn makes the platform's topics under a prefix of this test's own.
func topicsOn(t *testing.T, c *kafkatest.Cluster) kafka {
	t.Helper()
	k := kafka{addrs: c.Addrs(), prefix: fmt.Sprintf("t%d.", prefixes.Add(1))}
	k.create(t, int16(len(c.Brokers)), "completed0", "invoker0", "health", "events")
	return k
}

func (k kafka) admin(t *testing.T) sarama.ClusterAdmin {
	t.Helper()
	admin, err := sarama.NewClusterAdmin(k.addrs, sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	return admin
}

func (k kafka) create(t *testing.T, copies int16, topics ...string) {
	t.Helper()
	admin := k.admin(t)
	for _, topic := range topics {
		if err := admin.CreateTopic(k.prefix+topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: copies}, false); err != nil {
			t.Fatal(err)
		}
	}
}
