package conductor

import (
	"fmt"
	"slices"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/quicmesh/frame"
)

const (
	lossWindow    = 60_000 // ms
	maxLosses     = 10     // of one slot within the window
	maxEarlyLoss  = 3      // of one slot before the first event
	maxWhy        = 200
	maxReasonText = 400     // bytes
	maxErrorText  = 4 << 10 // bytes; a compiler's words on one page
)

// Causes of restarts.
const (
	CauseProcess  = "process"  // the container's process has ended
	CauseMemory   = "memory"   // … for its memory
	CauseFrozen   = "frozen"   // it doesn't run
	CauseLease    = "lease"    // it had no lease any more
	CauseInvoker  = "invoker"  // its invoker is silent
	CauseHook     = "hook"     // it was lost to the hook
	CauseWorker   = "worker"   // it said that it can't go on
	CauseFunction = "function" // its function's process was replaced, the worker stays
)

// Causes lists them.
func Causes() []string {
	return []string{CauseProcess, CauseMemory, CauseFrozen, CauseLease, CauseInvoker, CauseHook, CauseWorker, CauseFunction}
}

// countRestart counts one. A cause that isn't known is the process's.
func (b *Brain) countRestart(cause string) {
	if !slices.Contains(Causes(), cause) {
		cause = CauseProcess
	}
	if b.s.Restarts == nil {
		b.s.Restarts = map[string]int{}
	}
	b.s.Restarts[cause]++
}

// restarts is how many there were.
func (b *Brain) restarts() (n int) {
	for _, of := range b.s.Restarts {
		n += of
	}
	return n
}

// lose empties a slot and repairs the pipeline, or ends it where no repair would be right. alive says
// that the worker may still run and hear us.
func (b *Brain) lose(s *slot, cause, reason string, alive bool) {
	if !slices.Contains(b.leased(), s) {
		return // it was let go by what has happened just before
	}
	if s.standsBy() {
		b.loseStandBy(s, reason)
		return
	}
	worker := s.Worker
	s.vacate(brief(reason))
	if !b.active() {
		return
	}
	joins := b.joins(s)
	if !joins {
		b.note("slot lost", s.String(), reason)
	}
	if alive {
		b.do(ToWorker{Worker: worker, Type: control.TypeTerminate,
			Body: control.Terminate{Term: b.s.Term, Reason: "slot lost", Error: reason}})
	}
	if joins {
		b.loseJoining(s, reason)
		return
	}
	b.countRestart(cause)
	s.LossN++
	s.Losses = slices.DeleteFunc(append(s.Losses, b.now), func(at int64) bool { return b.now-at >= lossWindow })
	keeper := b.stateKeeper(s)
	switch {
	case b.s.Flowed && keeper != "":
		b.failText(fmt.Sprintf("slot %s was lost (%s); stage %s keeps state and checkpoints of state do not exist: "+
			"the run ends rather than give a wrong count", s, reason, keeper))
	case !b.s.Flowed && s.LossN > maxEarlyLoss:
		b.fail(s, fmt.Sprintf("lost %d times during the start; the last time: %s", s.LossN, reason))
	case len(s.Losses) > maxLosses:
		b.fail(s, fmt.Sprintf("lost %d times within a minute; the last time: %s", len(s.Losses), reason))
	case b.s.Change != nil && b.s.Change.successor(s.Slot) != nil && b.s.Change.successor(s.Slot).held():
		b.promote(s, b.s.Change.successor(s.Slot))
	default:
		b.withdraw()
		if n := len(s.Losses); n > 1 {
			s.AfterMS = b.now + backoff(s.String(), n-1, lastBackoff)
		}
		b.abortBarrier() // until the slot is given again, and the sources go back
	}
}

// stranded: an invoker is silent. Its containers may run yet, but no word of the platform reaches them, and
// when it comes back it removes them; so they are replaced now. Leases on their way there are fired again.
func (b *Brain) stranded(e Stranded) {
	for _, s := range b.leased() {
		if b.active() && s.held() && slices.Contains(e.Activations, s.Activation) {
			b.lose(s, CauseInvoker, e.Reason, true)
		}
	}
	for _, l := range b.s.Leases {
		if b.active() && l.AtMS == 0 && slices.Contains(e.Activations, l.Activation) {
			b.note(LeaseLost, l.Stage, e.Reason)
			b.retry(l, e.Reason)
		}
	}
}

// stateKeeper names a stage whose state a rollback would need: the lost slot's if it has any, else the
// first. A rollback rewinds all sources, so it concerns every stage of the pipeline.
func (b *Brain) stateKeeper(lost *slot) string {
	if b.s.Pipeline.Stage(lost.Stage).Stateful {
		return lost.Stage
	}
	for _, st := range b.s.Pipeline.Stages {
		if st.Stateful {
			return st.Name
		}
	}
	return ""
}

// vacate forgets the holder. The incarnation stays, so that it is never given again.
func (s *slot) vacate(reason string) {
	*s = slot{
		Slot: s.Slot, Incarnation: s.Incarnation, Position: s.Position,
		Losses: s.Losses, LossN: s.LossN, Reason: reason,
	}
}

// nextAttempt begins when a lost slot, the cause, has its successor: sources go on from the last complete barrier,
// frames of the old attempt are dropped, and what the sinks had ended has not. Not at the loss: what
// others send to the slot's last holder after that, in whatever attempt, is gone.
func (b *Brain) nextAttempt(cause string) {
	n := uint32(1)
	if b.s.Attempt.Term() == b.s.Term {
		n = b.s.Attempt.N() + 1
	}
	b.s.Attempt = frame.MakeAttempt(b.s.Term, n)
	b.abortBarrier()
	b.note("rollback", cause, fmt.Sprintf("attempt %s begins from barrier %d", b.s.Attempt, b.s.Barrier))
	for _, s := range b.places() {
		s.Ended = false
	}
}

// rollbackAll tells the other holders of the attempt, after they were told who holds the slots in it.
func (b *Brain) rollbackAll(but *slot) {
	b.eachHolder(func(s *slot) {
		if s != but {
			b.rollbackTo(s)
		}
	})
}

func (b *Brain) rollbackTo(s *slot) {
	b.do(ToWorker{Worker: s.Worker, Type: control.TypeRollback,
		Body: control.Rollback{Term: b.s.Term, Attempt: b.s.Attempt, Position: s.Position}})
}

// note writes an entry of why; subject is a slot or a stage.
func (b *Brain) note(what, subject, reason string) {
	e := control.WhyEntry{TimeMS: b.now, Pipeline: b.s.Pipeline.Name, Slot: subject, What: what, Reason: brief(reason)}
	b.s.Why = append(b.s.Why, e)
	if over := len(b.s.Why) - maxWhy; over > 0 {
		b.s.Why = slices.Delete(b.s.Why, 0, over)
	}
	b.do(Note{Entry: e})
}

// brief bounds a text that comes from outside, so that snapshots stay small.
func brief(text string) string { return bounded(text, maxReasonText) }

func bounded(text string, size int) string {
	if len(text) <= size {
		return text
	}
	cut := size
	for cut > 0 && text[cut]&0xC0 == 0x80 { // inside a rune
		cut--
	}
	return text[:cut] + "…"
}
