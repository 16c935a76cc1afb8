package worker

import (
	"cmp"
	"encoding/json"

	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// A slot of a fused group is one to everybody but its outlet, which has one for each stage, and its function,
// which is told of all of them.

// openOutlet makes the slot's outlet; of a fused group, that of the first stage with those of the others.
func (s *slot) openOutlet(dead *deadLetters) {
	of := func(stage, origin string, c *outlet.Counts) *outlet.Outlet {
		return outlet.New(outlet.Config{Mesh: s.local.Mesh, Stage: stage, Edges: outletEdges(s.assignment, origin),
			Answered: s.assignment.Pipeline.Ingress() != nil, Dead: dead.write, Counts: c})
	}
	s.outlet = of(s.stage.Name, "", s.counts)
	var others []*outlet.Outlet
	for _, c := range s.fused {
		others = append(others, of(c.stage, c.stage, c.Counts))
	}
	s.outlet.Fuse(others)
}

// fusedCounts are the counters of one stage of a group.
type fusedCounts struct {
	stage string
	*outlet.Counts
}

// directParts tells a function that holds the mesh of the stages behind the first.
func directParts(s *slot) (out []direct.Part) {
	for _, c := range s.fused {
		out = append(out, direct.Part{Stage: c.stage, Edges: outletEdges(s.assignment, c.stage)})
	}
	return out
}

// fusedBodies tells the stages of a group what each is.
func fusedBodies(s *slot) (out []stageBody) {
	for i, f := range s.stage.Fused {
		origin := f.Name
		if i == 0 {
			origin = ""
		}
		params := json.RawMessage(cmp.Or(string(s.lease.params[pipeline.FusedParameters(f.Name)]), "{}"))
		out = append(out, stageBody{f.Name, params, f.Stateful, outlet.ByStage(outletEdges(s.assignment, origin))})
	}
	return out
}
