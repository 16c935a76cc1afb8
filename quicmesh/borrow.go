package quicmesh

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"

	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// borrowed is what a receiving link knows of payloads that it reads in place. It belongs to inLink.mu.
type borrowed struct {
	held   []uint64 // numbers of the events whose payloads somebody reads; with back at most maxReferred
	back   []uint64 // … not any more, which the sender is to be told
	mapped []uint32 // files of the sender's that it is to be told it may refer to
}

// borrow maps what the peer lends over s.
func (l *inLink) borrow(s *session) {
	lender := transport.LenderOf(s.stream)
	if lender == nil {
		return
	}
	s.loans = new(arena.Loans)
	lender.Borrow(func(number uint32, f *os.File) error {
		mapped, err := s.loans.Take(number, f)
		if err != nil {
			s.endFor(fmt.Errorf("%w: %w", errFrame, err))
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if mapped && l.session == s {
			l.borrowed.mapped = append(l.borrowed.mapped, number)
			signal(l.wake)
		}
		return nil
	})
}

// resolve puts the payload into an item that refers to it.
func (s *session) resolve(it *Item, most int) error {
	f := &it.Frame
	x, err := arena.ParseReference(f.Payload)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errFrame, err)
	case s.loans == nil:
		return fmt.Errorf("%w: a reference, where no memory is lent", errFrame)
	case x.Length > uint64(most):
		return fmt.Errorf("%w: a payload of %d bytes, at most %d are taken", errFrame, x.Length, most)
	}
	f.Payload, it.loan, err = s.loans.Resolve(x)
	if err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	f.Flags &^= frame.Refers
	f.Length += uint32(len(f.Payload) - arena.ReferenceSize)
	it.size = frame.HeaderSize + int(f.Length)
	return nil
}

// hold notes an item's payload as one that is read in place. The caller holds mu.
func (b *borrowed) hold(seq uint64) error {
	if len(b.held)+len(b.back) >= maxReferred {
		return fmt.Errorf("%w: more than %d payloads by reference", errFrame, maxReferred)
	}
	b.held = append(b.held, seq)
	return nil
}

// release notes that nobody reads a payload any more. The caller holds mu.
func (b *borrowed) release(seq uint64) {
	i := slices.Index(b.held, seq)
	b.held = slices.Delete(b.held, i, i+1)
	b.back = append(b.back, seq)
}

// resume gives what the sender of a new session is to know, which is all there is to tell. The caller holds mu.
func (b *borrowed) resume() []uint64 {
	b.back, b.mapped = b.back[:0], b.mapped[:0]
	return slices.Clone(b.held)
}

// tell encodes what the sender does not know yet. The caller holds mu.
func (b *borrowed) tell(edge uint16, to []byte) []byte {
	for _, number := range b.mapped {
		f := frame.Frame{Header: frame.Header{Type: frame.Mapped, Edge: edge, Seq: uint64(number)}}
		to = f.Append(to)
	}
	b.mapped = b.mapped[:0]
	if len(b.back) == 0 {
		return to
	}
	var all [8 * maxReferred]byte
	payload := all[:0]
	for _, seq := range b.back {
		payload = binary.LittleEndian.AppendUint64(payload, seq)
	}
	b.back = b.back[:0]
	f := frame.Frame{Header: frame.Header{Type: frame.Release, Edge: edge}, Payload: payload}
	return f.Append(to)
}

// unread gives back what items refer to that were not taken: they come again, or their link is over.
func unread(batch []Item) {
	for i := range batch {
		if batch[i].loan != nil {
			batch[i].loan.Release()
		}
	}
}
