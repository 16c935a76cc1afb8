package worker

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// ringWait is how long the hook is waited for: without it links go over QUIC.
const ringWait = time.Second

// broker has the hook make a slot's rings and arenas.
type broker struct {
	hook *hookConn
	self transport.Identity
}

// Ring is shmring.Broker's.
func (b broker) Ring(ctx context.Context, _ string, peer transport.Identity, lane int) (shmring.End, error) {
	ctx, cancel := context.WithTimeout(ctx, ringWait)
	defer cancel()
	conn, err := b.hook.get(ctx)
	if err != nil {
		return shmring.End{}, err
	}
	var reply control.RingReply
	files, err := conn.CallFiles(ctx, control.TypeRing, control.Ring{
		Namespace: b.self.Namespace, Pipeline: b.self.Pipeline, From: holderOf(b.self), To: holderOf(peer), Lane: lane,
	}, &reply)
	switch {
	case err != nil:
		return shmring.End{}, fmt.Errorf("ask the hook for memory: %w", err)
	case reply.Reason != "":
		shm.CloseAll(files)
		return shmring.End{}, transport.NotNear{Reason: reply.Reason, Later: reply.Later}
	}
	return shmring.EndOf(files)
}

// arena makes memory for a slot's payloads; reason is why there is none.
func (b broker) arena(ctx context.Context, size int) (f *os.File, reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, ringWait)
	defer cancel()
	conn, err := b.hook.get(ctx)
	if err != nil {
		return nil, "", err
	}
	var reply control.ArenaReply
	files, err := conn.CallFiles(ctx, control.TypeArena, control.Arena{
		Namespace: b.self.Namespace, Pipeline: b.self.Pipeline, Of: holderOf(b.self), Size: int64(size),
	}, &reply)
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("ask the hook for memory: %w", err)
	case reply.Reason != "":
		shm.CloseAll(files)
		return nil, reply.Reason, nil
	case len(files) != 1:
		shm.CloseAll(files)
		return nil, "", fmt.Errorf("an arena has 1 descriptor, the hook gave %d", len(files))
	}
	return files[0], "", nil
}

func holderOf(i transport.Identity) control.Holder {
	return control.Holder{Slot: pipeline.Slot{Stage: i.Stage, Index: i.Index}, Incarnation: i.Incarnation}
}

// offered takes the other end of a ring that a peer has asked for. Who the peer is, the hook says.
func (s *slot) offered(m *control.Message) error {
	files := m.Take()
	var o control.Offer
	if err := m.Decode(&o); err != nil {
		shm.CloseAll(files)
		return err
	}
	end, err := shmring.EndOf(files)
	if err != nil {
		return err
	}
	if a := s.assignment; o.Namespace != a.Namespace || o.Pipeline != a.Pipeline.Name || o.To != (control.Holder{Slot: a.Slot, Incarnation: a.Incarnation}) {
		end.Close() // for a slot that this worker had before; the peer sees the end
		return nil
	}
	s.mesh.Offer(transport.Identity{
		Namespace: o.Namespace, Pipeline: o.Pipeline, Stage: o.From.Slot.Stage, Index: o.From.Slot.Index, Incarnation: o.From.Incarnation,
	}, end)
	return nil
}
