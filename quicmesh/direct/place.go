package direct

import (
	"context"
	"sync"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// PlaceConfig of a Place. Mesh's Transport is there already; its Near and Out are the place's to make.
type PlaceConfig struct {
	Mesh       quicmesh.Config
	Out        []OutEdge
	Broker     shmring.Broker
	Thread     bool                          // see shmring.Config
	Impossible func(error)                   // see transport.Way
	Say        func(format string, a ...any) // see transport.Way
}

// Place is a slot's place in the mesh: the mesh, rings to those beside it, and for each edge the way that its
// links go. It is in the proxy's process, or in that of the function.
type Place struct {
	*quicmesh.Mesh
	rings *shmring.Transport
	looks *transport.Looks
	ways  map[uint16]*transport.Way // by the edges' numbers
	ctx   context.Context           // of the loop
	stop  context.CancelFunc
	loops sync.WaitGroup
}

// NewPlace makes a place where nothing happens yet.
func NewPlace(c PlaceConfig) (*Place, error) {
	p := &Place{looks: transport.NewLooks(), ways: map[uint16]*transport.Way{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.rings = shmring.New(shmring.Config{Self: c.Mesh.Self, Addr: c.Mesh.Transport.Addr(), Broker: c.Broker, Thread: c.Thread})
	c.Mesh.Near = p.rings
	for _, e := range c.Out {
		w := &transport.Way{Wish: e.Wish, Near: p.rings, Far: c.Mesh.Transport, Impossible: c.Impossible, Say: c.Say}
		p.looks.Add(w)
		p.ways[e.ID] = w
		c.Mesh.Out = append(c.Mesh.Out, quicmesh.OutEdge{ID: e.ID, To: e.To, Routing: e.Routing, Replicas: e.Replicas, Return: e.Return, MaxPayload: e.MaxPayload, Dialer: w})
	}
	var err error
	if p.Mesh, err = quicmesh.New(c.Mesh); err != nil {
		_ = p.rings.Close() // nothing was sent
		return nil, err
	}
	return p, nil
}

// Open is the mesh's; links look for better ways from now on.
func (p *Place) Open(ctx context.Context) error {
	p.loops.Go(func() { p.looks.Loop(p.ctx) })
	return p.Mesh.Open(ctx)
}

// Offer hands over the end of a ring that a peer has asked for.
func (p *Place) Offer(from transport.Identity, end shmring.End) { p.rings.Offer(from, end) }

// Want changes an edge's wish.
func (p *Place) Want(edge uint16, wish string) {
	if w := p.ways[edge]; w != nil {
		w.Want(wish)
	}
}

// Look has links look for better ways at once: something has changed.
func (p *Place) Look() { p.looks.Now() }

// Close ends the mesh, and then the rings: its goodbyes go over them.
func (p *Place) Close() error {
	p.stop()
	p.loops.Wait()
	err := p.Mesh.Close()
	_ = p.rings.Close()
	return err
}
