// Package localwhisk is OpenWhisk's contract on one machine in one process:
// the REST API that wsk uses, action containers as processes of their own
// with their own loopback address, the platform's pause, idle, time-out,
// memory, throttle and placement rules, and its Kafka messages on an
// in-process broker.
//
// It is for development and tests and knows nothing of what runs on it. The
// halves are as in the real thing: the controller answers REST and writes an
// activation to topic invoker0, the invoker reads it there, runs it in a
// container of its pool, and acknowledges on topic completed0.
package localwhisk

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/weft-stream/weft/openwhisk"
)

// Platform is one running platform. Make it with New, start it with Open.
type Platform struct {
	cfg      Config
	uuid     string // of the namespace and of the key
	ctx      context.Context
	cancel   context.CancelFunc
	dir      string // for containers; removed by Close
	listener net.Listener
	server   *http.Server
	broker   *broker
	store    *store
	control  *controller
	invoker  *invoker
	engine   engine
	wg       sync.WaitGroup // the loops below
	closed   sync.Once
}

// New checks nothing and does no I/O; Open reports a bad configuration.
func New(cfg Config) *Platform {
	cfg.setDefaults()
	p := &Platform{cfg: cfg, store: newStore(cfg.ActivationsKept)}
	p.uuid, _, _ = splitAuth(cfg.Auth)
	return p
}

// Open starts everything: the broker, the invoker and, last, the REST API.
// ctx ends the platform as Close does. On an error nothing is left running.
func (p *Platform) Open(ctx context.Context) (err error) {
	if err := p.cfg.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p.ctx, p.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	p.listener, err = net.Listen("tcp", p.cfg.Listen)
	if err != nil {
		return fmt.Errorf("localwhisk: listen for the API on %s (is another platform running there?): %w", p.cfg.Listen, err)
	}
	if p.cfg.StateDir != "" {
		if err := os.MkdirAll(p.cfg.StateDir, 0o755); err != nil {
			return fmt.Errorf("localwhisk: make the state directory: %w", err)
		}
	}
	if p.dir, err = os.MkdirTemp(p.cfg.StateDir, "containers-"); err != nil {
		return fmt.Errorf("localwhisk: make a directory for containers: %w", err)
	}
	if p.broker, err = openBroker(p.cfg.Logger); err != nil {
		return err
	}
	if p.cfg.Docker == nil {
		p.engine = newLocal(p)
	} else {
		p.engine = newDocker(p)
	}
	if err := p.engine.open(); err != nil {
		p.engine = nil
		return err
	}
	p.control = newController(p)
	p.invoker = newInvoker(p)
	if err := p.broker.consume(openwhisk.TopicCompleted0, p.control.acknowledged); err != nil {
		return err
	}
	if err := p.broker.consume(openwhisk.TopicInvoker0, p.invoker.received); err != nil {
		return err
	}
	p.invoker.open()
	p.server = &http.Server{Handler: newREST(p)}
	p.wg.Go(func() { p.server.Serve(p.listener) })
	p.engine.serve(p.server.Serve)
	p.wg.Go(p.pingLoop)
	context.AfterFunc(p.ctx, func() { p.Close() })
	p.cfg.Logger.Info().Str("api", p.APIHost()).Str("kafka", p.KafkaAddr()).Msg("platform is up")
	return nil
}

// APIHost is the URL of the REST API: "http://127.0.0.1:3233".
func (p *Platform) APIHost() string {
	if p.listener == nil {
		return ""
	}
	return "http://" + p.listener.Addr().String()
}

// Auth is the key of the namespace, "uuid:key".
func (p *Platform) Auth() string { return p.cfg.Auth }

// Namespace is the name of the one namespace.
func (p *Platform) Namespace() string { return p.cfg.Namespace }

// KafkaAddr is the broker's "host:port".
func (p *Platform) KafkaAddr() string {
	if p.broker == nil {
		return ""
	}
	return p.broker.addr()
}

// Close stops everything and waits for it: callers first, then what runs on
// their behalf, then the containers, and the broker that all of them use
// last. It may be called more than once.
func (p *Platform) Close() error {
	p.closed.Do(p.close)
	return nil
}

func (p *Platform) close() {
	if p.cancel == nil {
		return // never opened
	}
	p.cancel()
	if p.server != nil {
		p.stopServing()
	} else if p.listener != nil {
		p.listener.Close()
	}
	p.wg.Wait()
	if p.control != nil {
		p.control.close()
	}
	if p.invoker != nil {
		p.invoker.close()
	}
	if p.engine != nil {
		p.engine.close()
	}
	if p.broker != nil {
		p.broker.close()
	}
	if p.dir != "" {
		if err := os.RemoveAll(p.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			p.cfg.Logger.Warn().Err(err).Msg("remove the containers' directory")
		}
	}
}

// stopServing waits for the calls being answered, which the end of the
// platform's context cuts short.
func (p *Platform) stopServing() {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	if p.server.Shutdown(ctx) != nil {
		p.server.Close()
	}
}

// randomHex is n random bytes as 2n hex digits.
func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// randomText is n random letters and digits.
func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = alphanumeric[int(b[i])%len(alphanumeric)]
	}
	return string(b)
}
