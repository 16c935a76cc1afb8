package conductor

import (
	"fmt"

	"github.com/weft-stream/weft/internal/control"
)

// arrived decides on a lease that a container has brought. A holder takes it as its own renewal,
// whichever slot it was fired for; wantLeases then sees who still waits.
func (b *Brain) arrived(e Arrived) {
	if b.s.Phase == control.Suspended && b.findLease(e.LeaseID) != nil {
		b.resume()
	}
	if !b.active() {
		b.turnAway(e, control.Leave, "the pipeline is not running any more")
		return
	}
	if s := b.asking(e); s != nil {
		b.open(s, e)
		b.decide(s, e, control.Take)
		b.tellPeers()
		return
	}
	if b.asksAgain(e) {
		return
	}
	if !b.useLease(e.LeaseID, e.Stage) {
		b.turnAway(e, control.Refused, "the lease's id is unknown or was used before")
		return
	}
	if e.Holding != nil {
		b.comeBack(e)
		return
	}
	for _, s := range b.places() {
		if s.held() && s.Worker == e.Worker {
			b.lose(s, CauseWorker, "its container says that it doesn't hold the slot any more", false)
		}
	}
	b.renews(e)
	if !b.active() {
		b.turnAway(e, control.Leave, "the pipeline is not running any more")
		return
	}
	if older := b.seen(e); older != "" {
		b.stray(e, older)
		return
	}
	if s := b.vacancy(e.Stage); s != nil {
		b.give(s, e, "another container")
		return
	}
	if j := b.wanted(e); j != nil {
		b.giveJoining(j, e)
		return
	}
	if b.park(e) {
		return
	}
	b.stray(e, "no slot of "+e.Stage+" is empty")
}

// asking is the slot that this very lease of this very container has got from a hook which died before
// its answer was out: the container knows nothing of it, and asks the successor. At any other time the
// same lease again is a replay.
func (b *Brain) asking(e Arrived) *slot {
	for _, s := range b.places() {
		if s.held() && s.AwayMS != 0 && e.Holding == nil &&
			s.Worker == e.Worker && s.Lease == e.LeaseID && s.Activation == e.ActivationID && s.Stage == e.Stage {
			return s
		}
	}
	return nil
}

// comeBack is a lease at a container that holds a slot.
func (b *Brain) comeBack(e Arrived) {
	s := b.claimed(e.Worker, *e.Holding)
	if s == nil || s.Stage != e.Stage {
		b.stray(e, fmt.Sprintf("the container holds %s of pipeline %s, incarnation %d",
			e.Holding.Slot, e.Holding.Pipeline, e.Holding.Incarnation))
		return
	}
	b.open(s, e)
	b.s.Renewals++
	b.decide(s, e, control.Renewed)
}

// claimed is the slot that an inventory names, if this brain knows the worker as its holder.
func (b *Brain) claimed(worker string, inv control.Inventory) *slot {
	s := b.speaker(Holder{inv.Slot, inv.Incarnation})
	if s == nil || s.Worker != worker || inv.Namespace != b.s.Namespace || inv.Pipeline != b.s.Pipeline.Name {
		return nil
	}
	return s
}

// stray dismisses a container. The next lease waits for its removal, or it would get that one too.
func (b *Brain) stray(e Arrived, reason string) {
	b.turnAway(e, control.Leave, reason)
	if !b.active() {
		return
	}
	if b.waiting(e.Stage) > b.onTheirWay(e.Stage, false) {
		b.addLease(e.Stage, b.now+strayWait, e.ActivationID)
	}
}

func (b *Brain) turnAway(e Arrived, v control.Verdict, reason string) {
	b.do(Decide{LeaseID: e.LeaseID, Worker: e.Worker, Verdict: v, Reason: reason})
}

func (b *Brain) vacancy(stage string) *slot {
	for _, s := range b.stageSlots(stage) {
		if !s.held() {
			return s
		}
	}
	return nil
}

// give makes the container the slot's holder, under an incarnation that no other ever had.
func (b *Brain) give(s *slot, e Arrived, who string) {
	moved := s.Incarnation > 0 && !s.Idle
	s.Incarnation = b.incarnation(s.Slot)
	if moved {
		b.s.Moves++
		b.note("slot taken", s.String(), fmt.Sprintf("by %s, incarnation %d", who, s.Incarnation))
		b.nextAttempt(s.String())
	}
	b.hold(s, e)
	b.tellPeers()
	if moved {
		b.rollbackAll(s)
	}
}

// hold lets the container have the slot.
func (b *Brain) hold(s *slot, e Arrived) {
	s.Worker, s.Action, s.Reason, s.AfterMS, s.Idle = e.Worker, e.Version, "", 0, false
	b.open(s, e)
	b.decide(s, e, control.Take)
}

// giveJoining lets the container join the change: it gets the slot when that is done.
func (b *Brain) giveJoining(j *slot, e Arrived) {
	j.Incarnation = b.incarnation(j.Slot)
	b.note("successor came", j.String(), fmt.Sprintf("incarnation %d: %s", j.Incarnation, b.s.Change.Reason))
	b.hold(j, e)
}

// open notes the /run that is now the holder's.
func (b *Brain) open(s *slot, e Arrived) {
	s.Lease, s.Activation, s.ArrivedMS, s.DeadlineMS = e.LeaseID, e.ActivationID, b.now, e.DeadlineMS
	s.ReleaseMS, s.FreeMS, s.AwayMS = 0, 0, 0
	if e.Addr != "" {
		s.Addr = e.Addr
	}
}

func (b *Brain) decide(s *slot, e Arrived, v control.Verdict) {
	b.do(Decide{
		LeaseID: e.LeaseID, Worker: e.Worker, Verdict: v,
		Slot: s.Slot, Incarnation: s.Incarnation, Attempt: b.s.Attempt, Position: s.Position, Joins: b.joins(s),
	})
}

// tellPeers tells every holder who the others are: one body for all, so that it is encoded once.
func (b *Brain) tellPeers() {
	peers := b.peers()
	b.eachHolder(func(s *slot) { b.do(ToWorker{Worker: s.Worker, Type: control.TypePeers, Body: peers}) })
}

func (b *Brain) peersTo(s *slot) {
	b.do(ToWorker{Worker: s.Worker, Type: control.TypePeers, Body: b.peers()})
}

func (b *Brain) peers() *control.Peers {
	now, next := b.Assignment()
	return &control.Peers{Term: b.s.Term, Holders: now, Next: next, Transports: b.s.Pipeline.Transports()}
}

func (b *Brain) eachHolder(f func(*slot)) {
	for _, s := range b.places() {
		if s.held() {
			f(s)
		}
	}
}
