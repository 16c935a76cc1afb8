package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-stream/weft/bench/stage"
)

// NATS is a chain over subjects of a NATS server, at most once.
func NATS(addr string) stage.Chain {
	return stage.Chain{Peer: "nats", Server: addr, Link: subject}
}

// JetStream is a chain over one stream of a NATS server's file store, a subject a link, each publish
// acknowledged by the server.
func JetStream(addr string) stage.Chain {
	return stage.Chain{Peer: "jetstream", Server: addr, Link: subject}
}

func subject(i int) (stage.Link, error) {
	return stage.Link{Name: fmt.Sprintf("weft.%d.%d", time.Now().UnixNano(), i)}, nil
}

// ServeNATS runs a NATS server with a JetStream file store in dir until ctx ends; ready gets its address.
func ServeNATS(ctx context.Context, dir string, ready func(addr string)) error {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		return fmt.Errorf("make a NATS server: %w", err)
	}
	go s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(20 * time.Second) {
		return errors.New("the NATS server did not get ready")
	}
	ready(s.ClientURL())
	<-ctx.Done()
	return nil
}

func overNATS(_ context.Context, c *stage.Config) (in stage.In, out stage.Out, err error) {
	nc, err := nats.Connect(c.Server)
	if err != nil {
		return nil, nil, err
	}
	if c.Index > 0 {
		sub, err := nc.SubscribeSync(c.InName())
		if err != nil {
			return nil, nil, err
		}
		if err := errors.Join(sub.SetPendingLimits(-1, -1), nc.Flush()); err != nil {
			return nil, nil, err
		}
		in = natsIn{sub}
	}
	if c.Index < c.Stages-1 {
		out = natsOut{nc, c.OutName()}
	}
	return in, out, nil
}

type natsIn struct{ sub *nats.Subscription }

func (i natsIn) Next() ([]byte, error) {
	m, err := i.sub.NextMsg(time.Minute)
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

func (i natsIn) More() bool {
	n, _, err := i.sub.Pending()
	return err == nil && n > 0
}

type natsOut struct {
	nc      *nats.Conn
	subject string
}

func (o natsOut) Send(b []byte) error { return o.nc.Publish(o.subject, b) }

// Flush does nothing: the client's own loop writes what was published at once.
func (o natsOut) Flush() error { return nil }

// streamName is one stream for the whole chain, as its subjects begin alike.
func streamName(c *stage.Config) string {
	return "CHAIN" + fmt.Sprint(len(c.Names)) + suffix(c.Names[0])
}

func suffix(subject string) string {
	var n, i int64
	_, _ = fmt.Sscanf(subject, "weft.%d.%d", &n, &i)
	return fmt.Sprint(n)
}

func overJetStream(ctx context.Context, c *stage.Config) (in stage.In, out stage.Out, err error) {
	nc, err := nats.Connect(c.Server)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		return nil, nil, err
	}
	if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: streamName(c), Subjects: c.Names,
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy}); err != nil {
		return nil, nil, fmt.Errorf("make the stream: %w", err)
	}
	if c.Index > 0 {
		if in, err = jetStreamIn(ctx, js, c); err != nil {
			return nil, nil, err
		}
	}
	if c.Index < c.Stages-1 {
		out = jetOut{ctx, js, c.OutName(), c.Paced()}
	}
	return in, out, nil
}

func jetStreamIn(ctx context.Context, js jetstream.JetStream, c *stage.Config) (stage.In, error) {
	// An ordered consumer is the cheapest that there is: no acknowledgement a message.
	consumer, err := js.OrderedConsumer(ctx, streamName(c), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{c.InName()}, DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, fmt.Errorf("make the consumer: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(4096))
	if err != nil {
		return nil, fmt.Errorf("begin to consume: %w", err)
	}
	return jetIn{messages}, nil
}

type jetIn struct{ m jetstream.MessagesContext }

func (i jetIn) Next() ([]byte, error) {
	m, err := i.m.Next()
	if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, err
	}
	return m.Data(), nil
}

func (i jetIn) More() bool { return false }

type jetOut struct {
	ctx     context.Context
	js      jetstream.JetStream
	subject string
	paced   bool
}

// Send waits for no answer: order is the connection's, and a failed publish shows as a lost event.
func (o jetOut) Send(b []byte) error {
	_, err := o.js.PublishAsync(o.subject, append([]byte(nil), b...))
	return err
}

func (o jetOut) Flush() error {
	if o.paced {
		return nil
	}
	select {
	case <-o.js.PublishAsyncComplete():
		return nil
	case <-o.ctx.Done():
		return o.ctx.Err()
	}
}
