package peer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/weft-stream/weft/bench/load"
	"github.com/weft-stream/weft/bench/stage"
	"github.com/weft-stream/weft/internal/processors"
	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/quicnet"
)

// MeshQUIC is a chain of Weft's meshes over QUIC, without platform and functions: frames, credit, replay
// and mTLS are all there. It is what bare quic-go is compared with.
func MeshQUIC() (stage.Chain, error) {
	ca, err := identity.NewCA(meshNamespace, meshPipeline, time.Now())
	if err != nil {
		return stage.Chain{}, err
	}
	cert, key, err := ca.Marshal()
	if err != nil {
		return stage.Chain{}, err
	}
	authority, err := json.Marshal([2]string{base64.StdEncoding.EncodeToString(cert), base64.StdEncoding.EncodeToString(key)})
	return stage.Chain{Peer: "mesh-quic", Server: string(authority), Link: func(int) (stage.Link, error) { return loopbackUDP() }}, err
}

const meshNamespace, meshPipeline = "bench", "chain"

// meshSlot is the identity of a stage; every stage has one slot.
func meshSlot(i int) transport.Identity {
	return transport.Identity{Namespace: meshNamespace, Pipeline: meshPipeline, Stage: fmt.Sprint("s", i), Incarnation: 1}
}

func overMeshQUIC(ctx context.Context, c *stage.Config) (stage.In, stage.Out, error) {
	tr, err := meshTransport(c)
	if err != nil {
		return nil, nil, err
	}
	return overMesh(ctx, c, tr)
}

func overMesh(ctx context.Context, c *stage.Config, tr transport.Transport) (in stage.In, out stage.Out, err error) {
	config := quicmesh.Config{Self: meshSlot(c.Index), Alone: true, Attempt: 1, Transport: tr, Window: 4 << 20, MaxPayload: max(c.Plan.Payload, 8<<20)}
	if c.Plan.Rate > 0 { // under full load they would have all of them after a second, longer than such a run is
		scaleProcessors(ctx)
	}
	if c.Plan.Fresh {
		config.Memory = func(_ context.Context, size int) (*os.File, error) { return shm.CreateArena("bench", size) }
	}
	if c.Index > 0 {
		config.In = []quicmesh.InEdge{{ID: uint16(c.Index - 1), From: meshSlot(c.Index - 1).Stage, Routing: route.Forward, Replicas: 1}}
	}
	if c.Index < c.Stages-1 {
		config.Out = []quicmesh.OutEdge{{ID: uint16(c.Index), To: meshSlot(c.Index + 1).Stage, Routing: route.Forward, Replicas: 1}}
	}
	m, err := quicmesh.New(config)
	if err != nil {
		return nil, nil, err
	}
	if err := m.Open(ctx); err != nil {
		return nil, nil, err
	}
	m.Accept()
	if c.Index < c.Stages-1 {
		m.SetPeers([]quicmesh.Peer{{Stage: meshSlot(c.Index + 1).Stage, Incarnation: 1, Addr: c.OutName()}})
		if err := m.WaitLinks(ctx); err != nil {
			return nil, nil, err
		}
		out = &meshOut{ctx: ctx, mesh: m, edge: uint16(c.Index), fresh: c.Plan.Fresh}
	}
	if c.Index > 0 {
		in = &meshIn{ctx: ctx, mesh: m, plan: c.Plan}
	}
	return in, out, nil
}

// scaleProcessors has this process use as many as proxies and functions do: one to begin with.
func scaleProcessors(ctx context.Context) {
	scale := processors.New(processors.Set(), runtime.GOMAXPROCS(0))
	if scale == nil {
		return
	}
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			scale.Look(processors.Used(), time.Now())
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
}

func meshTransport(c *stage.Config) (transport.Transport, error) {
	var authority [2][]byte
	if err := json.Unmarshal([]byte(c.Server), &authority); err != nil {
		return nil, err
	}
	ca, err := identity.UnmarshalCA(authority[0], authority[1])
	if err != nil {
		return nil, err
	}
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	self := meshSlot(c.Index)
	der, err := ca.Sign(key.Request(), self, time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	config := quicnet.Config{Self: self, CA: ca.Pool()}
	if config.Cert, err = key.Certificate(der); err != nil {
		return nil, err
	}
	if c.In > 0 {
		if config.PacketConn, err = net.FilePacketConn(c.InFile(0)); err != nil {
			return nil, err
		}
	}
	return quicnet.New(config)
}

// meshIn takes batches; an event is released when the next one is asked for.
type meshIn struct {
	ctx   context.Context
	mesh  *quicmesh.Mesh
	plan  load.Plan
	buf   []quicmesh.Item
	items []quicmesh.Item
	at    int
}

func (i *meshIn) Next() ([]byte, error) {
	if i.at > 0 {
		i.items[i.at-1].Release()
	}
	for i.at == len(i.items) {
		items, err := i.mesh.Receive(i.ctx, i.buf)
		if err != nil {
			return nil, err
		}
		i.buf, i.items, i.at = items, items, 0
	}
	i.at++
	return i.items[i.at-1].Frame.Payload, nil
}

func (i *meshIn) More() bool { return i.at < len(i.items) }

// Finish sees to it that large payloads were not copied, where that is what is measured.
func (i *meshIn) Finish() error {
	if n := i.mesh.Stats().Links[0].Referred; i.plan.Fresh && i.plan.Payload >= 1<<20 && n < uint64(i.plan.Events) {
		return fmt.Errorf("only %d payloads of %d came by reference", n, i.plan.Warmup+i.plan.Events)
	}
	return nil
}

type meshOut struct {
	ctx    context.Context
	mesh   *quicmesh.Mesh
	edge   uint16
	fresh  bool          // events are
	region *arena.Region // that Memory gave last
}

// Memory is for the next event.
func (o *meshOut) Memory(n int) ([]byte, error) {
	o.region = o.mesh.Alloc(o.ctx, n)
	return o.region.Bytes(), nil
}

func (o *meshOut) Send(b []byte) error {
	err := o.mesh.Send(o.ctx, o.edge, &quicmesh.Event{Payload: b})
	if o.region != nil {
		o.region.Release()
		o.region = nil
	}
	return err
}

// Flush does nothing: an event is on its way when Send returns. But where the next one is written anew at once, that
// would keep this one's writer from the processor.
func (o *meshOut) Flush() error {
	if !o.fresh {
		return nil
	}
	return o.mesh.Flush()
}
