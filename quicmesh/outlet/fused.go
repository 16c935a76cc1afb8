package outlet

import (
	"encoding/binary"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// Fuse makes o the outlet of a group of stages in one process, and others those of the stages behind its own, in
// their order. What such a group makes has its id already, and says which of the stages has made it:
//
//	65535 − k   the edge of an output that goes to all edges of stage k
//	k           the edge of an output with Failure: an event on which stage k has failed
//
// Without others there is no group.
func (o *Outlet) Fuse(others []*Outlet) {
	if len(others) > 0 {
		o.fused = append([]*Outlet{o}, others...)
	}
}

// of is the outlet of the stage that has made an output, and the number of the edge for it.
func (o *Outlet) of(out *Output) (*Outlet, uint16) {
	if len(o.fused) == 0 {
		return o, out.Edge
	}
	if k := int(out.Edge); out.Failure != nil && k < len(o.fused) {
		return o.fused[k], frame.AllEdges
	}
	if k := frame.AllEdges - int(out.Edge); k < len(o.fused) {
		return o.fused[k], frame.AllEdges
	}
	for _, f := range o.fused {
		if f.named(out.Edge) != nil {
			return f, out.Edge
		}
	}
	return o, out.Edge
}

// CountFused takes what the stages of a group have counted since they told it last: of each the events that it
// has got, and the outputs that went to the next stage alone, 4 bytes each. Of the first stage's events we know.
func (o *Outlet) CountFused(b []byte) {
	for k, f := range o.fused {
		if len(b) < 8 {
			return
		}
		in, inside := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		if b = b[8:]; k > 0 && in > 0 {
			f.config.Counts.In.Add(uint64(in))
		}
		if inside > 0 {
			f.config.Counts.Out.Add(uint64(inside))
		}
	}
}
