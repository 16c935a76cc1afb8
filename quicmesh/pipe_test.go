package quicmesh_test

import (
	"context"
	"io"
	"sync"
	"testing"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// pipes is the least a transport can be: rings in memory that allocate nothing. Measured on it is the
// mesh alone.
type pipes struct {
	self   transport.Identity
	addr   string
	accept chan transport.Stream
	all    *sync.Map // address → *pipes
}

func overPipes(_ testing.TB, g *graph) {
	all := new(sync.Map)
	g.listen = func(self transport.Identity, name string) transport.Transport {
		p := &pipes{self, name, make(chan transport.Stream, 16), all}
		all.Store(name, p)
		return p
	}
}

func (p *pipes) Addr() string { return p.addr }

func (p *pipes) Dial(_ context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	to, ok := p.all.Load(addr)
	if !ok {
		return nil, transport.ErrRefused
	}
	forth, back := newRing(), newRing()
	to.(*pipes).accept <- &pipeEnd{back, forth, p.self}
	return &pipeEnd{forth, back, peer}, nil
}

func (p *pipes) Accept(ctx context.Context) (transport.Stream, error) {
	select {
	case s := <-p.accept:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Close() error { return nil }

type pipeEnd struct {
	out, in *ring
	peer    transport.Identity
}

func (e *pipeEnd) Peer() transport.Identity    { return e.peer }
func (e *pipeEnd) Write(b []byte) (int, error) { return e.out.write(b) }
func (e *pipeEnd) Read(b []byte) (int, error)  { return e.in.read(b) }
func (e *pipeEnd) Close() error {
	e.out.close()
	e.in.close()
	return nil
}

// ring is one direction.
type ring struct {
	mu     sync.Mutex
	cond   *sync.Cond
	bytes  [1 << 18]byte
	r, w   int // read and written in all
	closed bool
}

func newRing() *ring {
	r := new(ring)
	r.cond = sync.NewCond(&r.mu)
	return r
}

func (r *ring) write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := 0; ; {
		if r.closed || n == len(b) {
			if r.closed {
				return n, transport.ErrClosed
			}
			return n, nil
		}
		if free := len(r.bytes) - (r.w - r.r); free > 0 {
			at := r.w % len(r.bytes)
			k := copy(r.bytes[at:min(at+free, len(r.bytes))], b[n:])
			n, r.w = n+k, r.w+k
			r.cond.Broadcast()
			continue
		}
		r.cond.Wait()
	}
}

func (r *ring) read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.r == r.w {
		if r.closed {
			return 0, io.EOF
		}
		r.cond.Wait()
	}
	n := 0
	for n < len(b) && r.r < r.w {
		at := r.r % len(r.bytes)
		k := copy(b[n:], r.bytes[at:min(at+r.w-r.r, len(r.bytes))])
		n, r.r = n+k, r.r+k
	}
	r.cond.Broadcast()
	return n, nil
}

func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.cond.Broadcast()
}

// The way of an event allocates nothing, in batches and alone.
func TestEventsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget; run without -race")
	}
	for name, batch := range map[string]int{"alone": 1, "in batches": 100} {
		t.Run(name, func(t *testing.T) {
			g := pair(t, 0)
			overPipes(t, g)
			defer g.close()
			g.startAll()
			from, to := g.node("a", 0), g.node("b", 0)
			ctx := t.Context()
			ev := quicmesh.Event{ID: []byte("s[0]/123"), Key: []byte("key"), HasKey: true, Payload: make([]byte, 100)}
			round := func() {
				for range batch {
					if err := from.Send(ctx, 0, &ev); err != nil {
						t.Fatal(err)
					}
				}
				for got := 0; got < batch; {
					items, err := to.Receive(ctx, to.buf)
					if err != nil {
						t.Fatal(err)
					}
					for i := range items {
						items[i].Release()
					}
					got += len(items)
				}
			}
			for range 1000 {
				round() // buffers, pools and stacks grow to what they need
			}
			if allocs := testing.AllocsPerRun(1000, round); allocs > 0 {
				t.Errorf("%v allocations in a round of %d events", allocs, batch)
			}
		})
	}
}
