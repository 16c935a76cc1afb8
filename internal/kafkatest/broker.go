package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// stopTime is how long an orderly stop may take; then the broker is killed.
const stopTime = 30 * time.Second

// Broker is one process of a cluster; it keeps its ports when it is started again.
type Broker struct {
	cluster                               *Cluster
	id                                    int
	dir                                   string
	controller, plain, tls, sasl, saslTLS string // addresses
	cmd                                   *exec.Cmd
	done                                  chan struct{} // closed when the process has ended
}

// Addr is the broker's plain address.
func (b *Broker) Addr() string { return b.plain }

// ID is the broker's number in the cluster.
func (b *Broker) ID() int32 { return int32(b.id) }

// PID of the process; 0 when there is none.
func (b *Broker) PID() int {
	if b.cmd == nil {
		return 0
	}
	return b.cmd.Process.Pid
}

// Start runs the broker again, and returns when the cluster has it.
func (b *Broker) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if b.cmd != nil {
		return fmt.Errorf("kafkatest: broker %d runs", b.id)
	}
	if err := b.spawn(); err != nil {
		return err
	}
	return b.cluster.Await(ctx)
}

// Stop ends the broker in order. Its data are kept.
func (b *Broker) Stop() { b.end(syscall.SIGTERM) }

// Kill ends it at once. Its data are kept.
func (b *Broker) Kill() { b.end(syscall.SIGKILL) }

func (b *Broker) end(sig syscall.Signal) {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Signal(sig)
	select {
	case <-b.done:
	case <-time.After(stopTime):
		_ = b.cmd.Process.Kill()
		<-b.done
	}
	b.cmd = nil
}

// Wipe loses the data of a stopped broker, and formats its disk as a new one.
func (b *Broker) Wipe(ctx context.Context) error {
	if b.cmd != nil {
		return fmt.Errorf("kafkatest: broker %d runs", b.id)
	}
	if err := os.RemoveAll(b.data()); err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	return b.format(ctx)
}

// Log is the end of what the broker has logged.
func (b *Broker) Log() string {
	text, err := os.ReadFile(b.path("log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

func (b *Broker) path(name string) string { return filepath.Join(b.dir, name) }
func (b *Broker) data() string            { return b.path("data") }

// java is a command of Kafka's.
func (b *Broker) java(ctx context.Context, args ...string) *exec.Cmd {
	level := "warn"
	if b.cluster.cfg.Quiet {
		level = "off"
	}
	options := append(slices.Clone(b.cluster.cfg.JVM), fmt.Sprintf("-Xmx%dm", b.cluster.cfg.HeapMB),
		"-Dorg.slf4j.simpleLogger.defaultLogLevel="+level, "-cp", filepath.Join(b.cluster.libs, "*"))
	return exec.CommandContext(ctx, "java", append(options, args...)...)
}

func (b *Broker) format(ctx context.Context) error {
	args := []string{"kafka.tools.StorageTool", "format", "--cluster-id", b.cluster.id, "--config", b.path("properties")}
	for _, u := range b.cluster.cfg.Users {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, u.Name, u.Password))
		}
	}
	if out, err := b.java(ctx, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("kafkatest: format broker %d: %w\n%s", b.id, err, out)
	}
	return nil
}

func (b *Broker) spawn() error {
	log, err := os.OpenFile(b.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	defer log.Close()
	cmd := b.java(context.Background(), "kafka.Kafka", b.path("properties"))
	cmd.Stdout, cmd.Stderr = log, log
	// A test that is killed leaves no broker behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("kafkatest: start broker %d: %w", b.id, err)
	}
	b.cmd, b.done = cmd, make(chan struct{})
	go func(done chan struct{}) { _ = cmd.Wait(); close(done) }(b.done) // ends with the process
	return nil
}

func (b *Broker) exited() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// configure writes the broker's settings.
func (b *Broker) configure() error {
	one := fmt.Sprint(min(3, b.cluster.cfg.Brokers)) // replicas of the inner topics
	isr := "1"
	if b.cluster.cfg.Brokers >= 3 {
		isr = "2"
	}
	p := map[string]string{
		"process.roles": "broker,controller", "node.id": fmt.Sprint(b.id), "controller.quorum.voters": b.cluster.voters,
		"log.dirs": b.data(), "auto.create.topics.enable": "false",
		"controller.listener.names": "CONTROLLER", "inter.broker.listener.name": "PLAIN",
		"listeners":                      "CONTROLLER://" + b.controller + ",PLAIN://" + b.plain,
		"advertised.listeners":           "PLAIN://" + b.plain,
		"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,TLS:SSL,SASL:SASL_PLAINTEXT,SASLTLS:SASL_SSL",
		// Small, and quick to start.
		"offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1", "share.coordinator.state.topic.num.partitions": "1",
		"offsets.topic.replication.factor": one, "transaction.state.log.replication.factor": one, "share.coordinator.state.topic.replication.factor": one,
		"transaction.state.log.min.isr": isr, "share.coordinator.state.topic.min.isr": isr,
		"group.initial.rebalance.delay.ms": "0", "num.network.threads": "2", "num.io.threads": "2",
		"log.cleaner.dedupe.buffer.size": "4194304", "log.cleaner.threads": "1", "controlled.shutdown.enable": "true",
		"log.segment.delete.delay.ms": "1000",
	}
	if b.cluster.cfg.TLS != nil {
		b.listenOn(p, "TLS", b.tls)
		b.secure(p)
	}
	if len(b.cluster.cfg.Users) > 0 {
		b.listenOn(p, "SASL", b.sasl)
		if b.cluster.cfg.TLS != nil {
			b.listenOn(p, "SASLTLS", b.saslTLS)
		}
		b.authenticate(p)
	}
	maps.Copy(p, b.cluster.cfg.Settings)
	var text bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&text, "%s=%s\n", key, strings.ReplaceAll(p[key], "\n", "\\n"))
	}
	if err := os.WriteFile(b.path("properties"), text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	return nil
}

func (b *Broker) listenOn(p map[string]string, name, addr string) {
	p["listeners"] += "," + name + "://" + addr
	p["advertised.listeners"] += "," + name + "://" + addr
}

// authenticate lets users log in. Who comes without a name, over the plain listener, is the test itself.
func (b *Broker) authenticate(p map[string]string) {
	p["sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
	p["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
	p["super.users"] = "User:ANONYMOUS"
	plain := `org.apache.kafka.common.security.plain.PlainLoginModule required`
	for _, u := range b.cluster.cfg.Users {
		plain += fmt.Sprintf(` user_%s="%s"`, u.Name, u.Password)
	}
	for _, listener := range []string{"sasl", "sasltls"} {
		prefix := "listener.name." + listener + "."
		p[prefix+"plain.sasl.jaas.config"] = plain + ";"
		for _, mechanism := range []string{"scram-sha-256", "scram-sha-512"} {
			p[prefix+mechanism+".sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		}
	}
}
