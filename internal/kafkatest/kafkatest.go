// Package kafkatest runs Apache Kafka on this machine, for tests and benchmarks: KRaft brokers with small
// heaps on free loopback ports, each a process that is stopped by its id. Brokers can be stopped, killed,
// started again with their data or without, and listen with TLS and SASL.
//
//	test ──plain──► broker 1 … n      every right, no password: the test's own listener
//	hook ──TLS, SASL──►               as users with access control lists
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// Config of a cluster. The zero value is one broker without TLS and SASL.
type Config struct {
	// Brokers is how many there are; each is a controller too. Default 1.
	Brokers int
	// Dir gets the brokers' data. Default: a temporary folder, removed by Close.
	Dir string
	// TLS and the users of SASL open listeners of their own: see Cluster.TLSAddrs, SASLAddrs.
	TLS *TLS
	// Users may log in with PLAIN and SCRAM on the listeners of SASL; with any, only what an access
	// control list allows them is allowed.
	Users []User
	// Settings are added to each broker's.
	Settings map[string]string
	// HeapMB of each broker. Default 256.
	HeapMB int
	// JVM are the options of the brokers' Java but for its heap. Default: those with the quickest start.
	JVM []string
	// Quiet leaves out what the brokers log; the default is warnings, to a file shown on failure.
	Quiet bool
}

// User of SASL.
type User struct{ Name, Password string }

// Cluster of brokers. Its methods are not for concurrent use.
type Cluster struct {
	Brokers []*Broker

	cfg    Config
	libs   string
	dir    string
	owned  bool // the folder is ours to remove
	id     string
	voters string
}

// startTime bounds the start of a cluster on a loaded machine.
const startTime = 3 * time.Minute

// Start runs a cluster and returns when it answers. Close ends it.
func Start(ctx context.Context, cfg Config) (_ *Cluster, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if cfg.Brokers <= 0 {
		cfg.Brokers = 1
	}
	if cfg.HeapMB <= 0 {
		cfg.HeapMB = 256
	}
	if cfg.JVM == nil {
		cfg.JVM = []string{"-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"}
	}
	c := &Cluster{cfg: cfg, dir: cfg.Dir, id: "weftweftweftweftweftAA"}
	if c.libs, err = Libs(ctx); err != nil {
		return nil, err
	}
	if c.dir == "" {
		c.owned = true
		if c.dir, err = os.MkdirTemp("", "weft-kafka-"); err != nil {
			return nil, fmt.Errorf("kafkatest: %w", err)
		}
	}
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	if err := c.plan(); err != nil {
		return nil, err
	}
	var starts sync.WaitGroup
	errs := make([]error, len(c.Brokers))
	for i, b := range c.Brokers {
		starts.Go(func() {
			if errs[i] = b.format(ctx); errs[i] == nil {
				errs[i] = b.spawn()
			}
		})
	}
	starts.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, c.Await(ctx)
}

// plan gives every broker its ports, and writes its settings.
func (c *Cluster) plan() error {
	for i := range c.cfg.Brokers {
		b := &Broker{cluster: c, id: i + 1, dir: filepath.Join(c.dir, fmt.Sprint("broker", i+1))}
		if err := os.MkdirAll(b.dir, 0o755); err != nil {
			return fmt.Errorf("kafkatest: %w", err)
		}
		ports, err := freePorts(5)
		if err != nil {
			return err
		}
		b.controller, b.plain, b.tls, b.sasl, b.saslTLS = ports[0], ports[1], ports[2], ports[3], ports[4]
		if i > 0 {
			c.voters += ","
		}
		c.voters += fmt.Sprintf("%d@%s", b.id, b.controller)
		c.Brokers = append(c.Brokers, b)
	}
	for _, b := range c.Brokers {
		if err := b.configure(); err != nil {
			return err
		}
	}
	return nil
}

// freePorts are addresses on loopback that nobody listens on.
func freePorts(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("kafkatest: find a free port: %w", err)
		}
		defer l.Close() // all at once, so that no port is found twice
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// Addrs are the brokers' addresses with every right and no password: the test's own.
func (c *Cluster) Addrs() []string { return c.addrs(func(b *Broker) string { return b.plain }) }

// TLSAddrs are those with TLS; with TLS.Client, a client's certificate is required.
func (c *Cluster) TLSAddrs() []string { return c.addrs(func(b *Broker) string { return b.tls }) }

// SASLAddrs are those with SASL and no encryption.
func (c *Cluster) SASLAddrs() []string { return c.addrs(func(b *Broker) string { return b.sasl }) }

// SASLTLSAddrs are those with SASL over TLS.
func (c *Cluster) SASLTLSAddrs() []string {
	return c.addrs(func(b *Broker) string { return b.saslTLS })
}

func (c *Cluster) addrs(of func(*Broker) string) []string {
	var out []string
	for _, b := range c.Brokers {
		out = append(out, of(b))
	}
	return out
}

// Await returns when every broker that was started is part of the cluster and, where none is missing, has
// caught up: the next one may be killed then.
func (c *Cluster) Await(ctx context.Context) error {
	var running []string
	for _, b := range c.Brokers {
		if b.cmd != nil {
			running = append(running, b.plain)
		}
	}
	for {
		err := answers(running, len(running) == len(c.Brokers))
		if err == nil {
			return nil
		}
		for _, b := range c.Brokers {
			if b.cmd != nil && b.exited() {
				return fmt.Errorf("kafkatest: broker %d has ended: %s", b.id, b.Log())
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kafkatest: the brokers don't answer: %w\n%s", err, c.Brokers[0].Log())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// answers asks for the cluster's metadata, over the protocol.
func answers(addrs []string, all bool) error {
	cfg := sarama.NewConfig()
	cfg.Metadata.Retry.Max = 0
	cfg.Net.DialTimeout, cfg.Net.ReadTimeout = 2*time.Second, 5*time.Second
	client, err := sarama.NewClient(addrs, cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if n := len(client.Brokers()); n < len(addrs) {
		return fmt.Errorf("%d of %d brokers are there", n, len(addrs))
	}
	if _, err = client.Controller(); err != nil || !all {
		return err
	}
	return inSync(client)
}

// inSync is an error while a replica lags behind.
func inSync(client sarama.Client) error {
	topics, err := client.Topics()
	if err != nil {
		return err
	}
	for _, t := range topics {
		partitions, err := client.Partitions(t)
		if err != nil {
			return err
		}
		for _, p := range partitions {
			all, err := client.Replicas(t, p)
			if err != nil {
				return err
			}
			if now, err := client.InSyncReplicas(t, p); err != nil || len(now) < len(all) {
				return fmt.Errorf("%d of %d replicas of %s/%d are in sync (%v)", len(now), len(all), t, p, err)
			}
		}
	}
	return nil
}

// Close stops all brokers, and removes their data if the folder was made here.
func (c *Cluster) Close() error {
	var errs []error
	var stops sync.WaitGroup
	for _, b := range c.Brokers {
		stops.Go(b.Kill) // data that nobody reads again needs no orderly end
	}
	stops.Wait()
	if c.owned {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}

// New runs a cluster for a test, which is skipped where Kafka can't be had, but fails in CI.
func New(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), cfg)
	if err != nil {
		unavailable(t, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, b := range c.Brokers {
				t.Logf("Kafka broker %d: %s", b.id, b.Log())
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func unavailable(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	t.Fatal(err)
}

var shared struct {
	once    sync.Once
	cluster *Cluster
	err     error
}

// Shared is one broker for all tests of a process that name their topics apart. CloseShared ends it,
// from TestMain.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	shared.once.Do(func() { shared.cluster, shared.err = Start(context.Background(), Config{}) })
	if shared.err != nil {
		unavailable(t, shared.err)
	}
	return shared.cluster
}

// CloseShared stops the shared broker, if there is one.
func CloseShared() {
	if shared.cluster != nil {
		_ = shared.cluster.Close()
	}
}
