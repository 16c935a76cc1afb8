package worker

import (
	"context"
	"errors"
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

// errNoRing is why two slots can't share memory, whoever asks again.
type errNoRing struct{ reason string }

func (e errNoRing) Error() string { return e.reason }

// broker has the hook make a slot's rings.
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
		return shmring.End{}, errNoRing{reply.Reason}
	}
	return endOf(files)
}

// endOf is the end of a ring that came with a message.
func endOf(files []*os.File) (shmring.End, error) {
	if len(files) != 2 {
		shm.CloseAll(files)
		return shmring.End{}, fmt.Errorf("a ring's end has 2 descriptors, the hook gave %d", len(files))
	}
	return shmring.End{Memory: files[0], Socket: files[1]}, nil
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
	end, err := endOf(files)
	if err != nil {
		return err
	}
	if a := s.assignment; o.Namespace != a.Namespace || o.Pipeline != a.Pipeline.Name || o.To != (control.Holder{Slot: a.Slot, Incarnation: a.Incarnation}) {
		end.Close() // for a slot that this worker had before; the peer sees the end
		return nil
	}
	s.rings.Offer(transport.Identity{
		Namespace: o.Namespace, Pipeline: o.Pipeline, Stage: o.From.Slot.Stage, Index: o.From.Slot.Index, Incarnation: o.From.Incarnation,
	}, end)
	return nil
}

// carrier opens the links of an edge: over shared memory where that can be had, else over QUIC, unless the
// edge wants one of the two.
type carrier struct {
	wants      pipeline.Transport
	near, far  transport.Dialer
	impossible func(error) // hears why an edge can't have the memory that it insists on
}

// Dial is transport.Dialer's.
func (c carrier) Dial(ctx context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	if c.wants == pipeline.QUIC {
		return c.far.Dial(ctx, addr, peer)
	}
	s, err := c.near.Dial(ctx, addr, peer)
	if err == nil {
		return s, nil
	}
	reason := err.Error()
	var none errNoRing
	final := errors.As(err, &none)
	if final {
		reason = none.reason
	}
	switch {
	case ctx.Err() != nil:
		return nil, err
	case c.wants != pipeline.SHM:
		s, err := c.far.Dial(ctx, addr, peer)
		if err != nil {
			return nil, err
		}
		return fallback{s, reason}, nil
	case final:
		err = fmt.Errorf("its edge wants transport: shm, which can't be had: %s", reason)
		c.impossible(fmt.Errorf("link to %s[%d]: %w", peer.Stage, peer.Index, err))
	}
	return nil, err
}

// fallback is a stream that would go over shared memory but for a reason.
type fallback struct {
	transport.Stream
	reason string
}

// Carrier is transport.Carrier's.
func (f fallback) Carrier() string {
	if c, ok := f.Stream.(transport.Carrier); ok {
		return c.Carrier() + ": " + f.reason
	}
	return ""
}
