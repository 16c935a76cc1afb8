package quicmesh

import (
	"context"

	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/buf"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// Kind tells what an Item is.
type Kind uint8

// The kinds of items.
const (
	KindEvent    Kind = iota + 1 // one event; Release it when consumed
	KindBarrier                  // every input has brought this barrier, or has ended
	KindEnd                      // every input has ended
	KindRollback                 // a new attempt has begun: nothing older comes after this
)

// Item is what Receive gives.
type Item struct {
	Kind Kind
	Edge uint16 // of an event
	From Slot   // of an event
	// Frame is the event; its slices are valid until Release, and only to be read. A large payload may be the sender's
	// memory, in which that one can still write.
	Frame   frame.Frame
	Barrier uint64        // number of a barrier
	Version uint64        // of a barrier: the assignment that is valid behind it; 0: the one before it
	Attempt frame.Attempt // of all kinds; of a rollback the new one

	link *inLink
	buf  *buf.Buf
	loan *arena.Loan // that the payload lies in; nil: it is in buf
	held bool        // the loan is given back by Hold's function
	size int         // bytes of credit
}

// Release says that an event is consumed: its credit returns to the sender, its slices are void. On
// other items, and a second time on the same variable, it does nothing; a copy must not be released again.
func (it *Item) Release() {
	if it.buf == nil {
		return
	}
	it.link.release(it)
	it.buf.Release()
	if it.loan != nil {
		it.loan.Release()
	}
	it.buf, it.loan, it.held, it.Frame = nil, nil, false, frame.Frame{}
}

// drop is Release of what nobody receives.
func (it *Item) drop() {
	if it.Kind == KindEvent {
		it.Release()
	} else if it.link != nil {
		it.link.release(it)
	}
}

// Keep keeps the memory of the slices of an event that is not released yet, until the function that it returns is
// called. What is in it may change after Release, where the sender has lent it: the event is void then.
func (it *Item) Keep() (free func()) {
	if it.loan == nil {
		it.buf.Retain(1)
		return it.buf.Release
	}
	it.loan.Retain() // who keeps has the rest in a copy
	return it.loan.Release
}

// Hold keeps the payload of an event that is not released yet as it is, until the function that it returns is called,
// from any goroutine. Where the sender has lent it, that one may not use its memory again meanwhile, and copies
// what it sends when a link's receiver holds too much. Once for an item.
func (it *Item) Hold() (free func()) {
	unmap := it.Keep()
	if it.loan == nil {
		return unmap
	}
	it.held = true
	l, seq := it.link, it.Frame.Seq
	return func() {
		l.giveBack(seq)
		unmap()
	}
}

// Receive waits for at least one item and returns what there is, in order, up to the capacity of
// into, which it overwrites (a new slice when that is zero).
func (m *Mesh) Receive(ctx context.Context, into []Item) ([]Item, error) {
	if cap(into) == 0 {
		into = make([]Item, 0, 256)
	}
	return m.inbox.receive(ctx, into[:0])
}
