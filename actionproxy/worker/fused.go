package worker

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/frame"
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

// within is what is known of an event in the stages behind the first. Once a process has died that had it, the
// next one tells which stage gets what.
type within struct {
	watched bool
	at      string              // the id of what the stage got that the process was in; "": the first stage
	deaths  map[string][]string // by such ids
}

func (i *within) blame(reason string) {
	if i.deaths == nil {
		i.deaths = map[string][]string{}
	}
	i.deaths[i.at] = append(i.deaths[i.at], reason)
}

// reached notes where the function is.
func (w *work) reached(a frame.Attempt, ordinal uint64, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a != w.attempt {
		return
	}
	if e := w.find(ordinal); e != nil {
		w.progress, e.at = w.now(), id
	}
}

// startBody is the payload of Start: that of the stage; of a fused group, also of how many events the function
// is to tell where it is, and on which ids a stage fails without a look. The caller holds mu.
func (w *work) startBody() []byte {
	if w.careful == 0 || !w.fused {
		return w.stage
	}
	skip := map[string]string{}
	for _, e := range w.entries {
		for id, history := range e.deaths {
			if len(history) > w.retries {
				skip[id] = outlet.Deadly(history)
			}
		}
	}
	more, _ := json.Marshal(struct {
		Careful int               `json:"careful"`
		Skip    map[string]string `json:"skip"`
	}{w.careful, skip}) // plain values always encode
	return slices.Concat(w.stage[:len(w.stage)-1], []byte{','}, more[1:])
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
