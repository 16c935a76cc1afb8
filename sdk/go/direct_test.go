package weft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/internal/wire"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/memnet"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

const patience = 20 * time.Second

// host is what hook and proxies are to functions that hold meshes: rings and arenas.
type host struct {
	t      *testing.T
	net    *memnet.Network
	mu     sync.Mutex
	offers map[transport.Identity]func(transport.Identity, shmring.End)
	arenas int
}

func slotOf(stage string) transport.Identity {
	return transport.Identity{Namespace: "guest", Pipeline: "p", Stage: stage, Incarnation: 1}
}

// ring makes one and offers its other end.
func (h *host) ring(from, to transport.Identity) (near shmring.End, err error) {
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

// brokerOf is a slot's.
type brokerOf struct {
	*host
	self transport.Identity
}

func (b brokerOf) Ring(_ context.Context, _ string, peer transport.Identity, _ int) (shmring.End, error) {
	return b.ring(b.self, peer)
}

// place is a slot whose mesh the test itself has.
func (h *host) place(stage, to, from string) *direct.Place {
	self := slotOf(stage)
	c := quicmesh.Config{Self: self, Attempt: 1, Transport: h.net.Listen(self, stage), MaxPayload: 32 << 20}
	var out []direct.OutEdge
	if to != "" {
		out = []direct.OutEdge{{ID: edgeTo[to], To: to, Routing: route.Forward, Replicas: 1, Wish: transport.WishSHM}}
	} else {
		c.In = []quicmesh.InEdge{{ID: edgeTo[stage], From: from, Routing: route.Forward, Replicas: 1}}
	}
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

func (h *host) there(self transport.Identity, offer func(transport.Identity, shmring.End)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offers[self] = offer
}

var edgeTo = map[string]uint16{"a": 0, "b": 1, "out": 2}

var everybody = quicmesh.Version{Replicas: map[string]int{"in": 1, "a": 1, "b": 1, "out": 1}, Peers: []quicmesh.Peer{
	{Stage: "in", Incarnation: 1, Addr: "in"}, {Stage: "a", Incarnation: 1, Addr: "a"},
	{Stage: "b", Incarnation: 1, Addr: "b"}, {Stage: "out", Incarnation: 1, Addr: "out"}}}

// function runs one with a mesh, as its proxy would. Its counters come once a second in which they change.
func (h *host) function(stage, from, to string, begin Begin) (stats chan direct.Stats) {
	t, self := h.t, slotOf(stage)
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
	go func() { ended <- meshOver(path, begin) }()
	nc, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	stats = make(chan direct.Stats, 1000)
	conn := wire.NewConn(nc, func(m *wire.Message, _ bool, reply func(wire.Answer)) {
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
		case direct.TypeDial:
			reply(wire.Answer{Err: errors.New("there is only shared memory")})
		case direct.TypeStats:
			var s direct.Stats
			_ = m.Decode(&s)
			stats <- s
		case direct.TypeFailed:
			t.Errorf("%s: %s", stage, m.Body)
		}
	})
	h.there(self, func(peer transport.Identity, end shmring.End) {
		_ = conn.SendFiles(direct.TypeOffer, peer, []*os.File{end.Memory, end.Socket})
		end.Close()
	})
	b := direct.Begin{Self: self, Attempt: 1, Versions: direct.Versions{Now: everybody}, Edges: []outlet.Edge{{ID: edgeTo[to], To: to}},
		Out:   []direct.OutEdge{{ID: edgeTo[to], To: to, Routing: route.Forward, Replicas: 1, Wish: transport.WishSHM}},
		In:    []quicmesh.InEdge{{ID: edgeTo[stage], From: from, Routing: route.Forward, Replicas: 1}},
		Stage: json.RawMessage(fmt.Sprintf(`{"stage":%q,"edges":{%q:%d}}`, stage, to, edgeTo[to]))}
	if err := conn.SendFiles(direct.TypeBegin, b, []*os.File{file}); err != nil {
		t.Fatal(err)
	}
	<-ready
	if err := conn.Send(direct.TypeAccept, nil, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = listener.Close()
		_ = file.Close()
		_ = page.Close()
	})
	return stats
}

// each is a Handler of a function.
type each func(ctx context.Context, e *Event) error

func (f each) Event(ctx context.Context, e *Event) error { return f(ctx, e) }
func (each) End(context.Context) error                   { return nil }

// TestLargePayloadsAreReadInPlace: what a function has written, encoded or by itself, the next one reads where it is.
func TestLargePayloadsAreReadInPlace(t *testing.T) {
	h := &host{t: t, net: memnet.New(memnet.Config{}), offers: map[transport.Identity]func(transport.Identity, shmring.End){}}
	out := h.place("out", "", "b")
	const size = 1 << 20
	var mu sync.Mutex
	var written []byte // by a, what it has sent last
	inPlace := 0
	h.function("b", "a", "out", func(_ context.Context, emit Emit) (Handler, error) {
		return each(func(_ context.Context, e *Event) error {
			var of struct{ Kind string }
			if err := json.Unmarshal(e.Payload, &of); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if of.Kind == "own" { // against the rules, to see that it is the same memory
				last := len(written) - 3
				if written[last]++; e.Payload[last] == written[last] {
					inPlace++
				}
			}
			emit(Output{Payload: []byte(fmt.Sprintf(`{"kind":%q,"bytes":%d}`, of.Kind, len(e.Payload)))})
			return nil
		}), nil
	})
	a := h.function("a", "in", "b", func(_ context.Context, emit Emit) (Handler, error) {
		return each(func(ctx context.Context, e *Event) error {
			switch string(e.Payload) {
			case `{"make":"own"}`:
				p := Alloc(ctx, size)
				n := copy(p, `{"kind":"own","text":"`)
				n += copy(p[n:], bytes.Repeat([]byte("x"), size-n-2))
				copy(p[n:], `"}`)
				mu.Lock()
				written = p
				mu.Unlock()
				emit(Output{Payload: p})
			case `{"make":"value"}`:
				emit(Output{Value: map[string]any{"kind": "value", "text": string(bytes.Repeat([]byte("y"), 100_000))}})
			case `{"make":"small"}`:
				emit(Output{Payload: append(Alloc(ctx, 100)[:0], `{"kind":"small"}`...)})
			default:
				emit(Output{Payload: []byte("no object")})
			}
			return nil
		}), nil
	})
	in := h.place("in", "a", "")
	in.SetVersions(everybody, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var items []quicmesh.Item
	const rounds = 10
	for range rounds {
		for _, c := range [][2]string{{"own", fmt.Sprintf(`{"kind":"own","bytes":%d}`, size)}, {"value", `{"kind":"value","bytes":100026}`},
			{"small", `{"kind":"small","bytes":16}`}} {
			if err := in.Send(ctx, edgeTo["a"], &quicmesh.Event{ID: []byte("in/0"), Payload: []byte(`{"make":"` + c[0] + `"}`)}); err != nil {
				t.Fatal(err)
			}
			var err error
			if items, err = out.Receive(ctx, items); err != nil || len(items) != 1 {
				t.Fatal(len(items), err)
			}
			if got := string(items[0].Frame.Payload); got != c[1] {
				t.Fatalf("%q came, want %q", got, c[1])
			}
			items[0].Release()
		}
	}
	// The first ones may go before the memory is lent.
	mu.Lock()
	defer mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if inPlace < rounds-2 || h.arenas != 1 {
		t.Errorf("%d of %d payloads in place, %d arenas", inPlace, rounds, h.arenas)
	}
	for referred := uint64(0); referred < 2*rounds-4; {
		select {
		case s := <-a:
			for _, l := range s.Links {
				if l.Out {
					referred = l.Referred
				}
			}
		case <-ctx.Done():
			t.Fatalf("%d of %d events by reference", referred, 2*rounds)
		}
	}
}

// TestPayloadsOfOnesOwn: as they are over a stream, and in an activation that they are a part of.
func TestPayloadsOfOnesOwn(t *testing.T) {
	begin := func(_ context.Context, emit Emit) (Handler, error) {
		return each(func(ctx context.Context, e *Event) error {
			p := Alloc(ctx, len(e.Payload)) // no more than plain memory here
			copy(p, e.Payload)
			emit(Output{Payload: p})
			return nil
		}), nil
	}
	conn := &recorder{replay{Reader: bytes.NewReader(events(1, `{ "as": "it is"}`))}, nil}
	if err := newStream(conn, begin).run(); err != nil {
		t.Fatal(err)
	}
	frames := frame.NewReader(bytes.NewReader(conn.all), 1<<20)
	for f, err := frames.Next(); ; f, err = frames.Next() {
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == frame.Data {
			if string(f.Payload) != `{ "as": "it is"}` {
				t.Errorf("%q", f.Payload)
			}
			break
		}
	}
	a, err := newActivation(begin)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		`{ "a": 1 }`: `{ "a": 1 }`,
		`{"a":1}{}`:  `{"error":"emit: the payload is not valid JSON"}`,
		`["a", "b"]`: `{"error":"emit: the payload is no JSON object; events are objects"}`,
		`{"a": "b`:   `{"error":"emit: the payload is not valid JSON"}`,
	} {
		if got := string(a.run(json.RawMessage(value))); got != want {
			t.Errorf("%s: %s", value, got)
		}
	}
}

type recorder struct {
	replay
	all []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.all = append(r.all, b...)
	return len(b), nil
}
