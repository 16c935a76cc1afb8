// Package barrier aligns the inputs of a slot on barriers, for at-least-once: a barrier is passed on
// when the last input has brought it, and inputs that brought it earlier are not held back. It only
// counts; holding inputs back, as exactly-once needs, would be a second kind of Aligner that names,
// from the same calls, the inputs to hold.
package barrier

import "errors"

// ErrTooMany is a peer that begins barriers without end.
var ErrTooMany = errors.New("barrier: too many barriers under way")

// maxPending bounds the barriers under way. One at a time is usual; aborted ones stay until a later
// one completes.
const maxPending = 64

// Mark is a barrier: its number, and the version of the assignment that is valid behind it, 0 when that
// doesn't change.
type Mark struct{ Number, Version uint64 }

// Aligner is the state of the inputs in one attempt. They have numbers, from 0.
type Aligner struct {
	inputs  []input
	live    int       // inputs that are there and not ended
	pending []pending // ascending
}

type input struct {
	gone    bool // has left: its number may be given again
	joining bool // has brought no barrier with a version yet: other barriers don't wait for it
	ended   bool
	last    uint64 // highest barrier brought
}

// pending is a barrier that some input has brought.
type pending struct {
	Mark
	brought []bool // by input; those beyond have not
}

// New makes the Aligner of the inputs 0 to n−1.
func New(n int) *Aligner { return &Aligner{inputs: make([]input, n), live: n} }

// Reset begins a new attempt with the same inputs.
func (a *Aligner) Reset() {
	a.live, a.pending = 0, nil
	for i := range a.inputs {
		in := &a.inputs[i]
		in.ended, in.last = false, 0
		if !in.gone {
			a.live++
		}
	}
}

// Join adds an input of a version to come and gives its number. Barriers wait for it from the first one
// with a version that it brings; the end waits for it at once.
func (a *Aligner) Join() int {
	a.live++
	for i := range a.inputs {
		if a.inputs[i].gone {
			a.inputs[i] = input{joining: true}
			for _, p := range a.pending {
				if i < len(p.brought) {
					p.brought[i] = false
				}
			}
			return i
		}
	}
	a.inputs = append(a.inputs, input{joining: true})
	return len(a.inputs) - 1
}

// Settle makes an input one like those that were there from the beginning.
func (a *Aligner) Settle(in int) { a.inputs[in].joining = false }

// Leave forgets an input. It appends what is complete without it, and tells whether all others have ended.
func (a *Aligner) Leave(in int, done []Mark) (completed []Mark, all bool) {
	i := &a.inputs[in]
	waited := !i.ended
	*i = input{gone: true}
	if waited {
		a.live--
	}
	return a.complete(done), waited && a.live == 0 && a.any()
}

func (a *Aligner) any() bool {
	for _, in := range a.inputs {
		if !in.gone {
			return true
		}
	}
	return false
}

// Barrier notes that an input has brought a barrier, and appends to done the barriers that are
// complete by it, ascending. A number that is not above the input's last is ignored. A barrier that is
// overtaken by a complete later one was aborted, and is forgotten.
func (a *Aligner) Barrier(in int, m Mark, done []Mark) ([]Mark, error) {
	i := &a.inputs[in]
	if i.ended || i.gone || m.Number <= i.last {
		return done, nil
	}
	at := 0
	for at < len(a.pending) && a.pending[at].Number < m.Number {
		at++
	}
	if at == len(a.pending) || a.pending[at].Number != m.Number {
		if len(a.pending) == maxPending {
			return done, ErrTooMany
		}
		p := pending{Mark: m, brought: make([]bool, len(a.inputs))}
		a.pending = append(a.pending[:at], append([]pending{p}, a.pending[at:]...)...)
	}
	p := &a.pending[at]
	for len(p.brought) <= in {
		p.brought = append(p.brought, false)
	}
	i.last, p.brought[in] = m.Number, true
	if m.Version != 0 {
		i.joining = false
	}
	return a.complete(done), nil
}

// End notes that an input has ended: it counts as having brought every barrier under way and to come.
// It appends what is complete by that, and tells whether this was the last input.
func (a *Aligner) End(in int, done []Mark) (completed []Mark, all bool) {
	if a.inputs[in].ended || a.inputs[in].gone {
		return done, false
	}
	a.inputs[in].ended = true
	a.live--
	return a.complete(done), a.live == 0
}

// Ended tells whether an input has ended.
func (a *Aligner) Ended(in int) bool { return a.inputs[in].ended }

// complete takes out the complete barriers and those they overtook.
func (a *Aligner) complete(done []Mark) []Mark {
	rest := 0
	for i := range a.pending {
		if p := &a.pending[i]; a.isComplete(p) {
			done = append(done, p.Mark)
			rest = i + 1
		}
	}
	a.pending = a.pending[rest:]
	return done
}

func (a *Aligner) isComplete(p *pending) bool {
	for i, in := range a.inputs {
		if in.gone || in.ended || in.joining && p.Version == 0 {
			continue
		}
		if i >= len(p.brought) || !p.brought[i] {
			return false
		}
	}
	return true
}
