package conductor

import (
	"fmt"
	"slices"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// watchLeases asks for the end of leases that are due, and gives up holders that got no other in time.
//
// Between two leases only the platform's pause grace keeps a container running. Half of it is what a
// lease may take to come back; a fifth is what the completion of the old one may take to be seen.
func (b *Brain) watchLeases() {
	grace := b.s.Timing.PauseGrace
	for _, s := range b.leased() {
		switch {
		case !b.active():
			return
		case !s.held() || !slices.Contains(b.leased(), s):
		case s.FreeMS != 0:
			if b.refusing(s.Stage) {
				continue // nobody else would get the slot, and its worker has what it holds
			}
			if b.now-s.FreeMS >= grace/2 && (!b.s.Change.leaves(s) || b.now-s.FreeMS >= grace*4/5) {
				b.lose(s, CauseLease, fmt.Sprintf("no lease came for it within %s after its last one", duration(grace/2)), true)
			}
		case s.ReleaseMS != 0:
			if b.now-s.ReleaseMS >= grace/5 {
				b.freed(s) // the completion was missed; time runs
			}
		case s.AwayMS == 0 && b.s.Suspend == nil && b.due(s) && b.answers():
			s.ReleaseMS = b.now
			b.askBack(s)
		}
	}
}

// askBack asks for the answer of a /run.
func (b *Brain) askBack(s *slot) {
	if s.standsBy() {
		b.answerStandBy(s, control.Released, "its lease is renewed")
		return
	}
	b.do(ToWorker{Worker: s.Worker, Type: control.TypeRelease, Body: control.Release{Term: b.s.Term, LeaseID: s.Lease}})
}

// due is true from half of the lease's time on, staggered downwards within the stage, when nothing
// else is going on; from four fifths on whatever goes on.
func (b *Brain) due(s *slot) bool {
	if b.late(s) {
		return true
	}
	held, hold := b.held(s)
	rank, of := b.rank(s)
	if s.Move != "" || b.s.Change.leaves(s) {
		return false // its successor has the next lease
	}
	return held >= renewAt(hold, rank, of) && b.quiet()
}

// renewAt is how long after its arrival a lease that is held for so long is renewed.
func renewAt(hold int64, rank, of int) int64 { return hold/2 - int64(rank)*(hold/int64(4*of)) }

// Renewals is how often in a minute the leases of a stage with so many workers are renewed.
func Renewals(lease time.Duration, workers int) float64 {
	n := 0.0
	for i := range workers {
		n += float64(time.Minute) / float64(renewAt(int64(lease), i, workers))
	}
	return n
}

// held is for how long a lease has been held, and for how long it may be.
func (b *Brain) held(s *slot) (held, hold int64) {
	hold = b.s.Timing.Lease
	if s.DeadlineMS > s.ArrivedMS { // else the invoker's clock is not ours: the proxy sees to it
		hold = min(hold, s.DeadlineMS-s.ArrivedMS)
	}
	return b.now - s.ArrivedMS, hold
}

// LeasesEnd is when the first of the slots' leases ends, or has ended; 0 without any. Epoch milliseconds.
func (b *Brain) LeasesEnd() (first int64) {
	for _, s := range b.s.Slots {
		if !s.held() {
			continue
		}
		_, hold := b.held(s)
		if end := s.ArrivedMS + hold; first == 0 || end < first {
			first = end
		}
	}
	return first
}

func (b *Brain) late(s *slot) bool {
	held, hold := b.held(s)
	return held >= hold*4/5
}

// quiet: no barrier and no change is in progress, nothing is being repaired, nobody else is between two
// leases, and the platform doesn't refuse any. One at a time in the whole pipeline: after a deployment of
// all its actions each renewal may turn into a move, and a holder without a lease can't wait for another's.
func (b *Brain) quiet() bool {
	if b.s.Progress.Number != 0 || b.s.Change != nil {
		return false
	}
	for _, s := range b.s.Slots {
		if !s.held() || s.AwayMS != 0 || s.between() {
			return false
		}
	}
	return !slices.ContainsFunc(b.s.StandBys, (*slot).between) && !slices.ContainsFunc(b.s.Leases, func(l *lease) bool { return l.Tries > 0 })
}
