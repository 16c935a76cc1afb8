package worker

import (
	"context"
	"errors"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// replier is a sink that gives everything back to the pipeline's ingress, whose callers wait for it.
type replier struct {
	slot *slot
	edge uint16
}

func newReplier(s *slot) *replier {
	out, _ := meshEdges(s.assignment)
	return &replier{slot: s, edge: out[0].ID} // the only edge that leads out of a sink
}

func (r *replier) prepare(context.Context) error  { return nil }
func (r *replier) command(*control.Message) error { return nil }
func (r *replier) close()                         {}

func (r *replier) run(ctx context.Context) error {
	var items []quicmesh.Item
	for {
		var err error
		if items, err = r.slot.local.Receive(ctx, items); err != nil {
			return err
		}
		for i := range items {
			if err == nil {
				err = r.item(ctx, &items[i])
			}
			items[i].Release()
		}
		if err != nil {
			return err
		}
	}
}

func (r *replier) item(ctx context.Context, it *quicmesh.Item) error {
	switch it.Kind {
	case quicmesh.KindEvent:
		r.slot.counts.In.Add(1)
		var ev quicmesh.Event
		outlet.Input(&ev, &it.Frame)
		ev.Bypass = it.Frame.Flags&frame.Bypass != 0
		err := r.slot.local.Send(ctx, r.edge, &ev)
		if errors.Is(err, quicmesh.ErrStale) {
			return nil
		}
		r.slot.counts.Out.Add(1)
		return err
	case quicmesh.KindBarrier:
		r.slot.markBarrier(control.TypeBarrierPassed, it.Attempt, it.Barrier, 0)
	case quicmesh.KindEnd:
		r.slot.setEnded(it.Attempt)
	}
	return nil
}
