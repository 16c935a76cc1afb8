// Package flow does the arithmetic of credit on one link. Credit is a number of bytes counted from
// the link's beginning: the sender may have sent so many in all. A grant therefore can be repeated or
// overtaken by a later one and means the same.
//
//	sender:    sent ≤ granted                   in flight = sent − (granted − window)
//	receiver:  granted = released + window      in flight = received − released
//
// A frame larger than the window goes when nothing is in flight, so that the window can be small
// beside the largest event; both sides keep this one exception.
package flow

import "errors"

// Errors of a peer that does not keep the rules; its link is closed.
var (
	ErrOverrun = errors.New("flow: more bytes than were granted")
	ErrGrant   = errors.New("flow: a grant beyond the window")
)

// mostSent keeps sums of a total and a frame from overflowing, whatever a peer claims.
const mostSent = 1 << 62

// Sender is the sending side. The zero value has no credit: nothing fits before Begin.
type Sender struct {
	window  uint64
	granted uint64 // window ≤ granted ≤ sent + window, once begun
	sent    uint64
}

// Begin sets the receiver's window and its grant so far, at a link's begin and each time it resumes, and
// the bytes sent so far as the receiver will have counted them: those that it has taken and those that are
// sent again. So the two agree also when one of them has lost its count with its process.
func (s *Sender) Begin(window, granted, sent uint64) error {
	if window == 0 || granted < window || granted-window > sent || sent > mostSent {
		return ErrGrant
	}
	s.window, s.granted, s.sent = window, granted, sent
	return nil
}

// Grant takes the receiver's total; one lower than an earlier total changes nothing.
func (s *Sender) Grant(total uint64) error {
	if total > s.sent+s.window {
		return ErrGrant
	}
	s.granted = max(s.granted, total)
	return nil
}

// Fits tells whether a frame of n bytes may be sent now.
func (s *Sender) Fits(n int) bool {
	if s.window == 0 {
		return false
	}
	return s.sent+uint64(n) <= s.granted || s.InFlight() == 0
}

// Take counts a frame of n bytes that fits.
func (s *Sender) Take(n int) { s.sent += uint64(n) }

// InFlight is the number of bytes sent and not known to be released.
func (s *Sender) InFlight() uint64 {
	if s.window == 0 {
		return 0
	}
	return s.sent - (s.granted - s.window)
}

// Receiver is the receiving side.
type Receiver struct {
	window   uint64
	received uint64
	released uint64 // ≤ received
	told     uint64 // released when the sender was last told
}

// NewReceiver begins a link with a window in bytes.
func NewReceiver(window int) Receiver { return Receiver{window: uint64(window)} }

// Take counts a frame of n bytes that has arrived.
func (r *Receiver) Take(n int) error {
	if r.InFlight() > 0 && r.InFlight()+uint64(n) > r.window {
		return ErrOverrun
	}
	r.received += uint64(n)
	return nil
}

// Release counts a frame of n bytes as consumed.
func (r *Receiver) Release(n int) {
	if r.released+uint64(n) > r.received {
		panic("flow: Release of more than was received")
	}
	r.released += uint64(n)
}

// InFlight is the number of bytes received and not released.
func (r *Receiver) InFlight() uint64 { return r.received - r.released }

// Untold tells whether there is credit the sender does not know of.
func (r *Receiver) Untold() bool { return r.released != r.told }

// Due tells whether there is so much of it (a quarter of the window) that the sender is to be told at once.
func (r *Receiver) Due() bool { return r.released-r.told >= r.window/4 }

// Tell is the grant to be sent to the sender now.
func (r *Receiver) Tell() uint64 {
	r.told = r.released
	return r.released + r.window
}

// Taken is the number of bytes received since the link began.
func (r *Receiver) Taken() uint64 { return r.received }

// Window is the window in bytes.
func (r *Receiver) Window() uint64 { return r.window }
