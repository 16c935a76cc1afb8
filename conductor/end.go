package conductor

import (
	"fmt"

	"github.com/weft-stream/weft/internal/control"
)

const stopWait = 5000 // ms that workers get to answer their leases

// begin starts the pipeline; wantLeases then fires all leases at once.
func (b *Brain) begin() {
	if b.s.BeganMS == 0 && b.s.Phase == control.Starting {
		b.s.BeganMS = b.now
	}
}

// watchStart gives a start up that takes too long, and names the first slot the others wait for.
func (b *Brain) watchStart() {
	if b.s.Phase != control.Starting || b.now-b.s.BeganMS < b.s.Timing.Start {
		return
	}
	for _, stage := range b.s.Pipeline.SinksFirst() {
		for _, s := range b.stageSlots(stage) {
			if !s.held() || !s.Ready {
				b.fail(s, fmt.Sprintf("not ready within %s: %s", duration(b.s.Timing.Start), b.missing(s)))
				return
			}
		}
	}
}

// missing says in words why a slot isn't ready.
func (b *Brain) missing(s *slot) string {
	if s.held() {
		return "its container has the slot, but the function has not initialised or its links are not up"
	}
	if s.Reason != "" {
		return "it was lost: " + s.Reason
	}
	for _, l := range b.s.Leases {
		if l.Stage == s.Stage && l.Reason != "" {
			return l.Reason
		}
	}
	for _, l := range b.s.Leases {
		if l.Stage == s.Stage && l.Activation != "" {
			return fmt.Sprintf("no container has taken it: activation %s has not come to the hook; its code still initialises, or no invoker has memory for its container", l.Activation)
		}
	}
	return "the platform has not answered to its lease"
}

// fail ends the pipeline because of a slot.
func (b *Brain) fail(s *slot, reason string) {
	b.failText(fmt.Sprintf("%s: %s", s, reason))
}

func (b *Brain) failText(text string) {
	b.s.Phase = control.Failed
	b.s.Error = bounded(text, maxErrorText)
	b.note("failed", "", text)
	b.finish("failed", text)
}

// finish takes all holders down and says so, once. There is nobody to wait for: a container that
// doesn't hear it is refused when it comes again.
func (b *Brain) finish(reason, text string) {
	b.s.Leases, b.s.Unknown, b.s.Progress, b.s.Suspend = nil, nil, progress{}, nil
	b.terminate(reason, text)
	b.s.Change, b.s.Wanted = nil, nil
	b.s.Finished = true
	b.do(Finished{Error: text})
}

func (b *Brain) terminate(reason, text string) {
	b.endStandBys(reason)
	b.eachHolder(func(s *slot) {
		b.do(ToWorker{Worker: s.Worker, Type: control.TypeTerminate,
			Body: control.Terminate{Term: b.s.Term, Reason: reason, Error: text}})
	})
}

// stop ends the pipeline in order: Finished comes when the leases are answered.
func (b *Brain) stop(e Stop) {
	if !b.active() && b.s.Phase != control.Starting && b.s.Phase != control.Suspended {
		return
	}
	b.s.Phase, b.s.StopMS = control.Stopping, b.now
	b.s.Leases, b.s.Unknown, b.s.Progress, b.s.Suspend = nil, nil, progress{}, nil
	b.s.Error = ""
	b.note("stopped", "", e.Reason)
	b.terminate("stopped", "")
	b.s.Change, b.s.Wanted = nil, nil
}

func (b *Brain) watchStop() {
	if b.s.Phase != control.Stopping {
		return
	}
	for _, s := range b.s.Slots {
		if s.held() && b.now-b.s.StopMS < stopWait {
			return
		}
	}
	b.s.Phase, b.s.Finished = control.Ended, true
	b.do(Finished{})
}
