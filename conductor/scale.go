package conductor

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// CheckScale gives the numbers of slots of all stages that come of asking for those of some, or says why
// it can't be. Stages joined by forward have one number. The spec's least and most are kept: whoever
// wrote it knows how many a stage can bear.
func (b *Brain) CheckScale(asked map[string]int) (map[string]int, error) {
	if b.s.Phase != control.Running {
		return nil, fmt.Errorf("pipeline %s is %s: its stages are scaled while it runs", b.s.Pipeline.Name, b.s.Phase)
	}
	if len(asked) == 0 {
		return nil, fmt.Errorf("scale which stage of pipeline %s, and to how many?", b.s.Pipeline.Name)
	}
	out := b.counts()
	if b.s.Wanted != nil {
		out = maps.Clone(b.s.Wanted)
	}
	for name, n := range asked {
		if err := b.scalable(name, n); err != nil {
			return nil, err
		}
		for _, stage := range b.joined(name) {
			if stage == name {
				continue
			}
			if m, too := asked[stage]; too && m != n {
				return nil, fmt.Errorf("stages %s and %s are joined by forward: they have one number of slots", name, stage)
			}
			if err := b.scalable(stage, n); err != nil {
				return nil, fmt.Errorf("%s is joined to %s by forward: %w", name, stage, err)
			}
			out[stage] = n
		}
		out[name] = n
	}
	return out, nil
}

func (b *Brain) scalable(stage string, n int) error {
	st := b.s.Pipeline.Stage(stage)
	switch {
	case st == nil:
		return b.s.Pipeline.Unknown(stage)
	case st.Source != nil:
		return fmt.Errorf("stage %s is a source: how its input is split over slots is fixed by the spec", stage)
	case st.Stateful:
		return fmt.Errorf("stage %s keeps state, which can't be moved to other slots without checkpoints", stage)
	case n < st.Replicas.Min || n > st.Replicas.Max:
		return fmt.Errorf("stage %s can have %s slots, not %d: change replicas in the spec, deploy, and start again", stage, st.Replicas, n)
	}
	return nil
}

// joined lists the stages that share a stage's number of slots, and itself.
func (b *Brain) joined(stage string) []string {
	out := []string{stage}
	for i := 0; i < len(out); i++ {
		for _, e := range b.s.Pipeline.Edges {
			if e.Routing != pipeline.Forward {
				continue
			}
			for _, pair := range [][2]string{{e.From, e.To}, {e.To, e.From}} {
				if pair[0] == out[i] && !slices.Contains(out, pair[1]) {
					out = append(out, pair[1])
				}
			}
		}
	}
	return out
}

func (b *Brain) scale(e Scale) {
	wanted, err := b.CheckScale(e.Replicas)
	if err != nil {
		return
	}
	b.s.Wanted, b.s.GivenUp = wanted, ""
	if text := b.scaling(wanted); text != "" {
		b.note("scale asked for", "", text)
	}
}

// CheckRestart says why the slots of a stage, "" for all, can't get other containers.
func (b *Brain) CheckRestart(stage string) error {
	if b.s.Phase != control.Running {
		return fmt.Errorf("pipeline %s is %s: its slots are restarted while it runs", b.s.Pipeline.Name, b.s.Phase)
	}
	if stage != "" && b.s.Pipeline.Stage(stage) == nil {
		return b.s.Pipeline.Unknown(stage)
	}
	for _, st := range b.s.Pipeline.Stages {
		if st.Source != nil && st.Source.Ingress && (stage == "" || stage == st.Name) {
			return fmt.Errorf("stage %s is an ingress, at which callers wait for their answers: name another stage, or stop and start the pipeline", st.Name)
		}
		if st.Stateful && (stage == "" || stage == st.Name) {
			return fmt.Errorf("stage %s keeps state, which can't be moved to another container without checkpoints: name another stage, or stop and start the pipeline", st.Name)
		}
	}
	return nil
}

func (b *Brain) restart(e Restart) {
	if b.CheckRestart(e.Stage) != nil {
		return
	}
	b.s.GivenUp = ""
	for _, s := range b.s.Slots {
		if e.Stage == "" || s.Stage == e.Stage {
			s.Move = "restart asked for"
		}
	}
	b.note("restart asked for", e.Stage, "one slot at a time, each by a container that has its lease first")
}
