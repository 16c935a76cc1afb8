package conductor

import (
	"slices"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// tickEvery is how long the owner may leave the brain without an event while something is under way, in ms.
const tickEvery = 100

// Wait is how long the owner may let pass, with no other event, before the next Tick. When all is well, only
// the next barrier comes by time alone, and renewals, which may be late by a twentieth of a lease.
func (b *Brain) Wait(now time.Time) time.Duration {
	if !b.rests() {
		return duration(tickEvery)
	}
	at := now.UnixMilli()
	next := at + min(b.s.Timing.PauseGrace/10, b.s.Timing.Lease/20)
	if b.s.Progress.Number == 0 {
		next = min(next, b.s.Progress.LastMS+b.barrierEvery())
	}
	for _, s := range b.leased() {
		if s.DeadlineMS > s.ArrivedMS {
			next = min(next, at+(s.DeadlineMS-s.ArrivedMS)/20)
		}
	}
	if next <= at { // it is due, and something else comes first
		next = at + tickEvery
	}
	return duration(next - at)
}

// rests: the pipeline runs, and nothing is being repaired, changed, renewed or waited for but a barrier.
func (b *Brain) rests() bool {
	return b.s.Phase == control.Running && !b.s.TookOver && b.s.Change == nil && b.s.Wanted == nil && b.s.Suspend == nil && b.outlookIsGood() && len(b.s.Leases) == 0 &&
		b.calm() && !slices.ContainsFunc(b.leased(), func(s *slot) bool { return s.between() || s.AwayMS != 0 || s.Move != "" })
}
