package worker

import (
	"context"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/processors"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh"
)

// statsLoop sends the slot's counters with every beat by which they have changed, to each hook anew, and once at
// the end. It looks after the processors, too.
func (s *slot) statsLoop(ctx context.Context) {
	tick := time.NewTimer(untilBeat())
	defer tick.Stop()
	if s.processors != nil {
		defer s.processors.Default()
	}
	var told control.Stats
	var to *control.Conn
	for {
		if s.processors != nil {
			s.processors.Look(processors.Used(), time.Now())
		}
		now, conn := s.stats(), s.hook.present()
		if conn != to || !reflect.DeepEqual(steady(now), told) {
			told, to = steady(now), conn
			_ = s.hook.send(control.TypeStats, now) // the next one has all that a lost one had
		}
		select {
		case <-tick.C:
			tick.Reset(untilBeat())
		case <-ctx.Done():
			_ = s.hook.send(control.TypeStats, s.stats())
			return
		}
	}
}

// steady is what is worth telling: a time to the peer and back is never the same.
func steady(s control.Stats) control.Stats {
	s.Links = slices.Clone(s.Links)
	for i := range s.Links {
		s.Links[i].RTTUS = 0
	}
	return s
}

func (s *slot) stats() control.Stats {
	out := control.Stats{
		SlotState: s.state(),
		In:        s.counts.In.Load(),
		Out:       s.counts.Out.Load(),
		Failed:    s.counts.Failed.Load(),
		Restarts:  int(s.restarts.Load()),
		PID:       os.Getpid(),
		Addr:      s.addr,
	}
	for _, c := range s.fused {
		out.Fused = append(out.Fused, control.StageCounts{Stage: c.stage, In: c.In.Load(), Out: c.Out.Load(), Failed: c.Failed.Load()})
	}
	if s.fn != nil {
		if p := s.fn.Process(); p != nil {
			out.FuncPID = p.PID()
		}
	}
	var hops quicmesh.Histogram
	for _, l := range s.mesh.Stats().Links {
		if !l.Out {
			hops.Merge(&l.Hops)
			continue
		}
		out.Links = append(out.Links, control.Link{
			Edge: l.Edge, To: pipeline.Slot{Stage: l.Peer.Stage, Index: l.Peer.Index},
			Up: l.Up, Events: l.Events, Resent: l.Resent, Bytes: l.Bytes, RTTUS: l.RTT.Microseconds(), WaitUS: l.NoCredit.Microseconds(), Carrier: l.Carrier, Reason: l.Reason,
		})
	}
	hops.Each(func(upTo int64, n uint64) {
		out.HopUS = append(out.HopUS, control.HopBucket{UpTo: upTo, Count: n})
	})
	return out
}
