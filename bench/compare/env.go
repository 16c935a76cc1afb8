package compare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/weft-stream/weft/bench/load"
	"github.com/weft-stream/weft/bench/machine"
	"github.com/weft-stream/weft/bench/peer"
	"github.com/weft-stream/weft/internal/kafkatest"
)

// env starts what peers need when it is first asked for, and stops it at the end.
type env struct {
	options Options
	ctx     context.Context
	stops   []func()

	kafka     lazy[broker]
	nats      lazy[broker]
	flink     lazy[*peer.Flink]
	python    lazy[peer.Python]
	openwhisk lazy[*peer.OpenWhisk]
}

// broker is a server of the harness, or the user's (pid 0).
type broker struct {
	addr string
	pid  int
}

// cpu gives what a chain's Measure wants: the server's CPU time of a span.
func (b broker) cpu() func() float64 {
	if b.pid == 0 {
		return func() float64 { return 0 }
	}
	before := machine.TreeCPU(b.pid)
	return func() float64 { return machine.TreeCPU(b.pid).Since(before).All() }
}

// lazy is made once; an error stays.
type lazy[T any] struct {
	made  bool
	value T
	err   error
}

func (l *lazy[T]) get(make func() (T, error)) (T, error) {
	if !l.made {
		l.made = true
		if l.value, l.err = make(); l.err != nil {
			l.err = &missingError{l.err}
		}
	}
	return l.value, l.err
}

func newEnv(ctx context.Context, o Options) *env { return &env{options: o, ctx: ctx} }

// close stops everything, the last first.
func (e *env) close() {
	for i := len(e.stops) - 1; i >= 0; i-- {
		e.stops[i]()
	}
}

// getKafka starts a broker as Apache Kafka's own scripts do, but on loopback and in one process.
func (e *env) getKafka() (broker, error) {
	return e.kafka.get(func() (broker, error) {
		if e.options.Kafka != "" {
			return broker{addr: e.options.Kafka}, nil
		}
		e.options.Progress("starting Apache Kafka " + kafkatest.Version)
		c, err := kafkatest.Start(e.ctx, kafkatest.Config{Dir: filepath.Join(e.options.Dir, "kafka"), HeapMB: 1024, Quiet: true,
			// The options of Kafka's own start script.
			JVM:      []string{"-server", "-Xms1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"},
			Settings: map[string]string{"num.network.threads": "3", "num.io.threads": "8"}})
		if err != nil {
			return broker{}, err
		}
		e.stops = append(e.stops, func() { _ = c.Close() })
		b := broker{addr: c.Addrs()[0], pid: c.Brokers[0].PID()}
		return b, e.warm(b)
	})
}

// warm lets a new broker's Java compile what it needs: a broker that has just started is several times
// slower, and no user's is new.
func (e *env) warm(b broker) error {
	for _, plan := range []load.Plan{
		{Payload: 100, Events: 1_000_000, Limit: scenarioLimit},
		{Payload: 100, Rate: 2000, Events: 6000, Limit: scenarioLimit},
	} {
		c := peer.Kafka(e.ctx, b.addr)
		c.Stages, c.Plan = 3, plan
		if _, err := c.Run(e.ctx); err != nil {
			return fmt.Errorf("warm Kafka up: %w", err)
		}
	}
	return nil
}

// EnvNATS makes this binary a NATS server, with its store in the folder that is the value.
const EnvNATS = "WEFT_BENCH_NATS"

// ServeNATS is the whole of that process.
func ServeNATS(ctx context.Context) error {
	return peer.ServeNATS(ctx, os.Getenv(EnvNATS), func(addr string) { fmt.Println(addr) })
}

func (e *env) getNATS() (broker, error) {
	return e.nats.get(func() (broker, error) {
		self, err := os.Executable()
		if err != nil {
			return broker{}, err
		}
		cmd := exec.CommandContext(e.ctx, self)
		cmd.Env = append(os.Environ(), EnvNATS+"="+filepath.Join(e.options.Dir, "nats"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return broker{}, err
		}
		if err := cmd.Start(); err != nil {
			return broker{}, err
		}
		e.stops = append(e.stops, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		addr, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			return broker{}, errors.New("the NATS server ended before it was ready")
		}
		return broker{addr: strings.TrimSpace(addr), pid: cmd.Process.Pid}, nil
	})
}

func (e *env) getFlink() (*peer.Flink, error) {
	return e.flink.get(func() (*peer.Flink, error) { return peer.NewFlink(e.ctx, e.options.Dir) })
}

func (e *env) getPython() (peer.Python, error) {
	return e.python.get(func() (peer.Python, error) { return peer.NewPython(e.ctx, e.options.Dir) })
}

func (e *env) getOpenWhisk() (*peer.OpenWhisk, error) {
	return e.openwhisk.get(func() (*peer.OpenWhisk, error) {
		o := e.options
		w, err := peer.NewOpenWhisk(e.ctx, o.Weft, o.Dir, o.APIHost, o.Auth, o.Insecure)
		if err == nil {
			e.stops = append(e.stops, w.Close)
		}
		return w, err
	})
}
