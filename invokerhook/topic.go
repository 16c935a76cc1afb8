package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/IBM/sarama"
)

// startWait bounds the wait for Kafka at the hook's start; whoever runs the hook starts it again.
const startWait = 2 * time.Minute

// awaitRegistry opens the registry, and waits for a Kafka that doesn't answer yet: at a host's start the
// hook may be first. What waiting won't mend is told at once.
func (h *Hook) awaitRegistry(ctx context.Context, v *vault) (*registry, error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for told := false; ; told = true {
		r, err := openRegistry(h.cfg.Kafka, &h.cfg.Access, h.cfg.RegistryTopic, v, h.log)
		if err == nil || !mayPass(err) {
			return r, err
		}
		if !told {
			h.log.Warn().Err(err).Dur("at most", startWait).Msg("Kafka does not answer: waiting for it")
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(time.Second):
		}
	}
}

// mayPass is true of errors that a Kafka makes which is down, or just starting.
func mayPass(err error) bool {
	var dialled *net.OpError
	if errors.As(err, &dialled) && dialled.Op == "dial" {
		return true
	}
	for _, e := range []error{io.EOF, os.ErrDeadlineExceeded, syscall.ECONNRESET, sarama.ErrControllerNotAvailable, sarama.ErrLeaderNotAvailable,
		sarama.ErrBrokerNotAvailable, sarama.ErrNotController, sarama.ErrRequestTimedOut, sarama.ErrInvalidReplicationFactor,
		sarama.ErrUnknownTopicOrPartition} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Settings of the registry's topic.
const (
	recordBytes = 8 << 20 // of one record
	mostCopies  = 3       // of the topic, where there are so many brokers
)

// ensureTopic creates the topic where there is none, and checks that it keeps what was written last.
func (r *registry) ensureTopic() error {
	admin, err := sarama.NewClusterAdminFromClient(r.client)
	if err != nil {
		return fmt.Errorf("open Kafka's admin API: %w", err)
	}
	// admin shares the client, so it is not closed here.
	refused := r.createTopic(admin)
	if refused != nil && !errors.Is(refused, sarama.ErrTopicAuthorizationFailed) && !errors.Is(refused, sarama.ErrClusterAuthorizationFailed) {
		return refused
	}
	// What was created, the brokers know after a moment.
	for end := time.Now().Add(registryReadTimeout); ; time.Sleep(50 * time.Millisecond) {
		policy, err := r.policy(admin)
		switch {
		case err == nil && policy != compact:
			return fmt.Errorf("topic %s has cleanup.policy %q: it must be compact, or records of running pipelines would be lost", r.topic, policy)
		case err == nil:
			return nil
		case refused != nil || !mayPass(err) || time.Now().After(end):
			return fmt.Errorf("read the configuration of topic %s: %w", r.topic, errors.Join(refused, err))
		}
	}
}

const compact = "compact" // the registry's cleanup.policy

// createTopic returns nil when the topic is there. Who has no right to create it needs none, if it is.
func (r *registry) createTopic(admin sarama.ClusterAdmin) error {
	policy, size, insync := compact, strconv.Itoa(recordBytes), "1"
	copies := min(len(r.client.Brokers()), mostCopies)
	if copies == mostCopies {
		insync = "2"
	}
	err := admin.CreateTopic(r.topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: int16(copies),
		ConfigEntries: map[string]*string{"cleanup.policy": &policy, "max.message.bytes": &size, "min.insync.replicas": &insync}}, false)
	if errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", r.topic, err)
	}
	r.log.Warn().Str("topic", r.topic).Int("copies", copies).
		Msg("registry's topic created: it knows no pipeline. If any ran before, its records were lost with the topic: workers that come here are sent away")
	return nil
}

// policy asks for the topic's cleanup.policy, once the brokers know who leads it.
func (r *registry) policy(admin sarama.ClusterAdmin) (string, error) {
	if err := r.client.RefreshMetadata(r.topic); err != nil {
		return "", err
	}
	if _, err := r.client.Leader(r.topic, 0); err != nil {
		return "", err
	}
	described, err := admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: r.topic,
		ConfigNames: []string{"cleanup.policy"}}}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return "", err
	}
	for _, d := range described {
		if d.ErrorCode != sarama.ErrNoError {
			return "", d.ErrorCode
		}
		for _, e := range d.Configs {
			if e.Name == "cleanup.policy" {
				return e.Value, nil
			}
		}
	}
	return "", nil
}
