package conductor

import (
	"fmt"
	"maps"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// Phase is the pipeline's.
func (b *Brain) Phase() control.Phase { return b.s.Phase }

// Term is the owner's.
func (b *Brain) Term() uint32 { return b.s.Term }

// KeySeed is Config's: of the hash of keys.
func (b *Brain) KeySeed() uint64 { return b.s.KeySeed }

// Pipeline is Config's. Callers must not change what it points to.
func (b *Brain) Pipeline() pipeline.Pipeline { return b.s.Pipeline }

// Peers lists the holders, for an Assignment.
func (b *Brain) Peers() []control.Peer {
	peers := []control.Peer{}
	for _, s := range b.s.Slots {
		if s.held() {
			peers = append(peers, peerOf(s))
		}
	}
	return peers
}

// Assignment is the version of it that is valid, and the next one, nil unless one is announced.
func (b *Brain) Assignment() (now control.Holders, next *control.Holders) {
	now = control.Holders{Version: b.s.Version, Replicas: maps.Clone(b.s.Replicas), Peers: b.Peers()}
	c := b.s.Change
	if c == nil || c.Number == 0 {
		return now, nil
	}
	next = &control.Holders{Version: c.Number, Replicas: maps.Clone(c.Replicas)}
	for _, s := range b.places() {
		if s.held() && !c.leaves(s) {
			next.Peers = append(next.Peers, peerOf(s))
		}
	}
	return now, next
}

func peerOf(s *slot) control.Peer {
	return control.Peer{Slot: s.Slot, Incarnation: s.Incarnation, Addr: s.Addr}
}

// Why is what happened, oldest first, at most 200 entries.
func (b *Brain) Why() []control.WhyEntry { return append([]control.WhyEntry(nil), b.s.Why...) }

// StageReady says whether all slots of a stage are ready, or have been in a pipeline that has ended in
// order. err is why they never will be.
func (b *Brain) StageReady(stage string) (ready bool, err string) {
	slots := b.stageSlots(stage)
	switch {
	case len(slots) == 0:
		return false, "pipeline " + b.s.Pipeline.Name + " has no stage " + stage
	case b.s.Phase == control.Failed:
		return false, b.s.Error
	case b.s.StopMS != 0:
		return false, "the pipeline was stopped"
	case b.s.Phase == control.Ended:
		return true, ""
	}
	for _, s := range slots {
		if !s.held() || !s.Ready {
			return false, ""
		}
	}
	return true, ""
}

// Status is the brain's part of what weft status shows; the workers' counters are the hook's.
func (b *Brain) Status() control.PipelineStatus {
	st := control.PipelineStatus{
		Namespace: b.s.Namespace, Name: b.s.Pipeline.Name, Phase: b.s.Phase, Error: b.s.Error,
		Term: b.s.Term, Attempt: b.s.Attempt, Barrier: b.s.Barrier,
		Restarts: b.restarts(), RestartsBy: maps.Clone(b.s.Restarts), Renewals: b.s.Renewals, Moves: b.s.Moves,
		Version: b.s.Version, Replicas: b.counts(), Wanted: maps.Clone(b.s.Wanted), GivenUp: b.s.GivenUp,
	}
	if c := b.s.Change; c != nil {
		st.Change = fmt.Sprintf("%s; it waits: %s", c.Reason, b.changeWaitsFor())
	}
	leased := map[string]int{}
	for _, l := range b.s.Leases {
		if l.AtMS == 0 {
			leased[l.Stage]++
		}
	}
	early := b.early()
	for _, s := range b.s.Slots {
		state := s.status(leased)
		if early[s.Stage] && state == "ready" {
			state = "taken"
		}
		shown := s.show(state)
		for _, f := range b.s.Pipeline.Stage(s.Stage).Fused {
			if f.Name != s.Stage {
				shown.Fused = append(shown.Fused, control.StageCounts{Stage: f.Name})
			}
		}
		st.Slots = append(st.Slots, shown)
	}
	st.Unfused = b.s.Pipeline.Unfused()
	if c := b.s.Change; c != nil {
		for _, j := range c.Joining {
			if j.held() {
				st.Slots = append(st.Slots, j.show("joining"))
			}
		}
	}
	st.StandBys = b.standByStatus()
	return st
}

func (s *slot) show(state string) control.SlotStatus {
	return control.SlotStatus{Slot: s.Slot, State: state, Incarnation: s.Incarnation, ActivationID: s.Activation,
		Addr: s.Addr, Moving: s.Move != "", Action: s.Action}
}

// early lists, during the start, the stages before one that isn't ready. Words come on a connection for
// each worker: that of a source may be here before that of a sink it had to wait for.
func (b *Brain) early() map[string]bool {
	out := map[string]bool{}
	if b.s.Phase != control.Starting {
		return out
	}
	for _, stage := range b.s.Pipeline.SinksFirst() {
		for _, e := range b.s.Pipeline.Edges {
			if e.From != stage {
				continue
			}
			if ready, _ := b.StageReady(e.To); !ready || out[e.To] {
				out[stage] = true
			}
		}
	}
	return out
}

// status is the slot's state in a word. An empty slot counts one of its stage's leases as its own.
func (s *slot) status(leased map[string]int) string {
	switch {
	case s.held() && s.Ended:
		return "ended"
	case s.held() && s.Ready:
		return "ready"
	case s.held():
		return "taken"
	case leased[s.Stage] > 0:
		leased[s.Stage]--
		return "leased"
	case s.LossN > 0:
		return "lost"
	}
	return "empty"
}
