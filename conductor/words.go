package conductor

import (
	"fmt"

	"github.com/weft-stream/weft/internal/control"
)

// ready: the function is initialised and the outgoing links are up.
func (b *Brain) ready(e Ready) {
	if s := b.speaker(e.Slot); s != nil && b.active() {
		b.becomeReady(s)
	}
}

func (b *Brain) becomeReady(s *slot) {
	s.Ready, s.Reason = true, ""
	if b.source(s) {
		b.s.Flowed = true
	}
	if b.s.Phase != control.Starting {
		return
	}
	for _, x := range b.s.Slots {
		if !x.held() || !x.Ready {
			return
		}
	}
	b.s.Phase = control.Running
	b.s.Progress.LastMS = b.now
	b.note("running", "", fmt.Sprintf("all %d slots are ready", len(b.s.Slots)))
}

// failed: the worker can't go on.
func (b *Brain) failed(e Failed) {
	s := b.speaker(e.Slot)
	switch {
	case s == nil || !b.active():
	case b.joins(s):
		b.giveUp(fmt.Sprintf("%s: %s", s, e.Reason))
	case b.s.Phase == control.Starting:
		b.fail(s, e.Reason)
	default:
		b.lose(s, CauseWorker, e.Reason, true)
	}
}

// restarted: the worker has replaced its function process and retried the events in work itself.
func (b *Brain) restarted(e Restarted) {
	if s := b.speaker(e.Slot); s != nil && b.active() {
		b.countRestart(CauseFunction)
		b.note("function restarted", s.String(), e.Reason)
	}
}

// ended: a sink has all events of the attempt confirmed, or a source has no more.
func (b *Brain) ended(e Ended) {
	s := b.speaker(e.Slot)
	if s == nil || !b.active() || e.Attempt != b.s.Attempt {
		return
	}
	b.becomeEnded(s)
}

func (b *Brain) becomeEnded(s *slot) {
	s.Ended = true
	b.marked(s, s.Position)
	for _, x := range b.s.Slots {
		if b.sink(x) && !x.Ended {
			return
		}
	}
	b.s.Phase = control.Ended
	b.note("ended", "", "all sinks have confirmed their last event")
	b.finish("ended", "")
}

// gone: a worker's process is dead, or has been away too long.
func (b *Brain) gone(e Gone) {
	for _, s := range b.leased() {
		if s.held() && s.Worker == e.Worker {
			b.lose(s, e.Cause, e.Reason, false)
		}
	}
}
