package conductor

import (
	"fmt"

	"github.com/weft-stream/weft/internal/control"
)

// noteTakeOver is the first thing a new owner's brain does. Nobody knows what was lost in between, so
// all waits begin anew, leases whose firing wasn't confirmed are fired again under the same ids, and
// every worker has to come back.
func (b *Brain) noteTakeOver() {
	if !b.s.TookOver {
		return
	}
	b.s.TookOver = false
	b.s.Skip = max(b.s.Barrier, b.s.Skip) + unsavedBarriers
	b.s.Progress = progress{LastMS: b.now}
	if c := b.s.Change; c != nil && b.active() {
		if c.BeganMS = b.now; c.Barrier != 0 {
			b.drawAgain(c.Barrier)
		}
	}
	b.s.Unknown, b.s.Outlook = nil, outlook{}
	if b.s.BeganMS == 0 {
		return
	}
	b.note("hook took over", "", fmt.Sprintf("term %d", b.s.Term))
	switch b.s.Phase {
	case control.Ended, control.Failed:
		b.do(Finished{Error: b.s.Error}) // the predecessor may not have come to it
		return
	case control.Stopping:
		b.s.StopMS = b.now
	case control.Starting:
		b.s.BeganMS = b.now
	}
	if b.s.Suspend != nil {
		b.s.Suspend.AtMS = b.now
	}
	for _, l := range b.s.Leases {
		if l.FiredMS = b.now; l.Activation == "" {
			l.AtMS = b.now
		}
	}
	for _, s := range b.leased() {
		if s.held() {
			s.awaitReturn(b.now)
		}
	}
	b.boundTimes()
}

// boundTimes sees to it that nothing waits for times that the predecessor's clock has shown and ours will
// only show much later.
func (b *Brain) boundTimes() {
	for _, s := range b.leased() {
		s.ArrivedMS, s.AfterMS = min(s.ArrivedMS, b.now), min(s.AfterMS, b.now+lastBackoff)
		for i := range s.Losses {
			s.Losses[i] = min(s.Losses[i], b.now)
		}
	}
	for _, l := range b.s.Leases {
		l.AtMS = min(l.AtMS, b.now+suspendCap)
	}
}

func (s *slot) awaitReturn(now int64) {
	s.AwayMS = now
	if s.ReleaseMS != 0 {
		s.ReleaseMS = now
	}
	if s.FreeMS != 0 {
		s.FreeMS = now
	}
}

// watchReturns gives up the workers that did not come back to a new owner in time.
func (b *Brain) watchReturns() {
	for _, s := range b.leased() {
		if b.active() && s.held() && s.AwayMS != 0 && b.now-s.AwayMS >= b.s.Timing.Return {
			b.lose(s, CauseHook, fmt.Sprintf("its worker did not come back within %s", duration(b.s.Timing.Return)), false)
		}
	}
}

// returned decides on a worker that comes back with an inventory, and tells it what it has missed.
func (b *Brain) returned(e Returned) {
	inv := e.Inventory
	s := b.claimed(e.Worker, inv)
	if !b.active() || s == nil {
		reason := fmt.Sprintf("%s, incarnation %d, is not its slot any more", inv.Slot, inv.Incarnation)
		if !b.active() {
			reason = "the pipeline is not running any more"
		}
		b.do(DecideReturn{Worker: e.Worker, Reason: reason})
		return
	}
	b.do(DecideReturn{Worker: e.Worker, Keep: true})
	s.AwayMS = 0
	if inv.Addr != "" {
		s.Addr = inv.Addr
	}
	b.reconcileLease(s, inv.LeaseID)
	b.peersTo(s)
	b.orderAgain(s)
	if inv.Attempt != b.s.Attempt {
		b.rollbackTo(s)
	}
	if inv.Ready && !s.Ready {
		b.becomeReady(s)
	}
	if inv.Ended && inv.Attempt == b.s.Attempt && !s.Ended {
		b.becomeEnded(s)
	}
}

// reconcileLease compares the open /run with what we know of it.
func (b *Brain) reconcileLease(s *slot, open string) {
	switch {
	case open == "":
		b.freed(s) // it was answered in between
	case open == s.Lease:
		s.ReleaseMS, s.FreeMS = 0, 0 // if we had asked, it was lost: due says when to ask again
	}
}
