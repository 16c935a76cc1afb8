package outlet

import (
	"encoding/binary"
	"testing"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// group is an outlet of three stages: the first has edge 4, the second 7 and an error edge 8.
func group() (*Outlet, []*Outlet) {
	var all []*Outlet
	for k, edges := range [][]Edge{{{ID: 4, To: "x"}}, {{ID: 7, To: "y"}, {ID: 8, To: "z", OnError: true}}, nil} {
		all = append(all, New(Config{Stage: string(rune('a' + k)), Edges: edges, Counts: &Counts{}}))
	}
	all[0].Fuse(all[1:])
	return all[0], all
}

// TestWhichStage: a function's number says which stage has made an output; one that it must not say is the
// first stage's, which has no such edge.
func TestWhichStage(t *testing.T) {
	o, all := group()
	for _, c := range []struct {
		edge    uint16
		failure []byte
		stage   int
		want    uint16
	}{
		{frame.AllEdges, nil, 0, frame.AllEdges},
		{frame.AllEdges - 1, nil, 1, frame.AllEdges},
		{frame.AllEdges - 2, nil, 2, frame.AllEdges},
		{frame.AllEdges - 3, nil, 0, frame.AllEdges - 3},
		{4, nil, 0, 4},
		{7, nil, 1, 7},
		{8, nil, 1, 8},
		{9, nil, 0, 9},
		{1, []byte("{}"), 1, frame.AllEdges},
		{2, []byte("{}"), 2, frame.AllEdges},
		{3, []byte("{}"), 0, 3},
	} {
		got, edge := o.of(&Output{Edge: c.edge, Failure: c.failure})
		if got != all[c.stage] || edge != c.want {
			t.Errorf("edge %d, failure %s: stage %s, edge %d; want stage %d, edge %d", c.edge, c.failure, got.config.Stage, edge, c.stage, c.want)
		}
	}
	alone := New(Config{})
	alone.Fuse(nil)
	if got, edge := alone.of(&Output{Edge: 65534}); got != alone || edge != 65534 {
		t.Errorf("without a group: %+v, edge %d", got, edge)
	}
}

func TestCountFused(t *testing.T) {
	o, all := group()
	var b []byte
	for _, n := range []uint32{1, 2, 10, 20, 100, 200} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	o.CountFused(b)
	o.CountFused(b[:13]) // one that is cut counts as far as it goes
	o.CountFused(nil)
	for k, want := range []struct{ in, out uint64 }{{0, 4}, {10, 20}, {100, 200}} {
		if in, out := all[k].config.Counts.In.Load(), all[k].config.Counts.Out.Load(); in != want.in || out != want.out {
			t.Errorf("stage %d: %d in, %d out, want %+v", k, in, out, want)
		}
	}
	New(Config{}).CountFused(b)
}
