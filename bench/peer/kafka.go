package peer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weft-stream/weft/bench/stage"
)

// Kafka is a chain of consumer-producers over topics of one partition: acks=1, no linger, as a user
// tunes it for latency; under load the client makes batches by itself.
func Kafka(ctx context.Context, broker string) stage.Chain {
	return stage.Chain{Peer: "kafka", Server: broker, Link: func(i int) (stage.Link, error) { return topic(ctx, broker, i) }}
}

// KafkaPython is the same with consumer-producers in Python, over librdkafka and tuned alike, around the
// very function of Weft's chain.
func KafkaPython(ctx context.Context, broker string, p Python) stage.Chain {
	c := Kafka(ctx, broker)
	c.Command = func(int) *exec.Cmd {
		cmd := exec.CommandContext(ctx, p.Interpreter, "-u", p.Stage)
		cmd.Env = append(os.Environ(), "WEFT_BENCH_FUNCTION="+p.Function)
		return cmd
	}
	return c
}

func topic(ctx context.Context, broker string, i int) (stage.Link, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		return stage.Link{}, err
	}
	defer cl.Close()
	name := fmt.Sprintf("weft-bench-%d-%d", time.Now().UnixNano(), i)
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, name); err != nil {
		return stage.Link{}, fmt.Errorf("make topic %s: %w", name, err)
	}
	return stage.Link{Name: name}, nil
}

func overKafka(ctx context.Context, c *stage.Config) (in stage.In, out stage.Out, err error) {
	if c.Index > 0 {
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.Server), kgo.FetchMinBytes(1), kgo.FetchMaxWait(500*time.Millisecond),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.InName(): {0: kgo.NewOffset().AtStart()}}))
		if err != nil {
			return nil, nil, err
		}
		if err := cl.Ping(ctx); err != nil {
			return nil, nil, fmt.Errorf("reach Kafka at %s: %w", c.Server, err)
		}
		in = &kafkaIn{ctx: ctx, cl: cl}
	}
	if c.Index < c.Stages-1 {
		o, err := newKafkaOut(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		out = o
	}
	return in, out, nil
}

type kafkaIn struct {
	ctx     context.Context
	cl      *kgo.Client
	records []*kgo.Record
}

func (i *kafkaIn) Next() ([]byte, error) {
	for len(i.records) == 0 {
		fetches := i.cl.PollFetches(i.ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		i.records = fetches.Records()
	}
	r := i.records[0]
	i.records = i.records[1:]
	return r.Value, nil
}

func (i *kafkaIn) More() bool { return len(i.records) > 0 }

type kafkaOut struct {
	ctx   context.Context
	cl    *kgo.Client
	topic string
	fail  chan error
}

func newKafkaOut(ctx context.Context, c *stage.Config) (*kafkaOut, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Server), kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(),
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(20000), kgo.MaxProduceRequestsInflightPerBroker(1),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(1<<20),
		kgo.DefaultProduceTopic(c.OutName()))
	if err != nil {
		return nil, err
	}
	if err := cl.Ping(ctx); err != nil {
		return nil, fmt.Errorf("reach Kafka at %s: %w", c.Server, err)
	}
	return &kafkaOut{ctx: ctx, cl: cl, topic: c.OutName(), fail: make(chan error, 1)}, nil
}

func (o *kafkaOut) Send(b []byte) error {
	select {
	case err := <-o.fail:
		return err
	default:
	}
	// The client keeps the record until it is written; it waits when too many are.
	o.cl.Produce(o.ctx, &kgo.Record{Value: append([]byte(nil), b...)}, func(_ *kgo.Record, err error) {
		if err != nil {
			select {
			case o.fail <- err:
			default:
			}
		}
	})
	return nil
}

// Flush needs no wait at a rate: a record is written at once.
func (o *kafkaOut) Flush() error { return nil }
