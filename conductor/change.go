package conductor

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// maxChangeLosses bounds how often those that join a change may be lost before it is given up.
const maxChangeLosses = 3

// change is the next version of the assignment, on its way. Its steps: those who join take leases and
// become ready; everybody is told of the version and says so; a barrier makes it valid; those who leave
// are let go when it is complete. Scaling, restarts and roll-outs are all this.
type change struct {
	Reason   string         `json:"reason"` // in words
	BeganMS  int64          `json:"beganMs"`
	Replicas map[string]int `json:"replicas"` // of each stage, behind the barrier
	Joining  []*slot        `json:"joining,omitempty"`
	Losses   int            `json:"losses,omitempty"`  // of those
	Dismiss  bool           `json:"dismiss,omitempty"` // the containers of those who leave are used up
	Number   uint64         `json:"number,omitempty"`  // the version's, once announced
	Barrier  uint64         `json:"barrier,omitempty"` // that makes it valid, once drawn
}

// successor is who joins in the place of a slot.
func (c *change) successor(s pipeline.Slot) *slot {
	for _, j := range c.Joining {
		if j.Slot == s {
			return j
		}
	}
	return nil
}

// leaves tells whether a slot's holder is let go behind the barrier.
func (c *change) leaves(s *slot) bool {
	return c != nil && (s.Index >= c.Replicas[s.Stage] || c.successor(s.Slot) != nil && c.successor(s.Slot) != s)
}

func (b *Brain) joins(s *slot) bool {
	return b.s.Change != nil && slices.Contains(b.s.Change.Joining, s)
}

// watchChange takes the change under way a step further, or begins the next one.
func (b *Brain) watchChange() {
	if b.s.Phase != control.Running {
		return
	}
	c := b.s.Change
	switch {
	case c == nil:
		if b.calm() {
			b.nextChange()
		}
	case c.Barrier != 0: // it is complete sooner or later
	case !b.flows():
		b.giveUp("the sources have ended")
	case b.now-c.BeganMS >= b.s.Timing.Start:
		b.giveUp(fmt.Sprintf("not done within %s: %s", duration(b.s.Timing.Start), b.changeWaitsFor()))
	case c.Number == 0 && b.calm() && !slices.ContainsFunc(c.Joining, func(j *slot) bool { return !j.held() || j.AwayMS != 0 }):
		b.s.VersionN++
		c.Number = b.s.VersionN
		b.tellPeers()
	}
}

// calm: every slot has a ready holder, and some source flows.
func (b *Brain) calm() bool {
	return b.flows() && !slices.ContainsFunc(b.s.Slots, func(s *slot) bool { return !s.held() || !s.Ready || s.AwayMS != 0 })
}

func (b *Brain) flows() bool {
	return slices.ContainsFunc(b.s.Slots, func(s *slot) bool { return b.source(s) && !s.Ended })
}

// nextChange begins what was asked for: first other numbers of slots, then moves, one slot at a time.
func (b *Brain) nextChange() {
	if b.s.Wanted != nil && !maps.Equal(b.s.Wanted, b.counts()) {
		c := b.beginChange("scaled: "+b.scaling(b.s.Wanted), b.s.Wanted)
		for _, st := range b.s.Pipeline.Stages {
			for i := b.replicas(st.Name); i < c.Replicas[st.Name]; i++ {
				c.Joining = append(c.Joining, &slot{Slot: pipeline.Slot{Stage: st.Name, Index: i}})
			}
		}
		return
	}
	b.s.Wanted = nil
	for _, stage := range b.s.Pipeline.SinksFirst() {
		for _, s := range b.stageSlots(stage) {
			if s.Move != "" {
				b.beginMove(s)
				return
			}
		}
	}
}

func (b *Brain) beginMove(s *slot) {
	c := b.beginChange(fmt.Sprintf("%s moves: %s", s, s.Move), b.counts())
	c.Dismiss = true
	c.Joining = []*slot{{Slot: s.Slot, Position: s.Position}}
}

func (b *Brain) beginChange(reason string, replicas map[string]int) *change {
	b.s.GivenUp = ""
	b.s.Change = &change{Reason: reason, BeganMS: b.now, Replicas: maps.Clone(replicas)}
	return b.s.Change
}

// counts has the number of slots of every stage.
func (b *Brain) counts() map[string]int {
	out := map[string]int{}
	for _, st := range b.s.Pipeline.Stages {
		out[st.Name] = b.replicas(st.Name)
	}
	return out
}

// scaling says in words how numbers of slots differ from what they are.
func (b *Brain) scaling(to map[string]int) string {
	text := ""
	for _, st := range b.s.Pipeline.Stages {
		if n := b.replicas(st.Name); n != to[st.Name] {
			text += fmt.Sprintf(", %s from %d to %d", st.Name, n, to[st.Name])
		}
	}
	return text[min(2, len(text)):]
}

// changeWaitsFor says in words what holds the change up.
func (b *Brain) changeWaitsFor() string {
	for _, j := range b.s.Change.Joining {
		if !j.held() || !j.Ready {
			return fmt.Sprintf("%s: %s", j, b.missing(j))
		}
	}
	for _, s := range b.places() {
		if s.Prepared != b.s.Change.Number {
			return fmt.Sprintf("%s has not said that it knows the next version", s)
		}
	}
	return "a slot is being repaired, or is between two leases"
}

// giveUp ends a change that can't be; all stays as it is.
func (b *Brain) giveUp(reason string) {
	c := b.s.Change
	b.s.GivenUp = bounded(fmt.Sprintf("not %s: %s", c.Reason, reason), maxErrorText)
	b.note("change given up", "", b.s.GivenUp)
	if c.Barrier != 0 {
		b.abortBarrier()
	}
	b.s.Change, b.s.Wanted = nil, nil
	for _, s := range b.s.Slots {
		s.Move = ""
	}
	for _, j := range c.Joining {
		if j.held() {
			b.dismiss(j, "the change it was for is given up", c.Dismiss)
		}
	}
	if c.Number != 0 {
		b.tellPeers()
	}
}

func (b *Brain) dismiss(s *slot, reason string, usedUp bool) {
	b.do(ToWorker{Worker: s.Worker, Type: control.TypeTerminate,
		Body: control.Terminate{Term: b.s.Term, Reason: reason, Dismiss: usedUp}})
}

// withdraw takes back what was announced, after a loss: the change begins anew when that is repaired.
func (b *Brain) withdraw() {
	if c := b.s.Change; c != nil {
		c.Number, c.Barrier, c.BeganMS = 0, 0, b.now
	}
}

// loseJoining: one who joins is lost. No event has gone through it, so there is nothing to roll back.
func (b *Brain) loseJoining(s *slot, reason string) {
	c := b.s.Change
	b.note("successor lost", s.String(), reason)
	if c.Losses++; c.Losses > maxChangeLosses {
		b.giveUp(fmt.Sprintf("%s: lost %d times: %s", s, c.Losses, reason))
		return
	}
	if c.Barrier != 0 {
		b.abortBarrier()
	}
	announced := c.Number != 0
	b.withdraw()
	s.AfterMS = b.now + backoff(s.String(), c.Losses, lastBackoff)
	if announced {
		b.tellPeers()
	}
}

// prepared: a worker knows the next version.
func (b *Brain) prepared(e Prepared) {
	if s := b.speaker(e.Slot); s != nil && b.active() {
		s.Prepared = e.Version
	}
}

// due for its barrier: everybody knows the version, and those who join are ready.
func (b *Brain) changeReady() bool {
	c := b.s.Change
	if c == nil || c.Number == 0 || c.Barrier != 0 {
		return false
	}
	for _, s := range b.places() {
		if s.Prepared != c.Number {
			return false
		}
	}
	return !slices.ContainsFunc(c.Joining, func(j *slot) bool { return !j.Ready || j.between() })
}

// settle: the barrier is complete, so the version is valid everywhere. Those who leave have done all that
// was theirs.
func (b *Brain) settle() {
	c := b.s.Change
	var slots, leaving []*slot
	for _, st := range b.s.Pipeline.Stages {
		for i := range c.Replicas[st.Name] {
			s := b.slot(pipeline.Slot{Stage: st.Name, Index: i})
			if j := c.successor(pipeline.Slot{Stage: st.Name, Index: i}); j != nil {
				s = j
			}
			slots = append(slots, s)
		}
	}
	for _, s := range b.s.Slots {
		if c.leaves(s) {
			leaving = append(leaving, s)
		}
	}
	b.s.Slots, b.s.Version, b.s.Replicas, b.s.Change = slots, c.Number, c.Replicas, nil
	b.note("changed", "", fmt.Sprintf("%s; version %d of the assignment is valid from barrier %d on", c.Reason, c.Number, c.Barrier))
	b.tellPeers()
	for _, s := range leaving {
		if c.successor(s.Slot) != nil {
			b.s.Moves++
		}
		b.dismiss(s, c.Reason, c.Dismiss)
	}
}

// promote puts who was to join in the place of a holder that is lost before the change was done.
func (b *Brain) promote(lost, j *slot) {
	b.s.Change = nil
	losses, n, position := lost.Losses, lost.LossN, lost.Position // that of the last complete barrier
	b.s.Moves++
	*lost = *j
	lost.Losses, lost.LossN, lost.Position = losses, n, position
	b.note("slot taken", lost.String(), fmt.Sprintf("by the container that was to be its next, incarnation %d", lost.Incarnation))
	b.nextAttempt(lost.String())
	b.tellPeers()
	b.rollbackAll(nil)
}
