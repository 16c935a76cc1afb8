package worker

import (
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// slotState is a worker's word on itself, but for the attempt of later ones.
func slotState(a *control.Assignment) control.SlotState {
	return control.SlotState{
		Namespace: a.Namespace, Pipeline: a.Pipeline.Name, Slot: a.Slot, Incarnation: a.Incarnation, Attempt: a.Attempt,
	}
}

func (s *slot) state() control.SlotState {
	out := slotState(s.assignment)
	out.Attempt = s.mesh.Attempt()
	return out
}

// transfer names bytes between this slot and the user's weft.
func (s *slot) transfer() control.Transfer {
	a := s.assignment
	return control.Transfer{Namespace: a.Namespace, Pipeline: a.Pipeline.Name, Slot: a.Slot, Incarnation: a.Incarnation}
}

// inventory is what the slot holds; lease is the id of the open run.
func (s *slot) inventory(lease string) *control.Inventory {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.assignment
	return &control.Inventory{
		Namespace: a.Namespace, Pipeline: a.Pipeline.Name, Slot: a.Slot, Incarnation: a.Incarnation,
		Term: s.term, Attempt: s.mesh.Attempt(), LeaseID: lease, Ready: s.ready, Ended: s.ended == s.mesh.Attempt(), Addr: s.addr,
	}
}

// tell sends one of the messages that carry a SlotState. A lost connection is no error here: tellAgain
// and the inventory repeat what counts.
func (s *slot) tell(typ, reason string) {
	state := s.state()
	state.Reason = reason
	_ = s.hook.send(typ, state)
}

func (s *slot) setReady() {
	s.mu.Lock()
	s.ready = true
	s.mu.Unlock()
	s.tell(control.TypeReady, "")
}

// setEnded says that a sink has confirmed its last event of an attempt, or a source has no more. The
// mesh may be in a later one by now: what has ended is named, not what is.
func (s *slot) setEnded(a frame.Attempt) {
	s.mu.Lock()
	s.ended = a
	s.mu.Unlock()
	s.tellEnded(a)
}

func (s *slot) tellEnded(a frame.Attempt) {
	state := s.state()
	state.Attempt = a
	_ = s.hook.send(control.TypeEnded, state) // see tell
}

// markBarrier says that a barrier of an attempt has reached this worker.
func (s *slot) markBarrier(typ string, a frame.Attempt, n uint64, position int64) {
	mark := &control.BarrierMark{SlotState: s.state(), Barrier: n, Position: position}
	mark.Attempt = a
	s.mu.Lock()
	s.mark, s.barrier = typ, mark
	s.mu.Unlock()
	_ = s.hook.send(typ, mark) // see tell
}

// tellAgain repeats what the hook may have missed while the connection was away.
func (s *slot) tellAgain() {
	s.mu.Lock()
	ready, ended, failed, typ, mark := s.ready, s.ended, s.failed, s.mark, s.barrier
	s.mu.Unlock()
	if ready {
		s.tell(control.TypeReady, "")
	}
	if mark != nil {
		_ = s.hook.send(typ, mark) // the connection is lost again: so is this call's reason
	}
	if ended != 0 {
		s.tellEnded(ended)
	}
	if failed != "" {
		s.tell(control.TypeFailed, failed)
	}
}
