package invokerhook

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/pipeline"
)

// Times of listening.
const (
	topicsEvery = time.Second // looking for new topics and partitions
	// lookBack is how far into the past a hook reads at its start: what a predecessor that was killed
	// has not come to. Completions are hints, and hearing one twice does no harm.
	lookBack = 30 * time.Second
	// placeBack is how much further it reads where activations went: a lease may have begun so long ago.
	placeBack = pipeline.MaxLease
	// fetchWait is how long a broker gathers messages, up to fetchMin bytes, before it answers: few answers
	// for many messages cost this hook, and the broker, the least. Nothing here is in more of a hurry.
	fetchWait = 50 * time.Millisecond
	fetchMin  = 64 << 10
)

// kafkaListener reads the platform's topics, without any consumer group: each of those topics has one
// partition, so that joining a group of the platform's would steal it, and a group of our own would keep
// a restarted hook waiting until its predecessor's membership has run out. It never writes to these
// topics, and keeps no keys, no parameters and no results, but
//
//	completed*  that an activation of ours has ended, and how
//	events      the same, for when that was missed
//	invoker*    which invoker has an activation of ours
//	health      which invokers live, and their memory
type kafkaListener struct {
	hook     *Hook
	client   sarama.Client
	consumer sarama.Consumer
	ctx      context.Context
	cancel   context.CancelFunc
	loops    sync.WaitGroup

	mu    sync.Mutex
	parts map[partition]*reading

	silentMS atomic.Int64 // since when Kafka hasn't answered, epoch milliseconds; 0: it does
}

type partition struct {
	topic string
	n     int32
}

// reading of one partition. A topic that is deleted and made again has the same name and another identity.
type reading struct {
	id   sarama.Uuid
	stop context.CancelFunc
}

// openKafkaListener begins to listen: from its return on, nothing on the topics that exist is missed.
func openKafkaListener(h *Hook) (*kafkaListener, error) {
	c := h.cfg.Access.config()
	c.Consumer.IsolationLevel = sarama.ReadUncommitted // the platform's producers have no transactions
	c.Consumer.MaxWaitTime, c.Consumer.Fetch.Min = fetchWait, fetchMin
	c.Consumer.Return.Errors = true
	client, err := sarama.NewClient(h.cfg.Kafka, c)
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("open a Kafka consumer: %w", err)
	}
	k := &kafkaListener{hook: h, client: client, consumer: consumer, parts: map[partition]*reading{}}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	if err := k.look(h.cfg.Now().Add(-lookBack).UnixMilli()); err != nil {
		k.close()
		return nil, fmt.Errorf("listen to the platform's topics: %w", err)
	}
	if len(k.parts) == 0 {
		h.log.Warn().Str("prefix", h.cfg.TopicPrefix).Strs("topics", h.cfg.Topics).
			Msg("no such topics of the platform, or no right to read them, yet")
	}
	k.loops.Go(k.lookLoop)
	return k, nil
}

// close stops listening.
func (k *kafkaListener) close() {
	k.cancel()
	k.loops.Wait()
	_ = k.consumer.Close()
	_ = k.client.Close()
}

// lookLoop looks for topics that have come, or come again, and for what did not come.
func (k *kafkaListener) lookLoop() {
	tick := time.NewTicker(topicsEvery)
	defer tick.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-tick.C:
		}
		now := k.hook.now()
		k.hook.acts.overdue(now)
		k.hook.strand(now)
		// What was not there when we looked last has been missed from its beginning.
		k.answered(k.look(sarama.OffsetOldest), now)
	}
}

// answered notes whether Kafka answers, and tells when that changes.
func (k *kafkaListener) answered(err error, now time.Time) {
	since := k.silentMS.Load()
	switch {
	case err != nil && since == 0:
		k.silentMS.Store(now.UnixMilli())
		k.hook.log.Warn().Err(err).Msg("listening to Kafka interrupted: pipelines go on, and it is tried again every second")
	case err == nil && since != 0:
		k.silentMS.Store(0)
		k.hook.log.Info().Dur("after", now.Sub(time.UnixMilli(since))).Msg("listening to Kafka again")
	}
}

// look begins to read the partitions that are not being read, from a time (epoch milliseconds) or
// sarama's oldest offset.
func (k *kafkaListener) look(from int64) error {
	topics, err := k.topics()
	if err != nil {
		return fmt.Errorf("ask for the topics: %w", err)
	}
	for _, topic := range topics {
		kind := k.hook.cfg.topicOf(topic.Name)
		if kind == "" {
			continue
		}
		from := from
		if from > 0 && strings.HasPrefix(kind, "invoker") {
			from -= placeBack.Milliseconds()
		}
		for _, p := range topic.Partitions {
			if err := k.read(partition{topic.Name, p.ID}, topic.Uuid, from); err != nil {
				return fmt.Errorf("read %s: %w", topic.Name, err)
			}
		}
	}
	return nil
}

// topics asks a broker for all topics that this hook may know of, with their identities, which sarama's
// client does not keep. Brokers before 2.8 leave those out.
func (k *kafkaListener) topics() ([]*sarama.TopicMetadata, error) {
	if err := k.client.RefreshMetadata(); err != nil {
		return nil, err
	}
	b := k.client.LeastLoadedBroker()
	if b == nil {
		return nil, sarama.ErrOutOfBrokers
	}
	answer, err := b.GetMetadata(sarama.NewMetadataRequest(k.client.Config().Version, nil))
	if err != nil {
		_ = b.Close() // the next call opens it anew
		return nil, err
	}
	return answer.Topics, nil
}

func (k *kafkaListener) read(p partition, id sarama.Uuid, from int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.parts[p]; r != nil {
		if r.id != id {
			k.hook.log.Warn().Str("topic", p.topic).Msg("topic was made anew: it is read from its beginning")
			r.stop() // and read at the next look
		}
		return nil
	}
	offset, err := k.client.GetOffset(p.topic, p.n, from)
	if err != nil {
		return err
	}
	if offset < 0 { // nothing is as young as that
		offset = sarama.OffsetNewest
	}
	pc, err := k.consumer.ConsumePartition(p.topic, p.n, offset)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(k.ctx)
	k.parts[p] = &reading{id, stop}
	k.loops.Go(func() {
		defer stop()
		k.readLoop(ctx, p, pc)
	})
	return nil
}

// readLoop reads one partition until it is gone, or ctx ends. Where what comes next was deleted before it
// was read, the next look begins again with the oldest that is left.
func (k *kafkaListener) readLoop(ctx context.Context, p partition, pc sarama.PartitionConsumer) {
	defer func() {
		_ = pc.Close()
		k.mu.Lock()
		delete(k.parts, p)
		k.mu.Unlock()
	}()
	kind := k.hook.cfg.topicOf(p.topic)
	for {
		select {
		case <-ctx.Done():
			return
		case err, ok := <-pc.Errors():
			if !ok {
				return
			}
			k.hook.noisy.Warn().Str("topic", p.topic).AnErr("reason", err.Err).Msg("reading a topic interrupted")
		case m, ok := <-pc.Messages():
			if !ok {
				return
			}
			if err := k.take(kind, m.Value); err != nil {
				// Where it is, not what it says.
				k.hook.noisy.Warn().Str("topic", m.Topic).Int64("offset", m.Offset).Uint64("skipped", k.hook.poisoned.Add(1)).
					Msg("Kafka message skipped: it is not of this topic")
			}
			if kind == openwhisk.TopicHealth {
				k.hook.invokers.read(m.Offset+1 >= pc.HighWaterMarkOffset(), k.hook.now())
			}
		}
	}
}

// take gives a message to whom it concerns. The topic's name is without its prefix.
func (k *kafkaListener) take(topic string, value []byte) error {
	switch {
	case foreign(topic, value):
	case strings.HasPrefix(topic, "completed"):
		a, err := openwhisk.ParseAckRecord(value)
		if err != nil {
			return err
		}
		if a.Completed {
			k.hook.acts.complete(completion{activationID: a.ActivationID, status: a.StatusCode})
		}
	case topic == openwhisk.TopicHealth:
		p, err := openwhisk.ParsePing(value)
		if err != nil {
			return err
		}
		k.hook.invokers.note(p, k.hook.now())
	case topic == openwhisk.TopicEvents:
		return k.takeEvent(value)
	default:
		r, err := openwhisk.ParseInvoker(value)
		if err != nil {
			return err
		}
		// Both dialects come this way: a scheduler's orders for containers name no activation. Whose it is
		// shows only later, when the hook has just started.
		if r.Order == openwhisk.OrderActivation && strings.HasSuffix(r.Action.Path, stageMark) {
			k.hook.acts.place(r.ActivationID, topic)
		}
	}
	return nil
}

// takeEvent hears of ends, should an ack be missed. Measurements are nothing to us.
func (k *kafkaListener) takeEvent(value []byte) error {
	m, err := openwhisk.ParseEvent(value)
	if err != nil || m.EventType != openwhisk.EventActivation {
		return err
	}
	e, err := m.Activation()
	if err != nil {
		return err
	}
	k.hook.acts.ended(completion{activationID: e.ActivationID, status: &e.StatusCode}, k.hook.now())
	return nil
}
