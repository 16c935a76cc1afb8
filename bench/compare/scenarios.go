package compare

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-stream/weft/bench/load"
	"github.com/weft-stream/weft/bench/peer"
	"github.com/weft-stream/weft/bench/stage"
)

// scenarioLimit is what one run of a scenario may take, with its start.
const scenarioLimit = 2 * time.Minute

// latencyRate is the load of latencies, in events a second: a chain is idle most of the time.
const latencyRate = 200

// plans makes the loads; quick ones are shorter.
type plans struct{ quick bool }

func (p plans) at(rate float64, payload int) load.Plan {
	seconds := 5.0
	if p.quick {
		seconds = 1.5
	}
	return load.Plan{Payload: payload, Rate: rate, Warmup: int(rate / 2), Events: int(rate * seconds), Limit: scenarioLimit}
}

// fresh is at with events that are written anew and summed up.
func (p plans) fresh(rate float64, payload int) load.Plan {
	out := p.at(rate, payload)
	out.Fresh = true
	return out
}

func (p plans) full(payload, events int) load.Plan {
	if p.quick {
		events /= 4
	}
	return load.Plan{Payload: payload, Warmup: events / 5, Events: events, Limit: scenarioLimit}
}

// calls are round trips, one after the other.
func (p plans) calls(payload, n int) load.Plan {
	if p.quick {
		n /= 4
	}
	return load.Plan{Payload: payload, Warmup: n / 5, Events: n, Limit: scenarioLimit}
}

// weft makes a scenario of a pipeline.
func weft(name, what string, stages int, p load.Plan, with peer.Weft) scenario {
	return scenario{name: name, what: what, peer: "weft", stages: stages, plan: p,
		run: func(ctx context.Context, e *env, s scenario) (load.Result, error) {
			w := with
			w.Binary, w.Stages, w.Plan = e.options.Weft, s.stages, s.plan
			return w.Run(ctx)
		}}
}

// chain makes a scenario of processes of this binary.
func chain(name, what string, stages int, p load.Plan, of func(ctx context.Context, e *env) (stage.Chain, error)) scenario {
	s := scenario{name: name, what: what, stages: stages, plan: p,
		run: func(ctx context.Context, e *env, s scenario) (load.Result, error) {
			c, err := of(ctx, e)
			if err != nil {
				return load.Result{}, err
			}
			c.Stages, c.Plan = s.stages, s.plan
			return c.Run(ctx)
		}}
	return s
}

func (s scenario) of(name string) scenario { s.peer = name; return s }
func (s scenario) plotted() scenario       { s.plot = true; return s }

// limit is a chain of the machine's own means.
func limit(c stage.Chain) func(context.Context, *env) (stage.Chain, error) {
	return func(context.Context, *env) (stage.Chain, error) { return c, nil }
}

func kafkaChain(ctx context.Context, e *env) (stage.Chain, error) {
	b, err := e.getKafka()
	c := peer.Kafka(ctx, b.addr)
	c.Measure = b.cpu
	return c, err
}

func kafkaPython(ctx context.Context, e *env) (stage.Chain, error) {
	b, err := e.getKafka()
	if err != nil {
		return stage.Chain{}, err
	}
	p, err := e.getPython()
	c := peer.KafkaPython(ctx, b.addr, p)
	c.Measure = b.cpu
	return c, err
}

func natsChain(_ context.Context, e *env) (stage.Chain, error) {
	b, err := e.getNATS()
	c := peer.NATS(b.addr)
	c.Measure = b.cpu
	return c, err
}

func jetStreamChain(_ context.Context, e *env) (stage.Chain, error) {
	b, err := e.getNATS()
	c := peer.JetStream(b.addr)
	c.Measure = b.cpu
	return c, err
}

func flink(name, what string, p load.Plan, timeout int, chained bool) scenario {
	return scenario{name: name, what: what, peer: "flink", stages: 3, plan: p,
		run: func(ctx context.Context, e *env, s scenario) (load.Result, error) {
			f, err := e.getFlink()
			if err != nil {
				return load.Result{}, err
			}
			return f.Run(ctx, s.stages, s.plan, timeout, chained)
		}}
}

func http(name, what string, p load.Plan) scenario {
	return scenario{name: name, what: what, peer: "http", stages: 2, plan: p,
		run: func(ctx context.Context, e *env, s scenario) (load.Result, error) {
			return peer.HTTP(ctx, e.options.Proxy, s.plan)
		}}
}

func platform(name, what string, stages int, p load.Plan, run func(*peer.OpenWhisk, context.Context, int, load.Plan) (load.Result, error)) scenario {
	return scenario{name: name, what: what, peer: "openwhisk", stages: stages, plan: p,
		run: func(ctx context.Context, e *env, s scenario) (load.Result, error) {
			w, err := e.getOpenWhisk()
			if err != nil {
				return load.Result{}, err
			}
			r, err := run(w, ctx, s.stages-1, s.plan)
			if w.Embedded {
				r.Note = "on the embedded platform: no measure of Apache OpenWhisk"
			}
			return r, err
		}}
}

func inProcess(name, what, of string, stages int, p load.Plan, run func(context.Context, scenario) (load.Result, error)) scenario {
	return scenario{name: name, what: what, peer: of, stages: stages, plan: p,
		run: func(ctx context.Context, _ *env, s scenario) (load.Result, error) { return run(ctx, s) }}
}

// chainLengths are the numbers of stages that are compared.
var chainLengths = []int{2, 5, 9, 17}

// payloads are the sizes in bytes that throughput is plotted over, beside 100.
var payloads = []int{1 << 10, 16 << 10, 256 << 10}

// scenarios lists all of them, in the order in which they are run.
func scenarios(quick bool) []scenario {
	p := plans{quick}
	out := append(limits(p), brokers(p)...)
	return append(append(out, others(p)...), pipelines(p)...)
}

func limits(p plans) []scenario {
	var out []scenario
	for _, size := range []struct {
		name  string
		bytes int
	}{{"64", 64}, {"1k", 1024}} {
		out = append(out, chain("futex-9-"+size.name, "futex chain of 9 processes, "+size.name, 9, p.at(latencyRate, size.bytes), limit(peer.Futex(0))).of("limits"),
			chain("futex-9-"+size.name+"-together", "the same on one processor", 9, p.at(latencyRate, size.bytes), limit(peer.FutexTogether())).of("limits"))
	}
	out = append(out,
		inProcess("channel-5", "5 goroutines and their channels", "limits", 5, p.at(1000, 64),
			func(ctx context.Context, s scenario) (load.Result, error) { return peer.Channel(ctx, s.stages, s.plan) }),
		inProcess("channel-full", "5 goroutines and their channels, as fast as it goes", "limits", 5, p.full(64, 400_000),
			func(ctx context.Context, s scenario) (load.Result, error) { return peer.Channel(ctx, s.stages, s.plan) }),
		inProcess("memcpy-1m", "memcpy of 1 MiB, in and out of a buffer of 16", "limits", 2, p.full(1<<20, 4000),
			func(_ context.Context, s scenario) (load.Result, error) { return peer.Memcpy(s.plan), nil }),
		chain("quic-2", "raw quic-go, one stream", 2, p.at(latencyRate, 64), limit(peer.QUIC())).of("limits"),
		chain("mesh-quic-2", "Weft's mesh over QUIC, no functions", 2, p.at(latencyRate, 64), func(context.Context, *env) (stage.Chain, error) { return peer.MeshQUIC() }).of("weft"),
		chain("mesh-shm-2", "Weft's mesh over shared memory, no functions", 2, p.at(latencyRate, 64), limit(peer.MeshRing())).of("weft").plotted(),
		chain("mesh-shm-9", "Weft's mesh over shared memory, no functions, 9 processes", 9, p.at(latencyRate, 64), limit(peer.MeshRing())).of("weft").plotted(),
		chain("mesh-shm-bulk", "Weft's mesh over shared memory, 1 MiB events", 2, p.full(1<<20, 4000), limit(peer.MeshRing())).of("weft"),
		chain("spin-2", "two processes that only spin, 20,000 events a second", 2, p.at(20_000, 64), limit(peer.Futex(1<<40))).of("limits"),
		chain("mesh-shm-2-20k", "Weft's mesh over shared memory, 20,000 events a second", 2, p.at(20_000, 64), limit(peer.MeshRing())).of("weft"),
		chain("mesh-shm-9-4k", "Weft's mesh over shared memory, 9 processes, 4,000 events a second", 9, p.at(4000, 64), limit(peer.MeshRing())).of("weft"),
		chain("mesh-shm-9-4k-still", "the same, and nobody spins", 9, p.at(4000, 64), limit(peer.MeshRingStill())).of("weft"),
		chain("tls-bulk", "TLS over TCP, 1 MiB writes", 2, p.full(1<<20, 3000), limit(peer.TLS())).of("limits"),
		chain("mesh-quic-bulk", "Weft's mesh over QUIC, 1 MiB events", 2, p.full(1<<20, 1200), func(context.Context, *env) (stage.Chain, error) { return peer.MeshQUIC() }).of("weft"))
	for _, c := range []stage.Chain{peer.Futex(2000), peer.Pipe(), peer.Unix(), peer.TCP(), peer.UDP()} {
		out = append(out, chain(c.Peer+"-2", "two processes and "+c.Peer+", 64 B", 2, p.at(latencyRate, 64), limit(c)).of("limits").plotted())
	}
	return out
}

func brokers(p plans) []scenario {
	out := []scenario{
		chain("kafka-9-64", "Kafka chain of 9 processes, 64 B", 9, p.at(latencyRate, 64), kafkaChain).of("kafka"),
		chain("kafka-9-1k", "Kafka chain of 9 processes, 1 KiB", 9, p.at(latencyRate, 1024), kafkaChain).of("kafka"),
		chain("kafka-py-9", "Kafka chain of 9 Python processes", 9, p.at(latencyRate/2, 100), kafkaPython).of("kafka"),
		chain("kafka-3-full", "Kafka chain of 3 processes, 100 B, as fast as it goes", 3, p.full(100, 2_000_000), kafkaChain).of("kafka"),
		chain("kafka-5-1000", "Kafka chain of 5 processes, 1,000 events a second", 5, p.at(1000, 100), kafkaChain).of("kafka"),
		chain("nats-9", "NATS chain of 9 processes, 64 B", 9, p.at(latencyRate, 64), natsChain).of("nats"),
		chain("jetstream-9", "JetStream chain of 9 processes, file store, 64 B", 9, p.at(latencyRate, 64), jetStreamChain).of("jetstream"),
	}
	for _, size := range payloads {
		out = append(out, chain(fmt.Sprint("kafka-3-full-", size), fmt.Sprintf("Kafka chain of 3 processes, %d B, as fast as it goes", size),
			3, p.full(size, 200_000_000/(size+100)), kafkaChain).of("kafka").plotted())
	}
	out = append(out, chain("kafka-5-5000", "Kafka chain of 5 processes, 5,000 events a second", 5, p.at(5000, 100), kafkaChain).of("kafka").plotted())
	for _, n := range []int{2, 5, 17} {
		out = append(out, chain(fmt.Sprint("kafka-", n, "-64"), fmt.Sprintf("Kafka chain of %d processes, 64 B", n), n, p.at(latencyRate, 64), kafkaChain).of("kafka").plotted())
	}
	return out
}

func others(p plans) []scenario {
	return []scenario{
		flink("flink-3-full", "Flink, 3 unchained operators, 100 B, as fast as it goes", p.full(100, 8_000_000), -1, false),
		flink("flink-3-1000", "Flink, 3 unchained operators, 1,000 events a second, buffer time-out 0", p.at(1000, 100), 0, false),
		flink("flink-3-chained", "Flink, 3 chained operators, 100 B, as fast as it goes", p.full(100, 16_000_000), -1, true).plotted(),
		http("http-64", "POST /run, 64 B", p.calls(64, 4000)),
		http("http-1m", "POST /run, 1 MiB", p.calls(1<<20, 200)),
		chain("grpc-9", "gRPC streams, 9 processes, 64 B", 9, p.at(latencyRate, 64), limit(peer.GRPC())).of("grpc"),
		platform("sequence-5", "OpenWhisk sequence of 5 actions", 6, p.calls(64, 100), (*peer.OpenWhisk).Sequence),
		platform("conductor-5", "OpenWhisk composition of 5 components", 6, p.calls(64, 60), (*peer.OpenWhisk).Conductor),
	}
}

func pipelines(p plans) []scenario {
	shm := peer.Weft{Language: "go"}
	quic := peer.Weft{Language: "go", Transport: "quic"}
	fused := peer.Weft{Language: "go", Fuse: "auto"}
	var out []scenario
	for _, n := range chainLengths {
		s := weft(fmt.Sprint("weft-", n, "-64"), fmt.Sprintf("Weft, %d functions in Go, 64 B", n), n, p.at(latencyRate, 64), shm)
		s.plot = n == 2
		out = append(out, s)
	}
	for _, size := range payloads {
		out = append(out, weft(fmt.Sprint("weft-3-full-", size), fmt.Sprintf("Weft, 3 functions in Go, %d B, as fast as it goes", size),
			3, p.full(size, 200_000_000/(size+100)), shm).plotted())
	}
	return append(out,
		weft("weft-5-5000", "Weft, 5 functions in Go, 5,000 events a second", 5, p.at(5000, 100), shm).plotted(),
		weft("weft-9-1k", "Weft, 9 functions in Go, 1 KiB", 9, p.at(latencyRate, 1024), shm),
		weft("weft-py-9", "Weft, 9 functions in Python", 9, p.at(latencyRate/2, 100), peer.Weft{Language: "python"}),
		weft("weft-quic-9", "Weft over QUIC, 9 functions in Go, 64 B", 9, p.at(latencyRate, 64), quic),
		weft("weft-3-full", "Weft, 3 functions in Go, 100 B, as fast as it goes", 3, p.full(100, 2_000_000), shm),
		weft("weft-5-1000", "Weft, 5 functions in Go, 1,000 events a second", 5, p.at(1000, 100), shm),
		weft("weft-3-1000", "Weft, 3 functions in Go, 1,000 events a second", 3, p.at(1000, 100), shm),
		weft("weft-ref-64", "Weft, 2 functions in Go, 64 B, 10 a second", 2, p.fresh(10, 64), shm),
		weft("weft-ref-1m", "Weft, 2 functions in Go, 1 MiB by reference, 10 a second", 2, p.fresh(10, 1<<20), shm),
		weft("weft-ref-64m", "Weft, 2 functions in Go, 64 MiB by reference, 10 a second", 2, p.fresh(10, 64<<20), shm),
		weft("weft-3-1m", "Weft, 3 functions in Go, 1 MiB", 3, p.at(20, 1<<20), shm),
		weft("weft-fused-5", "Weft, 5 fused functions in Go", 5, p.at(1000, 64), fused),
		weft("weft-fused-3-full", "Weft, 3 fused functions in Go, 100 B, as fast as it goes", 3, p.full(100, 4_000_000), fused),
		scenario{name: "weft-idle-50", what: "Weft, 50 idle workers", peer: "weft", stages: 51, plan: load.Plan{Limit: scenarioLimit},
			run: func(ctx context.Context, e *env, s scenario) (load.Result, error) {
				return peer.Idle(ctx, e.options.Weft, s.stages-1, s.plan)
			}})
}
