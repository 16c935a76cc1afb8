// Package invokerhook is the sidecar beside an OpenWhisk invoker. It owns pipelines: for each it runs
// the conductor's brain, keeps what the brain decided in a registry on Kafka, fires the leases, and
// talks with the proxies that hold them and with users' weft commands.
//
//	Kafka completed* ─┐                          ┌─► registry (first)
//	proxies ──────────┼─► owner ─► Brain.Step ───┤
//	weft commands ────┘   (one goroutine each)   └─► REST leases, messages to proxies (then)
//
// Everything a proxy says of itself is a claim. Who it is, the kernel and Docker say (attest): its container
// is one worker, for one pipeline, at its own address. A lease is checked by its MAC, and a proxy is heard only
// on the slot it was given over this connection.
package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook/attest"
	"github.com/weft-stream/weft/openwhisk"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// Config of a hook.
type Config struct {
	// Listen has the addresses to listen on, "unix:PATH" or "tcp:HOST:PORT". At least one.
	Listen []string
	// Metrics is where GET /metrics is answered in Prometheus' text format, HOST:PORT; "" for nowhere.
	Metrics string
	// Kafka has the brokers, HOST:PORT. At least one.
	Kafka []string
	// Access is how the brokers are reached. Default: plain TCP, no user.
	Access KafkaAccess
	// APIHost is the platform's REST API: host, host:port or URL. Insecure accepts any certificate.
	APIHost  string
	Insecure bool
	// Keys are the cluster's secrets, each of at least 32 bytes: the first signs leases and seals the
	// registry's secrets, all of them are accepted, so that a key can be rotated.
	Keys [][]byte
	// RegistryTopic defaults to "weft.registry".
	RegistryTopic string
	// Topics are patterns of the platform's topics to listen to, without their prefix. Default: completed*,
	// invoker[0-9]*, health, events.
	Topics []string
	// TopicPrefix and EventsPrefix are the platform's whisk.kafka.topics.prefix, and its user-event.prefix.
	TopicPrefix, EventsPrefix string
	// InvokerSilence is how long an invoker may give no sign of life, of which it gives one a second, before
	// its workers are replaced. The platform gives up after 10 s, and an activation's time-out is minutes
	// later. Default 5 s: four signs in a row are not lost by chance.
	InvokerSilence time.Duration
	// Host names this hook, uniquely in the cluster and the same after a restart: it takes over the
	// pipelines that are its own. Default: the host's name.
	Host string
	// Logger gets JSON lines. They never have keys, tokens or parameters.
	Logger zerolog.Logger
	// Now is the wall's clock, which may be set at any time. Default time.Now.
	Now func() time.Time
	// Steady is a clock that nobody sets: the time since New. Default: the machine's.
	Steady func() time.Duration
	// PauseGrace is how long the platform leaves a container without an activation running. Default 10 s.
	PauseGrace time.Duration
	// ReturnWait is how long a proxy whose process may live may be away. Default 3 s.
	ReturnWait time.Duration
	// ClientWait is how long a worker's transfer waits for the client that has the files. Default 30 s.
	ClientWait time.Duration
	// LeaseArrival is by when a fired lease must have reached a proxy. Default 5 min.
	LeaseArrival time.Duration
	// CertLifetime is how long a slot's certificate is good: a renewal that comes with a CSR makes a new
	// one, and without that it must outlast the pipeline. Default 30 days.
	CertLifetime time.Duration
	// RingMemory bounds the memory, in bytes, that the hook makes for workers of its host: for links, and for payloads
	// that are read in place. A quarter of it is for one pipeline, three quarters of that for payloads. Beyond it links
	// go over QUIC, and payloads are copied. Default 1 GiB: about 960 links; at least
	// what gives a pipeline one.
	RingMemory int64
	// Docker is the address of the daemon that runs the action containers, as in DOCKER_HOST; "" for none.
	Docker string
	// Processes accepts processes beside the hook as workers, as the embedded platform's containers are.
	// Without it, only containers that Docker knows are.
	Processes bool
	// Attest opens the attestation. Default: attest.New.
	Attest func(context.Context, attest.Config) (Attestor, error)
	// HTTP is the client for the REST API. Default: one of its own.
	HTTP *http.Client
}

// minKey is the least length of a cluster key, in bytes.
const minKey = 32

func (c *Config) check() error {
	if len(c.Listen) == 0 || len(c.Kafka) == 0 || c.APIHost == "" {
		return errors.New("hook: needs an address to listen on, a Kafka broker and the platform's API host")
	}
	for _, a := range c.Listen {
		if _, _, err := control.Address(a); err != nil {
			return fmt.Errorf("hook: %w", err)
		}
	}
	if c.Docker == "" && !c.Processes {
		return errors.New("hook: needs Docker to say whose a container is: name its address, or accept processes, as the embedded platform's are")
	}
	if len(c.Keys) == 0 {
		return errors.New("hook: needs a cluster key")
	}
	for _, k := range c.Keys {
		if len(k) < minKey {
			return fmt.Errorf("hook: a cluster key has %d bytes, needs %d: make one with openssl rand -hex 32", len(k), minKey)
		}
	}
	if least := int64(pipelineShare * shmring.Size); c.RingMemory != 0 && c.RingMemory < least {
		return fmt.Errorf("hook: %d bytes of memory for links: want at least %d (%dMi), which is one link for each of %d pipelines",
			c.RingMemory, least, (least+1<<20-1)>>20, pipelineShare)
	}
	if err := c.Access.check(); err != nil {
		return fmt.Errorf("hook: %w", err)
	}
	c.defaults()
	return nil
}

// topicOf is the name without its prefix of a topic that is listened to; "" for others.
func (c *Config) topicOf(topic string) string {
	name, ok := strings.CutPrefix(topic, c.TopicPrefix)
	if base, events := strings.CutPrefix(topic, c.EventsPrefix); events && base == openwhisk.TopicEvents {
		name = base
	} else if !ok || name == openwhisk.TopicEvents {
		return ""
	}
	for _, pattern := range c.Topics {
		if match, _ := path.Match(pattern, name); match {
			return name
		}
	}
	return ""
}

func (c *Config) defaults() {
	if c.RegistryTopic == "" {
		c.RegistryTopic = "weft.registry"
	}
	if len(c.Topics) == 0 {
		c.Topics = []string{"completed*", "invoker[0-9]*", "health", "events"}
	}
	if c.Host == "" {
		if c.Host, _ = os.Hostname(); c.Host == "" {
			c.Host = "localhost"
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Steady == nil {
		began := time.Now()
		c.Steady = func() time.Duration { return time.Since(began) }
	}
	if c.RingMemory == 0 {
		c.RingMemory = 1 << 30
	}
	for d, v := range map[*time.Duration]time.Duration{
		&c.PauseGrace: 10 * time.Second, &c.ReturnWait: 3 * time.Second, &c.ClientWait: 30 * time.Second,
		&c.InvokerSilence: 5 * time.Second, &c.LeaseArrival: 5 * time.Minute, &c.CertLifetime: 30 * 24 * time.Hour,
	} {
		if *d <= 0 {
			*d = v
		}
	}
}
