package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// maxEnded bounds how many ended pipelines are remembered for status, why and logs.
const maxEnded = 256

// Hook is one sidecar: New, Open, Run, Close.
type Hook struct {
	cfg      Config
	began    time.Time // see now
	log      zerolog.Logger
	noisy    zerolog.Logger // of what others can cause at will: a few lines a second, with counts
	registry *registry
	listener *kafkaListener
	platform *platform
	attestor Attestor
	acts     *activations
	invokers invokers
	sockets  []net.Listener

	metricsServer *http.Server // nil: not asked for
	metricsAddr   string

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // all goroutines but the owners'

	mu      sync.Mutex
	owners  map[string]*owner  // by namespace/pipeline; ended ones too
	ended   []*owner           // oldest first
	workers map[string]*worker // by their ids
	boxes   map[string]*box    // action containers, by their ids
	peers   map[*peer]struct{}
	relays  map[string]*relay // by namespace/pipeline
	closing bool

	founding sync.Mutex // one start at a time

	rings    rings
	refused  refusals
	deaths   *deaths
	poisoned atomic.Uint64 // Kafka messages
}

// New checks the configuration. It does no I/O.
func New(cfg Config) (*Hook, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	h := &Hook{cfg: cfg, began: cfg.Now(), log: cfg.Logger, noisy: cfg.Logger.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second}), acts: newActivations(), platform: newPlatform(cfg),
		owners: map[string]*owner{}, workers: map[string]*worker{}, boxes: map[string]*box{}, deaths: newDeaths(), peers: map[*peer]struct{}{}, relays: map[string]*relay{}}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h, nil
}

// Open connects to Kafka, takes over the pipelines in the registry, and only then listens: a socket
// that is there means that the hook is ready. Close must be called after Open, even if it failed.
func (h *Hook) Open(ctx context.Context) error {
	v, err := newVault(h.cfg.Keys)
	if err != nil {
		return fmt.Errorf("hook: %w", err)
	}
	if err := h.openAttestor(ctx); err != nil {
		return fmt.Errorf("hook: %w", err)
	}
	if h.cfg.Access.exposed() {
		h.log.Warn().Msg("the password for Kafka goes over the wire in clear: use TLS, or SCRAM")
	}
	if h.registry, err = h.awaitRegistry(ctx, v); err != nil {
		return fmt.Errorf("hook: %w", err)
	}
	warnOfTransactions(h.registry.client, h.log)
	if h.listener, err = openKafkaListener(h); err != nil {
		return fmt.Errorf("hook: %w", err)
	}
	if err := h.recover(ctx); err != nil {
		return fmt.Errorf("hook: take over the pipelines: %w", err)
	}
	if err := h.openMetrics(ctx); err != nil {
		return fmt.Errorf("hook: %w", err)
	}
	h.tasks.Go(h.pulseLoop)
	for _, a := range h.cfg.Listen {
		l, err := listen(ctx, a)
		if err != nil {
			return fmt.Errorf("hook: %w", err)
		}
		h.sockets = append(h.sockets, l)
		if others := shares(a); h.cfg.Docker != "" && len(others) > 0 {
			h.log.Warn().Str("address", a).Strs("others", others).Msg("the socket's folder, which containers are given, has other files in it: give the socket one of its own")
		}
		h.tasks.Go(func() { h.acceptLoop(l) })
	}
	h.log.Info().Strs("listen", h.Addrs()).Msg("ready")
	return nil
}

// Addrs has the addresses the hook listens on, in the form of Config.Listen, with the ports in use.
func (h *Hook) Addrs() []string {
	var out []string
	for _, l := range h.sockets {
		out = append(out, l.Addr().Network()+":"+l.Addr().String())
	}
	return out
}

// MetricsAddr is where metrics are answered; "" when Config.Metrics asks for none.
func (h *Hook) MetricsAddr() string { return h.metricsAddr }

// Run works until ctx ends; the goroutines that Open has started do all of it.
func (h *Hook) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Close stops everything and waits for it. Pipelines go on without a hook: their streams need none,
// and the next hook takes them over.
func (h *Hook) Close() error {
	h.mu.Lock()
	if h.closing {
		h.mu.Unlock()
		return nil
	}
	h.closing = true
	var owners []*owner
	for _, o := range h.owners {
		owners = append(owners, o)
	}
	h.mu.Unlock()
	var errs []error
	// No new connections, and the path of the Unix socket goes: proxies see that there is no hook.
	for _, l := range h.sockets {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if h.metricsServer != nil {
		errs = append(errs, h.metricsServer.Close())
	}
	// Nothing is taken from Kafka any more; what is unread, the next hook looks back for.
	if h.listener != nil {
		h.listener.close()
	}
	// Owners end before the connections do, so that they don't take the ends for workers' deaths.
	for _, o := range owners {
		o.close()
	}
	h.cancel()
	h.mu.Lock()
	for p := range h.peers {
		_ = p.conn.Close()
	}
	h.mu.Unlock()
	h.tasks.Wait()
	if h.attestor != nil {
		h.attestor.Close()
	}
	h.mu.Lock()
	for _, w := range h.workers {
		w.fact.Close()
		if w.heart != nil {
			w.heart.close()
		}
	}
	h.mu.Unlock()
	h.rings.release(func(lane) bool { return true }) // both ends have their own descriptors
	// The registry last: owners wrote to it until they ended.
	if h.registry != nil {
		h.registry.close()
	}
	h.platform.close()
	return errors.Join(errs...)
}

// owner finds a pipeline by its name, namespace/pipeline; nil when there is none here.
func (h *Hook) owner(name string) *owner {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.owners[name]
}

// ownersOf lists the pipelines of a namespace, or the one named.
func (h *Hook) ownersOf(namespace, pipeline string) []*owner {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*owner
	for name, o := range h.owners {
		ns, p, _ := strings.Cut(name, "/")
		if ns == namespace && (pipeline == "" || p == pipeline) {
			out = append(out, o)
		}
	}
	return out
}

// retire remembers an ended owner for a while, and forgets the oldest beyond maxEnded.
func (h *Hook) retire(o *owner) {
	h.rings.release(func(l lane) bool { return l.from.name == o.name })
	h.mu.Lock()
	defer h.mu.Unlock()
	// Of one pipeline the last run is enough.
	h.ended = slices.DeleteFunc(h.ended, func(old *owner) bool { return old.name == o.name })
	h.ended = append(h.ended, o)
	if len(h.ended) <= maxEnded {
		return
	}
	old := h.ended[0]
	h.ended = h.ended[1:]
	if h.owners[old.name] == old {
		delete(h.owners, old.name)
	}
}
