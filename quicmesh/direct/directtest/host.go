// Package directtest is what hook and proxies are to functions that hold their mesh: rings, arenas, and a socket each;
// for tests of SDKs.
package directtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/internal/wire"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/outlet"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/memnet"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// Host has a chain of stages of one slot each, all with links over shared memory.
type Host struct {
	t      testing.TB
	net    *memnet.Network
	stages []string

	mu     sync.Mutex
	offers map[transport.Identity]func(transport.Identity, shmring.End)
	arenas int
}

// Function is one that runs.
type Function struct {
	Stats chan direct.Stats // once a second in which they change
	Page  *direct.Page
	conn  *wire.Conn
}

// New makes a host of stages, in the order of an event's way. The first and the last are the test's.
func New(t testing.TB, stages ...string) *Host {
	return &Host{t: t, net: memnet.New(memnet.Config{}), stages: stages, offers: map[transport.Identity]func(transport.Identity, shmring.End){}}
}

func (h *Host) slot(stage string) transport.Identity {
	return transport.Identity{Namespace: "guest", Pipeline: "p", Stage: stage, Incarnation: 1}
}

// around gives the stages beside one; "": there is none.
func (h *Host) around(stage string) (from, to string) {
	for i, s := range h.stages {
		if s == stage {
			if i > 0 {
				from = h.stages[i-1]
			}
			if i+1 < len(h.stages) {
				to = h.stages[i+1]
			}
		}
	}
	return from, to
}

// EdgeTo is the number of the edge that leads to a stage.
func (h *Host) EdgeTo(stage string) uint16 {
	for i, s := range h.stages {
		if s == stage {
			return uint16(i - 1)
		}
	}
	panic("no stage " + stage)
}

// Everybody is the version of all slots.
func (h *Host) Everybody() quicmesh.Version {
	v := quicmesh.Version{Replicas: map[string]int{}}
	for _, s := range h.stages {
		v.Replicas[s] = 1
		v.Peers = append(v.Peers, quicmesh.Peer{Stage: s, Incarnation: 1, Addr: s})
	}
	return v
}

// Arenas is how many were made.
func (h *Host) Arenas() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.arenas
}

// ring makes one and offers its other end.
func (h *Host) ring(from, to transport.Identity) (near shmring.End, err error) {
	h.mu.Lock()
	offer := h.offers[to]
	h.mu.Unlock()
	if offer == nil {
		return near, errors.New("nobody is there yet")
	}
	var far shmring.End
	if near.Memory, err = shmring.NewMemory(); err == nil {
		if far.Memory, err = shm.Duplicate(near.Memory); err == nil {
			near.Socket, far.Socket, err = shm.Pair()
		}
	}
	if err == nil {
		offer(from, far)
	}
	return near, err
}

func (h *Host) there(self transport.Identity, offer func(transport.Identity, shmring.End)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offers[self] = offer
}

// brokerOf is a slot's.
type brokerOf struct {
	*Host
	self transport.Identity
}

// Ring is shmring.Broker's.
func (b brokerOf) Ring(_ context.Context, _ string, peer transport.Identity, _ int) (shmring.End, error) {
	return b.ring(b.self, peer)
}

// edges of a stage.
func (h *Host) edges(stage string) (out []direct.OutEdge, in []quicmesh.InEdge, edges []outlet.Edge) {
	from, to := h.around(stage)
	if to != "" {
		id := h.EdgeTo(to)
		out = []direct.OutEdge{{ID: id, To: to, Routing: route.Forward, Replicas: 1, Wish: transport.WishSHM}}
		edges = []outlet.Edge{{ID: id, To: to}}
	}
	if from != "" {
		in = []quicmesh.InEdge{{ID: h.EdgeTo(stage), From: from, Routing: route.Forward, Replicas: 1}}
	}
	return out, in, edges
}

// Place is a slot whose mesh the test itself has.
func (h *Host) Place(stage string) *direct.Place {
	self := h.slot(stage)
	c := quicmesh.Config{Self: self, Attempt: 1, Transport: h.net.Listen(self, stage), MaxPayload: 32 << 20,
		Memory: func(_ context.Context, size int) (*os.File, error) { return shm.CreateArena("test", size) }}
	var out []direct.OutEdge
	out, c.In, _ = h.edges(stage)
	p, err := direct.NewPlace(direct.PlaceConfig{Mesh: c, Out: out, Broker: brokerOf{h, self}, Impossible: func(error) {}, Say: func(string, ...any) {}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = p.Close() })
	h.there(self, p.Offer)
	if err := p.Open(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	p.Accept()
	return p
}

// Function runs one with a mesh, as its proxy would: run serves the socket until that is closed. It returns when the
// function is ready.
func (h *Host) Function(stage string, run func(socket string) error) *Function {
	t, self := h.t, h.slot(stage)
	page, file, err := direct.NewPage()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- run(path)
		_ = listener.Close()
	}()
	nc, err := listener.Accept()
	if err != nil {
		t.Fatalf("%s: it ended before it was ready: %v", stage, <-ended)
	}
	ready := make(chan struct{})
	f := &Function{Stats: make(chan direct.Stats, 1000), Page: page}
	f.conn = wire.NewConn(nc, func(m *wire.Message, _ bool, reply func(wire.Answer)) {
		switch m.Type {
		case direct.TypeReady:
			close(ready)
		case direct.TypeRing:
			var q direct.Ring
			_ = m.Decode(&q)
			end, err := h.ring(self, q.Peer)
			reply(wire.Answer{Body: direct.RingReply{}, Files: []*os.File{end.Memory, end.Socket}, Err: err})
			end.Close()
		case direct.TypeArena:
			var q direct.Arena
			_ = m.Decode(&q)
			f, err := shm.CreateArena("test", q.Size)
			h.mu.Lock()
			h.arenas++
			h.mu.Unlock()
			reply(wire.Answer{Body: direct.ArenaReply{}, Files: []*os.File{f}, Err: err})
			_ = f.Close()
		case direct.TypeDead:
			reply(wire.Answer{})
		case direct.TypeDial:
			reply(wire.Answer{Err: errors.New("there is only shared memory")})
		case direct.TypeStats:
			var s direct.Stats
			_ = m.Decode(&s)
			f.Stats <- s
		case direct.TypeFailed:
			t.Errorf("%s: %s", stage, m.Body)
		}
	})
	h.there(self, func(peer transport.Identity, end shmring.End) {
		_ = f.conn.SendFiles(direct.TypeOffer, peer, []*os.File{end.Memory, end.Socket})
		end.Close()
	})
	b := direct.Begin{Self: self, Attempt: 1, Versions: direct.Versions{Now: h.Everybody()}}
	b.Out, b.In, b.Edges = h.edges(stage)
	b.Stage, _ = json.Marshal(map[string]any{"stage": stage, "edges": outlet.ByStage(b.Edges)})
	if err := f.conn.SendFiles(direct.TypeBegin, b, []*os.File{file}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = f.conn.Close()
		if err := <-ended; err != nil {
			t.Error(fmt.Errorf("%s: %w", stage, err))
		}
		_ = file.Close()
		_ = page.Close()
	})
	select {
	case <-ready:
	case <-f.conn.Done():
		t.Fatalf("%s: it ended before it was ready", stage)
	}
	if err := f.conn.Send(direct.TypeAccept, nil, nil); err != nil {
		t.Fatal(err)
	}
	return f
}
