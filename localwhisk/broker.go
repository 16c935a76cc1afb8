package localwhisk

import (
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weft-stream/weft/openwhisk"
)

// maxKafkaBytes is the platform's: a payload of 1 MiB and 6068 bytes around it.
const maxKafkaBytes = "1054644"

// broker is the in-process Kafka with the platform's one producer and its
// consumers. Each consumer has a connection of its own, so that a long poll
// holds nobody else up.
type broker struct {
	cluster  *kfake.Cluster
	producer sarama.AsyncProducer
	log      zerolog.Logger
	clients  []sarama.Consumer
	parts    []sarama.PartitionConsumer
	handlers sync.WaitGroup
	answers  sync.WaitGroup // of the producer
}

func openBroker(log zerolog.Logger) (*broker, error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1),
		kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "60000"}))
	if err != nil {
		return nil, fmt.Errorf("localwhisk: start the Kafka broker: %w", err)
	}
	b := &broker{cluster: cluster, log: log}
	// Retention as the platform sets it, in bytes far lower: this is memory.
	hour := map[string]string{"retention.ms": "3600000", "retention.bytes": "67108864", "max.message.bytes": maxKafkaBytes}
	for _, topic := range []string{openwhisk.TopicInvoker0, openwhisk.TopicCompleted0, openwhisk.TopicHealth,
		openwhisk.TopicEvents, openwhisk.TopicCacheInvalidation} {
		if err := cluster.CreateTopic(topic, 1, hour); err != nil {
			b.close()
			return nil, fmt.Errorf("localwhisk: create topic %s: %w", topic, err)
		}
	}
	if b.producer, err = sarama.NewAsyncProducer(cluster.ListenAddrs(), kafkaConfig()); err != nil {
		b.close()
		return nil, fmt.Errorf("localwhisk: connect the producer: %w", err)
	}
	b.answers.Go(b.sentLoop)
	b.answers.Go(b.failedLoop)
	return b, nil
}

func kafkaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = "localwhisk"
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForLocal
	c.Producer.MaxMessageBytes = 4 << 20
	c.Net.MaxOpenRequests = 1 // keeps the order of messages through a retry
	c.Consumer.MaxWaitTime = 250 * time.Millisecond
	c.Consumer.Fetch.Default = 4 << 20
	return c
}

func (b *broker) addr() string { return b.cluster.ListenAddrs()[0] }

// send writes v as JSON. The channel answers once the broker has it.
func (b *broker) send(topic string, v any) <-chan error {
	done := make(chan error, 1)
	value, err := encode(v)
	if err != nil {
		done <- fmt.Errorf("localwhisk: encode a message for %s: %w", topic, err)
		return done
	}
	b.producer.Input() <- &sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(value), Metadata: done}
	return done
}

func (b *broker) sentLoop() {
	for m := range b.producer.Successes() {
		m.Metadata.(chan error) <- nil
	}
}

func (b *broker) failedLoop() {
	for e := range b.producer.Errors() {
		b.log.Warn().Err(e.Err).Str("topic", e.Msg.Topic).Msg("send a message")
		e.Msg.Metadata.(chan error) <- e.Err
	}
}

// consume calls handle with each message from now on, one after the other.
func (b *broker) consume(topic string, handle func([]byte)) error {
	client, err := sarama.NewConsumer(b.cluster.ListenAddrs(), kafkaConfig())
	if err != nil {
		return fmt.Errorf("localwhisk: connect the consumer of %s: %w", topic, err)
	}
	b.clients = append(b.clients, client)
	part, err := client.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return fmt.Errorf("localwhisk: consume %s: %w", topic, err)
	}
	b.parts = append(b.parts, part)
	b.handlers.Go(func() {
		for m := range part.Messages() {
			handle(m.Value)
		}
	})
	return nil
}

// close stops the consumers, whose handlers send, then the producer, then the
// broker.
func (b *broker) close() {
	for _, p := range b.parts {
		p.AsyncClose()
	}
	b.handlers.Wait()
	if b.producer != nil {
		b.producer.AsyncClose()
	}
	b.answers.Wait()
	for _, c := range b.clients {
		c.Close()
	}
	b.cluster.Close()
}
