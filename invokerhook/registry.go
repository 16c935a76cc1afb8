package invokerhook

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/rs/zerolog"
)

// markerPrefix begins the keys of the marks that readers set; no pipeline's name has a colon.
const markerPrefix = "mark:"

// registryReadTimeout bounds one reading of the whole topic.
const registryReadTimeout = 30 * time.Second

// record is what the registry has of a pipeline: all that a successor needs to own it. Of one that has
// ended only the term is left, so that the next run begins above it. Only a vault writes its JSON.
type record struct {
	Host     string `json:"host"` // of the hook that owns it
	Term     uint32 `json:"-"`    // of the owner that wrote it; beside the seal
	EndedMS  int64  `json:"endedMs,omitempty"`
	Snapshot []byte `json:"snapshot,omitempty"`
	APIKey   string `json:"apiKey,omitempty"` // uuid:key of the namespace
	CA       []byte `json:"ca,omitempty"`     // certificate and private key of the pipeline's authority

	fault error // why the value in the topic can't be read; all else is empty then
}

// registry is the compacted Kafka topic with one record per pipeline, key namespace/pipeline.
type registry struct {
	brokers []string
	access  *KafkaAccess
	topic   string
	vault   *vault
	log     zerolog.Logger
	client  sarama.Client
	marks   sarama.SyncProducer
}

// openRegistry connects, creates the topic if it is missing, and refuses one that would forget.
func openRegistry(brokers []string, access *KafkaAccess, topic string, v *vault, log zerolog.Logger) (*registry, error) {
	c := access.config()
	// The end of a reading waits for the fetch under way, which waits this long for more.
	c.Consumer.MaxWaitTime = 10 * time.Millisecond
	client, err := sarama.NewClient(brokers, c)
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka at %s: %w", strings.Join(brokers, ","), err)
	}
	r := &registry{brokers: brokers, access: access, topic: topic, vault: v, log: log, client: client}
	if err := r.ensureTopic(); err != nil {
		_ = client.Close()
		return nil, err
	}
	if r.marks, err = sarama.NewSyncProducerFromClient(client); err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("open the registry's producer: %w", err)
	}
	return r, nil
}

func (r *registry) close() {
	_ = r.marks.Close() // nothing is in flight: sends are synchronous
	_ = r.client.Close()
}

// read returns all committed records, up to everything that was written before the call. One that can't
// be read is among them with its fault: it concerns only the pipeline of its name.
func (r *registry) read(ctx context.Context) (map[string]record, error) {
	ctx, cancel := context.WithTimeout(ctx, registryReadTimeout)
	defer cancel()
	mark, err := r.mark()
	if errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		// Owners that live write their records again.
		r.log.Error().Str("topic", r.topic).Msg("the registry's topic is gone, with all records: it is made again, and pipelines owned by running hooks are written to it")
		if err = r.ensureTopic(); err == nil {
			mark, err = r.mark()
		}
	}
	if err != nil {
		return nil, err
	}
	consumer, err := sarama.NewConsumerFromClient(r.client)
	if err != nil {
		return nil, fmt.Errorf("open the registry's reader: %w", err)
	}
	defer consumer.Close()
	part, err := consumer.ConsumePartition(r.topic, 0, sarama.OffsetOldest)
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", r.topic, err)
	}
	defer part.Close()
	out := map[string]record{}
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read topic %s to its end: %w", r.topic, ctx.Err())
		case m, ok := <-part.Messages():
			if !ok {
				return nil, fmt.Errorf("read topic %s: the reader was closed", r.topic)
			}
			if string(m.Key) == mark {
				return out, nil
			}
			r.vault.keep(out, string(m.Key), m.Value)
		}
	}
}

// mark writes a tombstone of a key never used before: who reads it has read all that came before.
// Transactions end with control records, so an offset can't tell that.
func (r *registry) mark() (string, error) {
	var n [16]byte
	_, _ = rand.Read(n[:]) // never fails, see crypto/rand
	key := markerPrefix + hex.EncodeToString(n[:])
	_, _, err := r.marks.SendMessage(&sarama.ProducerMessage{Topic: r.topic, Key: sarama.StringEncoder(key)})
	if err != nil {
		return "", fmt.Errorf("mark the end of topic %s: %w", r.topic, err)
	}
	return key, nil
}

func (v *vault) keep(out map[string]record, name string, value []byte) {
	if strings.HasPrefix(name, markerPrefix) {
		return
	}
	if len(value) == 0 {
		delete(out, name)
		return
	}
	rec, err := v.open(name, value)
	if err != nil {
		rec.fault = fmt.Errorf("read the registry's record of %s: %w", name, err)
	}
	out[name] = rec
}
