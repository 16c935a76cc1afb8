package conductor

import (
	"fmt"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// watchBarrier draws the next barrier when it is time and all is well, and gives up one that takes
// too long. One that makes a version valid is drawn at once and not given up: sends may wait for it.
func (b *Brain) watchBarrier() {
	p, c := &b.s.Progress, b.s.Change
	if p.Number != 0 {
		if b.now-p.BeganMS >= b.s.Timing.BarrierTimeout && (c == nil || c.Barrier == 0) {
			b.note("barrier given up", "", fmt.Sprintf("barrier %d is not complete after %s; it waits for %s",
				p.Number, duration(b.s.Timing.BarrierTimeout), p.waitsFor()))
			b.abortBarrier()
		}
		return
	}
	change := b.changeReady()
	if b.s.Phase != control.Running || b.s.Suspend != nil || !change && (b.releasing() || b.now-p.LastMS < b.barrierEvery()) || !b.barrierPossible(change) {
		return
	}
	n := max(b.s.Barrier, b.s.Skip) + 1
	if change {
		c.Barrier = n
	}
	b.draw(n)
}

// maxIdle bounds how often the time to the next barrier is doubled while no source goes on.
const maxIdle = 2

// barrierEvery is the time between two barriers, in ms. One wakes every worker, and of a pipeline through
// which nothing goes there is nothing to mark.
func (b *Brain) barrierEvery() int64 {
	return b.s.Timing.BarrierEvery << min(b.s.Progress.Idle, maxIdle)
}

// draw begins a barrier: sources are ordered to cut their streams. A source that joins does so when the
// one it follows has.
func (b *Brain) draw(n uint64) {
	b.s.Progress = progress{Number: n, BeganMS: b.now, LastMS: b.now, Idle: b.s.Progress.Idle}
	b.setMarks()
	for _, m := range b.s.Progress.Marks {
		b.order(m)
	}
}

// drawAgain takes up the barrier of a version that was under way when the last owner died. Workers that
// come back say again what they have said on it.
func (b *Brain) drawAgain(n uint64) {
	b.s.Progress = progress{Number: n, BeganMS: b.now, LastMS: b.now}
	b.setMarks()
}

// setMarks lists who has to say something on the barrier.
func (b *Brain) setMarks() {
	among := b.s.Slots
	if b.ordersChange() {
		among = b.places()
	}
	for _, s := range among {
		if b.source(s) || b.sink(s) {
			b.s.Progress.Marks = append(b.s.Progress.Marks, &mark{Slot: s.Slot, Incarnation: s.Incarnation, Done: s.Ended, Position: s.Position})
		}
	}
}

// ordersChange tells whether the barrier under way makes a version valid.
func (b *Brain) ordersChange() bool {
	return b.s.Change != nil && b.s.Change.Barrier != 0 && b.s.Change.Barrier == b.s.Progress.Number
}

// order tells a source to cut its stream, unless it has to wait for the one it follows.
func (b *Brain) order(m *mark) {
	s := b.speaker(Holder{m.Slot, m.Incarnation})
	if s == nil || m.Done || !b.source(s) {
		return
	}
	body := control.Barrier{Term: b.s.Term, Attempt: b.s.Attempt, Barrier: b.s.Progress.Number}
	if b.ordersChange() {
		body.Version = b.s.Change.Number
	}
	body.Pause = b.s.Suspend != nil && b.s.Suspend.Barrier == body.Barrier
	if b.joins(s) {
		before := b.followed(m)
		if before == nil || !before.Done {
			return
		}
		body.Position = before.Position
	}
	b.do(ToWorker{Worker: s.Worker, Type: control.TypeBarrier, Body: body})
}

// orderAgain repeats the order to a source that has come back.
func (b *Brain) orderAgain(s *slot) {
	for _, m := range b.s.Progress.Marks {
		if m.Slot == s.Slot && m.Incarnation == s.Incarnation {
			b.order(m)
		}
	}
}

// followed is the mark of the source that the one of m follows.
func (b *Brain) followed(m *mark) *mark {
	for _, x := range b.s.Progress.Marks {
		if x.Slot == m.Slot && x.Incarnation < m.Incarnation {
			return x
		}
	}
	return nil
}

// barrierPossible: every slot has a ready holder with an open lease, and some source still flows. For a
// change, those who leave need no lease.
func (b *Brain) barrierPossible(change bool) bool {
	flows := false
	for _, s := range b.s.Slots {
		if !s.held() || !s.Ready || s.AwayMS != 0 || s.between() && !(change && b.s.Change.leaves(s)) {
			return false
		}
		flows = flows || b.source(s) && !s.Ended
	}
	return flows
}

func (p *progress) waitsFor() pipeline.Slot {
	for _, m := range p.Marks {
		if !m.Done {
			return m.Slot
		}
	}
	return pipeline.Slot{}
}

// abortBarrier forgets the barrier under way; its number isn't used again.
func (b *Brain) abortBarrier() {
	b.s.Skip = max(b.s.Skip, b.s.Progress.Number)
	b.s.Progress = progress{LastMS: b.s.Progress.LastMS}
}

func (b *Brain) barrierAt(e BarrierAt) {
	s := b.speaker(e.Slot)
	if s != nil && b.active() && b.source(s) && e.Attempt == b.s.Attempt && e.Barrier == b.s.Progress.Number {
		b.marked(s, e.Position)
	}
}

func (b *Brain) barrierPassed(e BarrierPassed) {
	s := b.speaker(e.Slot)
	if s != nil && b.active() && b.sink(s) && e.Attempt == b.s.Attempt && e.Barrier == b.s.Progress.Number {
		b.marked(s, 0)
	}
}

// marked notes a source's or a sink's part; with the last one the barrier is complete.
func (b *Brain) marked(s *slot, position int64) {
	p := &b.s.Progress
	if p.Number == 0 {
		return
	}
	whole := true
	for _, m := range p.Marks {
		if m.Slot == s.Slot && m.Incarnation == s.Incarnation && !m.Done {
			m.Done, m.Position = true, position
			for _, next := range p.Marks { // who follows it knows now where to begin
				if next.Slot == m.Slot && next.Incarnation > m.Incarnation {
					b.order(next)
				}
			}
		}
		whole = whole && m.Done
	}
	if whole {
		b.completeBarrier()
	}
}

// completeBarrier: everything before it is confirmed, so a rollback starts here and not before.
func (b *Brain) completeBarrier() {
	p, change := b.s.Progress, b.ordersChange()
	b.s.Barrier = p.Number
	idle := p.Idle + 1
	for _, m := range p.Marks {
		if s := b.speaker(Holder{m.Slot, m.Incarnation}); s != nil && b.source(s) {
			if s.Position != m.Position {
				idle = 0
			}
			s.Position = m.Position
		}
	}
	b.s.Progress = progress{LastMS: p.LastMS, Idle: idle}
	if change {
		b.settle()
	}
	if s := b.s.Suspend; s != nil && s.Barrier == p.Number {
		s.Drained = true
	}
	for _, s := range b.s.Slots {
		if b.source(s) {
			b.do(ToWorker{Worker: s.Worker, Type: control.TypeComplete,
				Body: control.Barrier{Term: b.s.Term, Attempt: b.s.Attempt, Barrier: p.Number, Position: s.Position}})
		}
	}
	b.trim()
}

// trim tells clients what of their files no rollback needs any more: the least of a stage's slots.
func (b *Brain) trim() {
	for _, st := range b.s.Pipeline.Stages {
		if st.Source == nil || st.Source.Generator != nil {
			continue
		}
		var least int64 = -1
		for _, s := range b.stageSlots(st.Name) {
			if least < 0 || s.Position < least {
				least = s.Position
			}
		}
		if b.trimmed(st.Name, least) {
			b.do(Trim{Stage: st.Name, Position: least})
		}
	}
}

// trimmed notes a stage's position and says whether it is beyond the last one.
func (b *Brain) trimmed(stage string, at int64) bool {
	for i := range b.s.Trimmed {
		if t := &b.s.Trimmed[i]; t.Stage == stage {
			further := at > t.Position
			t.Position = max(at, t.Position)
			return further
		}
	}
	if at <= 0 {
		return false
	}
	b.s.Trimmed = append(b.s.Trimmed, position{Stage: stage, Position: at})
	return true
}
