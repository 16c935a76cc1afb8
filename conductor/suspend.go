package conductor

import (
	"fmt"

	"github.com/weft-stream/weft/internal/control"
)

const (
	drainShare  = 12   // of a lease's time that a drain may take: with what is left of it, less than all
	suspendRest = 1000 // ms before the first lease of a suspended pipeline is tried
)

// suspension is an orderly stop before leases run out that the platform won't renew: the sources stop
// behind a barrier, what they have sent drains to the sinks, and all workers are let go. Then one lease is
// tried again and again; the container that brings it is where the pipeline goes on.
type suspension struct {
	Reason  string `json:"reason"`
	AtMS    int64  `json:"atMs"`
	Barrier uint64 `json:"barrier,omitempty"` // behind which sources stop
	Drained bool   `json:"drained,omitempty"` // it is complete
}

// watchOutage begins the stop while each holder still has a fifth of its lease. A pipeline that keeps state
// would lose that: its workers hold on, frozen if need be, for as long as the platform keeps their containers.
func (b *Brain) watchOutage() {
	if b.s.Phase != control.Running || b.s.Suspend != nil || b.stateKeeper(b.s.Slots[0]) != "" {
		return
	}
	for _, s := range b.s.Slots {
		if s.held() && s.AwayMS == 0 && !s.between() && b.late(s) {
			if reason := b.outage(); reason != "" {
				b.suspend(reason)
				return
			}
		}
	}
}

func (b *Brain) suspend(reason string) {
	if b.s.Change != nil {
		b.giveUp("no leases can be had")
	}
	b.s.Suspend = &suspension{Reason: brief(reason), AtMS: b.now}
	b.note("suspending", "", "leases run out: "+reason)
}

// watchSuspend drains the pipeline, as far as it can be within the time, and then lets all workers go.
func (b *Brain) watchSuspend() {
	s := b.s.Suspend
	switch {
	case s == nil:
	case s.Drained:
		b.letGo("all that the sources have sent has been confirmed")
	case b.now-s.AtMS >= b.s.Timing.Lease/drainShare:
		b.letGo("not all of what the sources have sent was confirmed in time: they send it again")
	case b.s.Progress.Number != 0:
	case !b.barrierPossible(false):
		b.letGo("not all slots have workers that run: what was not confirmed is sent again")
	default:
		s.Barrier = max(b.s.Barrier, b.s.Skip) + 1
		b.draw(s.Barrier)
	}
}

// letGo ends the workers; the positions stay.
func (b *Brain) letGo(how string) {
	reason := b.s.Suspend.Reason
	b.s.Phase, b.s.Error, b.s.Suspend = control.Suspended, reason, nil
	b.s.Leases, b.s.Unknown = nil, nil
	b.abortBarrier()
	b.note("suspended", "", fmt.Sprintf("%s; %s", how, reason))
	b.terminate("suspended", "")
	for _, s := range b.s.Slots {
		s.vacate("")
		s.Idle = true
	}
	b.addLease(b.s.Pipeline.SinksFirst()[0], b.now+suspendRest, "")
}

// resume: a lease has come. All slots want theirs now, and the sources go on from where they stopped.
func (b *Brain) resume() {
	b.note("resumed", "", "the platform gives leases again, after: "+b.s.Error)
	b.s.Phase, b.s.Error = control.Running, ""
	b.s.Progress.LastMS = b.now
	b.nextAttempt("")
}
