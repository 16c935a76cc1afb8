package invokerhook

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// KafkaAccess is how the brokers are reached. The zero value is plain TCP without a user.
type KafkaAccess struct {
	// TLS encrypts the connections; see KafkaTLS. Nil: they are in clear.
	TLS *tls.Config
	// Mechanism of SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. "": no user.
	Mechanism string
	// User and Password for it. Neither is ever logged.
	User, Password string
	// Dial defaults to a net.Dialer with a time-out.
	Dial func(network, address string) (net.Conn, error)
}

// dialTime bounds the connecting to a broker.
const dialTime = 5 * time.Second

func (a *KafkaAccess) check() error {
	switch {
	case a.Mechanism == "":
		if a.User != "" || a.Password != "" {
			return errors.New("a user of Kafka without a SASL mechanism: choose PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
		}
		return nil
	case !slices.Contains([]string{sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512}, a.Mechanism):
		return fmt.Errorf("SASL mechanism %q is not known: choose PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", a.Mechanism)
	case a.User == "" || a.Password == "":
		return fmt.Errorf("SASL mechanism %s needs a user and a password of Kafka", a.Mechanism)
	}
	return nil
}

// exposed says that anybody on the way can read the password.
func (a *KafkaAccess) exposed() bool { return a.Mechanism == sarama.SASLTypePlaintext && a.TLS == nil }

// dialer makes a function what sarama asks for.
type dialer func(network, address string) (net.Conn, error)

// Dial connects to a broker.
func (d dialer) Dial(network, address string) (net.Conn, error) { return d(network, address) }

func (a *KafkaAccess) dial(network, address string) (net.Conn, error) {
	if a.Dial != nil {
		return a.Dial(network, address)
	}
	return net.DialTimeout(network, address, dialTime)
}

// config is what all of the hook's connections to Kafka share.
func (a *KafkaAccess) config() *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = "weft-hook"
	// What the oldest broker in question knows, and of newer versions only the identities of topics:
	// with each broker the versions that it has are agreed.
	c.Version = sarama.V2_8_0_0
	c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout = dialTime, 15*time.Second, 10*time.Second
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, dialer(a.dial)
	c.Net.TLS.Enable, c.Net.TLS.Config = a.TLS != nil, a.TLS
	if a.Mechanism != "" {
		c.Net.SASL.Enable, c.Net.SASL.Mechanism = true, sarama.SASLMechanism(a.Mechanism)
		c.Net.SASL.User, c.Net.SASL.Password = a.User, a.Password
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient {
			if strings.HasSuffix(a.Mechanism, "512") {
				return &scram{hash: sha512.New}
			}
			return &scram{hash: sha256.New}
		}
	}
	c.Metadata.Retry.Max, c.Metadata.Retry.Backoff = 2, 50*time.Millisecond // who needs it tries again
	c.Producer.Retry.Max, c.Producer.Retry.Backoff = 2, 50*time.Millisecond
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.MaxMessageBytes = 8 << 20
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	c.Consumer.Fetch.Default = 1 << 20
	return c
}
