package peer

import (
	"context"
	"errors"
	"os"

	"github.com/weft-stream/weft/bench/stage"
	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// MeshRing is a chain of Weft's meshes over shared memory, without platform and functions.
func MeshRing() stage.Chain { return stage.Chain{Peer: "mesh-shm", Link: ringLink} }

// MeshRingStill is MeshRing where nobody spins.
func MeshRingStill() stage.Chain { return stage.Chain{Peer: "mesh-shm", Link: ringLink, Server: still} }

const still = "still"

// ringLink makes what the hook makes for two workers of one host.
func ringLink(int) (l stage.Link, err error) {
	memory, err := shmring.NewMemory()
	if err != nil {
		return l, err
	}
	l.In = append(l.In, memory)
	again, err := shm.Duplicate(memory)
	if err != nil {
		return l, err
	}
	l.Out = append(l.Out, again)
	a, b, err := shm.Pair()
	if err != nil {
		return l, err
	}
	l.In, l.Out, l.Name = append(l.In, a), append(l.Out, b), "ring"
	return l, nil
}

func overMeshRing(ctx context.Context, c *stage.Config) (stage.In, stage.Out, error) {
	config := shmring.Config{Self: meshSlot(c.Index), Addr: "here", Still: c.Server == still}
	if c.Out > 0 {
		config.Broker = &oneRing{ringEnd(c.OutFile)}
	}
	tr := shmring.New(config)
	if c.In > 0 {
		tr.Offer(meshSlot(c.Index-1), ringEnd(c.InFile))
	}
	return overMesh(ctx, c, tr)
}

func ringEnd(file func(int) *os.File) shmring.End {
	return shmring.End{Memory: file(0), Socket: file(1)}
}

// oneRing is a broker with a single ring: a chain's link is made once.
type oneRing struct{ end shmring.End }

func (o *oneRing) Ring(context.Context, string, transport.Identity, int) (shmring.End, error) {
	end := o.end
	o.end = shmring.End{}
	if end.Memory == nil {
		return end, errors.New("the chain's ring is in use")
	}
	return end, nil
}
