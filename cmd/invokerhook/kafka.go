package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/weft-stream/weft/invokerhook"
)

// kafkaFlags say how Kafka is reached. A password comes from a file or the environment alone: what is
// on a command line, everybody on the host sees.
type kafkaFlags struct {
	brokers, topics, fingerprints list
	prefix, eventsPrefix          *string
	useTLS                        *bool
	files                         invokerhook.TLSFiles
	mechanism, user, passwordFile *string
}

func (k *kafkaFlags) define(fs *flag.FlagSet, getenv func(string) string) {
	text := func(name, env, usage string) *string {
		return fs.String(name, getenv(env), usage+" ("+env+")")
	}
	fs.Var(&k.brokers, "kafka", "Kafka broker, HOST:PORT; repeatable (WEFT_KAFKA)")
	fs.Var(&k.topics, "topics", "pattern of the platform's topics; repeatable (WEFT_TOPICS, default completed*,invoker[0-9]*,health,events)")
	k.prefix = text("topic-prefix", "WEFT_TOPIC_PREFIX", "the platform's whisk.kafka.topics.prefix")
	k.eventsPrefix = text("events-prefix", "WEFT_EVENTS_PREFIX", "the platform's whisk.kafka.topics.user-event.prefix")
	k.useTLS = fs.Bool("kafka-tls", getenv("WEFT_KAFKA_TLS") == "true", "reach Kafka with TLS; implied by the other kafka-tls options (WEFT_KAFKA_TLS=true)")
	fs.StringVar(&k.files.CA, "kafka-tls-ca", getenv("WEFT_KAFKA_TLS_CA"), "PEM file of the authorities that sign the brokers' certificates (WEFT_KAFKA_TLS_CA, default the system's)")
	fs.StringVar(&k.files.Name, "kafka-tls-name", getenv("WEFT_KAFKA_TLS_NAME"), "name in the brokers' certificates, if it is not their address; a common name will do: openwhisk-kafka of OpenWhisk's own (WEFT_KAFKA_TLS_NAME)")
	fs.Var(&k.fingerprints, "kafka-tls-fingerprint", "SHA-256 of a broker's certificate, in hex; repeatable: only these are accepted (WEFT_KAFKA_TLS_FINGERPRINT)")
	fs.StringVar(&k.files.Cert, "kafka-tls-cert", getenv("WEFT_KAFKA_TLS_CERT"), "PEM file of the hook's own certificate (WEFT_KAFKA_TLS_CERT)")
	fs.StringVar(&k.files.Key, "kafka-tls-key", getenv("WEFT_KAFKA_TLS_KEY"), "PEM file of its key (WEFT_KAFKA_TLS_KEY)")
	k.mechanism = text("kafka-sasl", "WEFT_KAFKA_SASL", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512: log in to Kafka")
	k.user = text("kafka-user", "WEFT_KAFKA_USER", "user of Kafka")
	k.passwordFile = text("kafka-password-file", "WEFT_KAFKA_PASSWORD_FILE", "file with its password; or the password in WEFT_KAFKA_PASSWORD")
}

// into fills in what the flags and the environment say.
func (k *kafkaFlags) into(cfg *invokerhook.Config, getenv func(string) string) error {
	cfg.Kafka = k.brokers.orEnv(getenv("WEFT_KAFKA"), "")
	cfg.Topics = k.topics.orEnv(getenv("WEFT_TOPICS"), "")
	cfg.TopicPrefix, cfg.EventsPrefix = *k.prefix, *k.eventsPrefix
	k.files.Fingerprints = k.fingerprints.orEnv(getenv("WEFT_KAFKA_TLS_FINGERPRINT"), "")
	f := k.files
	if *k.useTLS || f.CA != "" || f.Name != "" || f.Cert != "" || f.Key != "" || len(f.Fingerprints) > 0 {
		var err error
		if cfg.Access.TLS, err = invokerhook.KafkaTLS(f); err != nil {
			return err
		}
	}
	cfg.Access.Mechanism, cfg.Access.User = strings.ToUpper(*k.mechanism), *k.user
	cfg.Access.Password = getenv("WEFT_KAFKA_PASSWORD")
	if *k.passwordFile != "" {
		text, err := os.ReadFile(*k.passwordFile)
		if err != nil {
			return fmt.Errorf("read the password for Kafka: %w", err)
		}
		cfg.Access.Password = strings.TrimRight(string(text), "\r\n")
	}
	return nil
}
