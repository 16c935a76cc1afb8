package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// errFenced says that another hook has taken the pipeline over; this one must not command it any more.
var errFenced = errors.New("another hook has taken the pipeline over")

// ledger is the right to write one pipeline's record: a transactional producer. Opening one takes the
// right away from whoever had it, on the broker. Its methods belong to one goroutine.
type ledger struct {
	topic, name string
	vault       *vault
	producer    sarama.SyncProducer
	abandoned   bool // a write was not waited for; whoever does it closes the producer
}

// ledgerWait bounds the opening of a ledger: the broker aborts a transaction of the predecessor first.
const ledgerWait = 10 * time.Second

// openLedger fences the pipeline's former owner, whose open transaction is aborted.
func (r *registry) openLedger(ctx context.Context, name string) (*ledger, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerWait)
	defer cancel()
	for {
		l, err := r.tryLedger(name)
		if err == nil {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryEvery):
		}
	}
}

func (r *registry) tryLedger(name string) (*ledger, error) {
	c := r.access.config()
	c.Producer.Transaction.Retry.Max = 5 // of 100 ms; the caller goes on
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Producer.Transaction.ID = r.topic + "-" + name // two registries on one Kafka don't fence each other's owners
	p, err := sarama.NewSyncProducer(r.brokers, c)
	if err != nil {
		return nil, fmt.Errorf("take over %s in the registry: %w", name, err)
	}
	return &ledger{topic: r.topic, name: name, vault: r.vault, producer: p}, nil
}

// write replaces the record; it is committed when write returns nil. After ctx has ended, a write that
// Kafka doesn't answer is left to itself, and the ledger is of no more use.
func (l *ledger) write(ctx context.Context, rec record) error {
	b, err := l.vault.seal(l.name, rec)
	if err != nil {
		return err
	}
	return l.put(ctx, sarama.ByteEncoder(b))
}

func (l *ledger) put(ctx context.Context, value sarama.Encoder) error {
	done, left := make(chan error), make(chan struct{})
	go func() {
		err := l.putNow(value)
		select {
		case done <- err:
		case <-left:
			_ = l.producer.Close()
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	// The library takes no context. What is written in the last moment is good to have, no more.
	select {
	case err := <-done:
		return err
	case <-time.After(lastWrite):
		l.abandoned = true
		close(left)
		return fmt.Errorf("write the record of %s: %w", l.name, ctx.Err())
	}
}

// lastWrite is how long a write under way is waited for when the owner ends.
const lastWrite = time.Second

func (l *ledger) putNow(value sarama.Encoder) error {
	err := l.transact(&sarama.ProducerMessage{Topic: l.topic, Key: sarama.StringEncoder(l.name), Value: value})
	if err == nil {
		return nil
	}
	if l.producer.TxnStatus()&sarama.ProducerTxnFlagFatalError != 0 || fenced(err) {
		return fmt.Errorf("%w: write the record of %s: %w", errFenced, l.name, err)
	}
	// A failed abort shows at the next begin.
	_ = l.producer.AbortTxn()
	return fmt.Errorf("write the record of %s: %w", l.name, err)
}

func (l *ledger) transact(m *sarama.ProducerMessage) error {
	if err := l.producer.BeginTxn(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if _, _, err := l.producer.SendMessage(m); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	if err := l.producer.CommitTxn(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func (l *ledger) close() {
	if !l.abandoned {
		_ = l.producer.Close() // nothing is in flight
	}
}

func fenced(err error) bool {
	for _, e := range []error{sarama.ErrProducerFenced, sarama.ErrInvalidProducerEpoch, sarama.ErrTransactionCoordinatorFenced,
		sarama.ErrInvalidProducerIDMapping, sarama.ErrFencedInstancedId} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
