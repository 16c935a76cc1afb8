package conductor

import (
	"slices"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

// A stand-by is a container with a lease and no slot: what its lease is for is asked and not answered yet.
// The answer is the step by which each container gets its slot, and comes when one of its stage wants a
// lease. Its place is like a slot's, but for the index below zero: it is empty or held, and wants leases.

// standByRetry is how long, in ms, after the platform has refused a stand-by another is asked for.
const standByRetry = 15_000

// sacrificeRest is how long, in ms, the platform has to see that a stand-by's activation is over before another
// is given up.
const sacrificeRest = 1000

func standBys(p *pipeline.Pipeline) []*slot {
	var out []*slot
	for _, st := range p.Stages {
		for i := range st.Standby {
			out = append(out, &slot{Slot: pipeline.Slot{Stage: st.Name, Index: -1 - i}})
		}
	}
	return out
}

func (s *slot) standsBy() bool { return s.Index < 0 }

// leased lists all that has a lease or wants one: the places, and those of stand-bys.
func (b *Brain) leased() []*slot { return append(b.places(), b.s.StandBys...) }

// rank orders the renewals of a stage: the slots', then the stand-bys'.
func (b *Brain) rank(s *slot) (rank, of int) {
	n := b.stageSize(s.Stage)
	of = n + b.s.Pipeline.Stage(s.Stage).Standby
	if s.standsBy() {
		return n - 1 - s.Index, of
	}
	return s.Index, of
}

// standing is the stand-by that a worker is; nil when it is none.
func (b *Brain) standing(worker string) *slot {
	for _, p := range b.s.StandBys {
		if p.held() && p.Worker == worker {
			return p
		}
	}
	return nil
}

// asksAgain: a stand-by has lost the hook with its question still open, and asks it again.
func (b *Brain) asksAgain(e Arrived) bool {
	p := b.standing(e.Worker)
	if p == nil || e.Holding != nil || p.Lease != e.LeaseID || p.Stage != e.Stage {
		return false
	}
	p.ReleaseMS, p.FreeMS, p.AwayMS = 0, 0, 0 // an answer that we had given was lost
	if e.Addr != "" {
		p.Addr = e.Addr
	}
	return true
}

// renews takes a stand-by that has brought its next lease for a container like any other.
func (b *Brain) renews(e Arrived) {
	if p := b.standing(e.Worker); p != nil {
		if !p.between() {
			b.askBack(p) // that question is over
		}
		p.vacate("")
		b.s.Renewals++
	}
}

// park leaves the question open if a stand-by of the stage is missing.
func (b *Brain) park(e Arrived) bool {
	for _, p := range b.s.StandBys {
		if p.Stage == e.Stage && !p.held() {
			p.Worker, p.Action, p.Reason, p.AfterMS = e.Worker, e.Version, "", 0
			b.open(p, e)
			return true
		}
	}
	return false
}

// useStandBys gives places that want a holder to those who stand by. A container whose lease has ended
// isn't asked: its next one may be on its way, and takes the slot.
func (b *Brain) useStandBys() {
	for _, s := range b.places() {
		if s.held() || !s.wants(b.now) {
			continue
		}
		i := slices.IndexFunc(b.s.StandBys, func(p *slot) bool {
			return p.Stage == s.Stage && p.held() && !p.between() && p.AwayMS == 0 && !b.outdated(p)
		})
		if i < 0 {
			continue
		}
		p := *b.s.StandBys[i]
		b.s.StandBys[i].vacate("")
		e := Arrived{LeaseID: p.Lease, Stage: p.Stage, ActivationID: p.Activation, Worker: p.Worker, Addr: p.Addr,
			Version: p.Action, DeadlineMS: p.DeadlineMS}
		if b.joins(s) {
			b.giveJoining(s, e)
		} else {
			b.give(s, e, "a container that stood by")
		}
		s.ArrivedMS = p.ArrivedMS // the lease is as old as it is
	}
}

// standBysMissing counts the stage's stand-bys that are not there. None is sent for while a slot may need
// what the platform has left.
func (b *Brain) standBysMissing(stage string) int {
	n := 0
	for _, p := range b.s.StandBys {
		if p.Stage == stage && !p.held() && p.wants(b.now) {
			n++
		}
	}
	if n > 0 && (b.s.Phase != control.Running || b.s.Change != nil || b.s.Suspend != nil || !b.calm() || slices.ContainsFunc(b.s.Slots, (*slot).between)) {
		return 0
	}
	return n
}

// forStandBy tells whether a lease that isn't spare is the next one of a stand-by.
func (b *Brain) forStandBy(l *lease) bool {
	between := func(s *slot) bool { return s.Stage == l.Stage && s.between() }
	return slices.ContainsFunc(b.s.StandBys, between) &&
		!slices.ContainsFunc(b.places(), func(s *slot) bool { return s.Stage == l.Stage && !s.held() || between(s) })
}

// forgo: a lease of a stand-by will not come. The pipeline does without for a while.
func (b *Brain) forgo(l *lease, reason string) {
	b.s.Leases = slices.DeleteFunc(b.s.Leases, func(x *lease) bool { return x == l })
	i := slices.IndexFunc(b.s.StandBys, func(p *slot) bool {
		return p.Stage == l.Stage && (l.Spare && !p.held() && p.AfterMS <= b.now || !l.Spare && p.between())
	})
	if i < 0 {
		return
	}
	p := b.s.StandBys[i]
	if p.Reason != brief(reason) {
		b.note("no stand-by", l.Stage, reason)
	}
	b.dismissStandBy(p, control.Leave, reason)
	p.AfterMS = b.now + standByRetry
}

// sacrifice gives a stand-by up for a slot that can't have a lease: the namespace has all the activations that it
// may have, and a stand-by's is one of them. It is one of the stage that has most.
func (b *Brain) sacrifice(stage string) {
	var of *slot
	most, ready := 0, map[string]int{}
	for _, p := range b.s.StandBys {
		if !p.held() && p.AfterMS-b.now > standByRetry-sacrificeRest {
			return // one has just been given up
		}
		if p.held() && !p.between() && p.AwayMS == 0 {
			if ready[p.Stage]++; ready[p.Stage] > most {
				of, most = p, ready[p.Stage]
			}
		}
	}
	if of == nil {
		return
	}
	reason := "its activation is for a worker of " + stage + ": the namespace may have no more"
	b.note("stand-by given up", of.Stage, reason)
	b.dismissStandBy(of, control.Released, reason)
	of.AfterMS = b.now + standByRetry
}

// loseStandBy: another container is to come in its place. No event has gone through it.
func (b *Brain) loseStandBy(p *slot, reason string) {
	b.dismissStandBy(p, control.Leave, reason)
	if !b.active() {
		return
	}
	b.note("stand-by lost", p.Stage, reason)
	p.Losses = slices.DeleteFunc(append(p.Losses, b.now), func(at int64) bool { return b.now-at >= lossWindow })
	if n := len(p.Losses); n > 1 {
		p.AfterMS = b.now + backoff(p.String(), n-1, lastBackoff)
	}
}

// dropOutdated makes room for stand-bys of another version of the stage's action: these would get no
// lease any more.
func (b *Brain) dropOutdated(stage string) {
	for _, p := range b.s.StandBys {
		if p.Stage == stage && b.outdated(p) {
			b.dismissStandBy(p, control.Leave, "its action has another version by now")
		}
	}
}

// endStandBys lets all go at the pipeline's end.
func (b *Brain) endStandBys(reason string) {
	for _, p := range b.s.StandBys {
		b.dismissStandBy(p, control.Released, reason)
	}
}

func (b *Brain) dismissStandBy(p *slot, v control.Verdict, reason string) {
	if p.held() {
		b.answerStandBy(p, v, reason)
	}
	p.vacate(brief(reason))
}

// answerStandBy answers a stand-by's question without a slot. Whose isn't open doesn't hear it.
func (b *Brain) answerStandBy(p *slot, v control.Verdict, reason string) {
	b.do(Decide{LeaseID: p.Lease, Worker: p.Worker, Verdict: v, Reason: reason})
}

// standByStatus shows them all, while the pipeline is to go on.
func (b *Brain) standByStatus() []control.StandByStatus {
	var out []control.StandByStatus
	if !b.active() {
		return nil
	}
	for _, p := range b.s.StandBys {
		s := control.StandByStatus{Stage: p.Stage, State: "ready", Action: p.Action, ActivationID: p.Activation, Addr: p.Addr}
		switch {
		case !p.held():
			s.State, s.Reason = "missing", p.Reason
		case p.between():
			s.State = "renewing"
		}
		out = append(out, s)
	}
	return out
}
