package peer_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/bench/load"
	"github.com/weft-stream/weft/bench/peer"
	"github.com/weft-stream/weft/bench/stage"
)

// The test binary is what the stages of chains are, as weft-compare is.
func TestMain(m *testing.M) {
	if os.Getenv(stage.Env) != "" {
		os.Exit(stage.Main(peer.Stages()))
	}
	os.Exit(m.Run())
}

var small = load.Plan{Payload: 64, Rate: 2000, Warmup: 10, Events: 100, Limit: time.Minute}

func whole(t *testing.T, r load.Result, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if r.Events != small.Events || load.P(r.Sent, 50) <= 0 || r.Seconds <= 0 {
		t.Errorf("%d events in %v s, p50 %v", r.Events, r.Seconds, load.P(r.Sent, 50))
	}
}

// Every peer brings every event, in order: at a rate, and as fast as it goes.
func TestChains(t *testing.T) {
	mesh, err := peer.MeshQUIC()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []stage.Chain{peer.Futex(0), peer.Futex(100), peer.Pipe(), peer.Unix(), peer.TCP(), peer.UDP(), peer.TLS(), peer.QUIC(), peer.GRPC(), mesh, peer.MeshRing()} {
		for _, rate := range []float64{small.Rate, 0} {
			if c.Peer == "udp" && rate == 0 {
				continue // it has no back-pressure
			}
			t.Run(c.Peer, func(t *testing.T) {
				c.Stages, c.Plan = 3, small
				c.Plan.Rate = rate
				r, err := c.Run(t.Context())
				whole(t, r, err)
				if r.CPU <= 0 {
					t.Error("no CPU time")
				}
			})
		}
	}
}

func TestNATS(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- peer.ServeNATS(ctx, t.TempDir(), func(addr string) { ready <- addr }) }()
	defer func() { cancel(); <-ended }()
	addr := <-ready
	for _, c := range []stage.Chain{peer.NATS(addr), peer.JetStream(addr)} {
		for _, rate := range []float64{small.Rate, 0} {
			c.Stages, c.Plan = 3, small
			c.Plan.Rate = rate
			r, err := c.Run(t.Context())
			whole(t, r, err)
		}
	}
}

func TestInProcess(t *testing.T) {
	r, err := peer.Channel(t.Context(), 4, small)
	whole(t, r, err)
	if r := peer.Memcpy(small); r.Seconds <= 0 || r.Events != small.Events {
		t.Errorf("%+v", r)
	}
}

// A chain that can't be is told of, and leaves no process behind.
func TestBrokenChain(t *testing.T) {
	c := peer.Kafka(t.Context(), "127.0.0.1:1")
	c.Link, c.Stages, c.Plan = func(int) (stage.Link, error) { return stage.Link{Name: "t"}, nil }, 2, small
	c.Plan.Limit = 20 * time.Second
	if _, err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "stage") {
		t.Errorf("no broker: %v", err)
	}
}

// Large payloads go by reference, each of them written anew: the last stage says when they were copied.
func TestPayloadsByReference(t *testing.T) {
	c := peer.MeshRing()
	c.Stages, c.Plan = 2, load.Plan{Payload: 4 << 20, Rate: 100, Warmup: 20, Events: 20, Fresh: true, Limit: time.Minute}
	if _, err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
