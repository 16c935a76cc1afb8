package quicmesh

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weft-stream/weft/quicmesh/barrier"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// inbox is where all inputs meet: items in the order they are to be received, the alignment of
// barriers and ends, and the attempt. What it holds is bounded by the links' windows.
type inbox struct {
	mesh *Mesh
	wake chan struct{} // for Receive, when ring was empty

	// Of Receive.
	ctx  <-chan struct{} // Done of the context whose end rouses it
	stop func() bool     // … which this undoes

	mu      sync.Mutex // before edge.mu and inLink.mu
	whole   []Item     // a batch of events alone, as it was cut: before what is in ring
	begin   int        // of what is left of whole
	spare   []Item     // the batch before it
	ring    []Item     // a ring; its length is a power of two
	head    int
	n       int // items in both
	aligner *barrier.Aligner
	done    []barrier.Mark // reused
	closed  bool
	moved   chan struct{} // closed by the next rollback or close; nil when nobody waits

	readings []*reading              // sessions that are being read
	direct   atomic.Pointer[reading] // the only one, which Receive reads itself; nil: none. Changed under mu
}

func (b *inbox) init(m *Mesh, inputs int) {
	b.mesh = m
	b.wake = make(chan struct{}, 1)
	b.ring = make([]Item, 64)
	b.aligner = barrier.New(inputs)
}

// push takes a batch from a link's reader, none of it of an attempt to come. Items of an old attempt are
// dropped. It gives the memory for the reader's next one.
func (b *inbox) push(l *inLink, batch []Item, duplicates uint64) ([]Item, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.stats.duplicates += duplicates
	before := b.n
	if before == 0 && b.takeWhole(l, batch) {
		next := b.spare
		b.spare = nil
		l.arrived()
		b.alert(l)
		return next[:0], nil
	}
	for i := range batch {
		it := &batch[i]
		if l.fenced.Load() || b.closed {
			it.drop()
			continue
		}
		if it.Attempt < b.mesh.Attempt() {
			l.stats.stale++
			it.drop()
			continue
		}
		if err := b.take(l, it); err != nil {
			for ; i < len(batch); i++ {
				batch[i].Release()
			}
			return nil, err
		}
	}
	l.arrived()
	if before == 0 && b.n > 0 {
		b.alert(l)
	}
	return batch[:0], nil
}

// takeWhole takes a batch as it is, when there is nothing before it and nothing in it but events of this attempt. The
// caller holds mu.
func (b *inbox) takeWhole(l *inLink, batch []Item) bool {
	if len(batch) == 0 || l.fenced.Load() || b.closed || l.number != unaligned && b.aligner.Ended(l.number) {
		return false
	}
	attempt, bytes, referred := b.mesh.Attempt(), uint64(0), uint64(0)
	for i := range batch {
		it := &batch[i]
		if it.Kind != KindEvent || it.Attempt != attempt {
			return false
		}
		bytes += uint64(it.size)
		if it.loan != nil {
			referred++
		}
	}
	l.stats.events += uint64(len(batch))
	l.stats.bytes += bytes
	l.stats.referred += referred
	b.whole, b.begin, b.n = batch, 0, len(batch)
	return true
}

// alert wakes who receives, if he isn't the one who reads l. The caller holds mu.
func (b *inbox) alert(by *inLink) {
	signal(b.wake)
	if r := b.direct.Load(); r != nil && r.link != by {
		r.rousable.Rouse()
	}
}

// enter notes that a session is being read.
func (b *inbox) enter(r *reading) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readings = append(b.readings, r)
	if r := b.direct.Load(); r != nil {
		b.letGo(r)
	}
}

// exit notes that a session is not read any more. Its goroutine has the turn.
func (b *inbox) exit(r *reading) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.direct.Load() == r {
		b.letGo(r)
	}
	b.readings = slices.DeleteFunc(b.readings, func(other *reading) bool { return other == r })
}

// claim gives the session that who receives is to read, if there is only one and it can be roused; else nil. The caller
// holds mu.
func (b *inbox) claim() *reading {
	if r := b.direct.Load(); r != nil || len(b.readings) != 1 {
		return r
	}
	r := b.readings[0]
	if r.rousable == nil || r.kept {
		return nil
	}
	b.direct.Store(r)
	r.rousable.Alone(b.mesh.cfg.Alone)
	r.rousable.Rouse() // its goroutine
	return r
}

// resign gives a session back to its goroutine; keep: for good.
func (b *inbox) resign(r *reading, keep bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.kept = r.kept || keep
	if b.direct.Load() == r {
		b.letGo(r)
	}
}

// letGo has the goroutine of the session that who receives has read read it. The caller holds mu.
func (b *inbox) letGo(r *reading) {
	b.direct.Store(nil)
	r.rousable.Alone(false)
	r.rousable.Rouse()
	signal(r.turn)
}

// await waits until the mesh is in attempt a, whose sender has heard of its rollback earlier. Events of a
// must not be passed on before: SetPeers comes first, and says who holds the slots in this attempt. false:
// the session has ended, or the mesh is closed.
func (b *inbox) await(s *session, a frame.Attempt) bool {
	for {
		b.mu.Lock()
		if closed := b.closed; closed || a <= b.mesh.Attempt() {
			b.mu.Unlock() // a defer in a loop would cost an allocation for every batch
			return !closed
		}
		if b.moved == nil {
			b.moved = make(chan struct{})
		}
		moved := b.moved
		b.mu.Unlock()
		select {
		case <-moved:
		case <-s.done:
			return false
		}
	}
}

// move lets those who await look again. The caller holds mu.
func (b *inbox) move() {
	if b.moved != nil {
		close(b.moved)
		b.moved = nil
	}
}

// take is one item of the current attempt. The caller holds mu.
func (b *inbox) take(l *inLink, it *Item) (err error) {
	if l.number == unaligned && it.Kind != KindEvent {
		return fmt.Errorf("%w: a barrier or an end on an edge that leads back", errFrame)
	}
	switch it.Kind {
	case KindEvent:
		if l.number != unaligned && b.aligner.Ended(l.number) {
			return fmt.Errorf("%w: an event after the end", errFrame)
		}
		l.stats.events++
		l.stats.bytes += uint64(it.size)
		if it.loan != nil {
			l.stats.referred++
		}
		b.put(*it)
	case KindBarrier:
		if err = b.brings(l.number, barrier.Mark{Number: it.Barrier, Version: it.Version}, it.Attempt); err == nil {
			l.brought(it)
		}
	case KindEnd:
		b.ends(l.number, it.Attempt)
		l.brought(it)
	}
	return err
}

// brings takes a barrier of an input. The caller holds mu.
func (b *inbox) brings(input int, m barrier.Mark, a frame.Attempt) (err error) {
	b.done, err = b.aligner.Barrier(input, m, b.done[:0])
	b.putBarriers(a)
	return err
}

// ends takes the end of an input. The caller holds mu.
func (b *inbox) ends(input int, a frame.Attempt) {
	var all bool
	b.done, all = b.aligner.End(input, b.done[:0])
	b.putBarriers(a)
	if all {
		b.put(Item{Kind: KindEnd, Attempt: a})
	}
}

// goOn takes what an earlier life has noted of an input: barriers that were not passed on, behind frames
// that are all done, and its end.
func (b *inbox) goOn(l *inLink, r *record) {
	if l.number == unaligned {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	before := b.n
	for _, m := range r.waiting(b.mesh.progress.head.passed.Load()) {
		_ = b.brings(l.number, m, b.mesh.Attempt()) // not too many: there were no more before
	}
	if end := r.end.Load(); end != 0 && end <= l.done.upTo {
		b.ends(l.number, b.mesh.Attempt())
	}
	if before == 0 && b.n > 0 {
		b.alert(nil)
	}
}

func (b *inbox) putBarriers(a frame.Attempt) {
	for _, m := range b.done {
		b.put(Item{Kind: KindBarrier, Barrier: m.Number, Version: m.Version, Attempt: a})
	}
}

// join makes room for an input of a version to come, and gives its number.
func (b *inbox) join() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.aligner.Join()
}

// settle lets an input count like those that were there from the beginning.
func (b *inbox) settle(input int) {
	if input == unaligned {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.aligner.Settle(input)
}

// leave forgets an input: what waited for it alone is complete.
func (b *inbox) leave(input int) {
	if input == unaligned {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	var all bool
	b.done, all = b.aligner.Leave(input, b.done[:0])
	b.putBarriers(b.mesh.Attempt())
	if all {
		b.put(Item{Kind: KindEnd, Attempt: b.mesh.Attempt()})
	}
	b.alert(nil)
}

// put appends an item. The caller holds mu.
func (b *inbox) put(it Item) {
	n := b.n - (len(b.whole) - b.begin)
	if n == len(b.ring) {
		grown := make([]Item, 2*len(b.ring))
		n := copy(grown, b.ring[b.head:])
		copy(grown[n:], b.ring[:b.head])
		b.ring, b.head = grown, 0
	}
	b.ring[(b.head+n)&(len(b.ring)-1)] = it
	b.n++
}

// pop takes the oldest item out. The caller holds mu and knows that there is one.
func (b *inbox) pop() *Item {
	if b.begin < len(b.whole) {
		it := &b.whole[b.begin]
		b.begin++
		b.n--
		if b.begin == len(b.whole) { // the item is the caller's until it lets mu go
			b.spare, b.whole, b.begin = b.whole, nil, 0
		}
		return it
	}
	it := &b.ring[b.head]
	b.head = (b.head + 1) & (len(b.ring) - 1)
	b.n--
	return it
}

// receive waits for items and appends as many as fit into into.
func (b *inbox) receive(ctx context.Context, into []Item) ([]Item, error) {
	for {
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			return into, fmt.Errorf("receive: %w", ErrClosed)
		}
		if b.n > 0 {
			into = b.hand(into)
			b.mu.Unlock()
			return into, nil
		}
		r := b.claim()
		b.mu.Unlock()
		if r != nil && ctx.Err() == nil {
			b.heed(ctx)
			if r.receive() {
				continue
			}
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			return into, fmt.Errorf("receive: %w", ctx.Err())
		}
	}
}

// heed has the end of ctx rouse who receives.
func (b *inbox) heed(ctx context.Context) {
	if ctx.Done() == b.ctx {
		return
	}
	if b.stop != nil {
		b.stop()
	}
	b.ctx, b.stop = ctx.Done(), context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.alert(nil)
	})
}

// hand moves items out and notes how long they were on their way. The caller holds mu.
func (b *inbox) hand(into []Item) []Item {
	now := b.mesh.cfg.Now().UnixMicro()
	for b.n > 0 && len(into) < cap(into) {
		it := b.pop()
		if it.Kind == KindEvent && it.Frame.Sent != 0 {
			it.link.stats.hops.Add(now - it.Frame.Sent)
		}
		into = append(into, *it)
		*it = Item{}
	}
	return into
}

// rollback begins attempt a if it is a higher one. The caller holds mu.
func (b *inbox) rollback(a frame.Attempt) {
	if a <= b.mesh.Attempt() || b.closed {
		return
	}
	b.mesh.attempt.Store(uint64(a))
	b.mesh.progress.rollback(a)
	b.move()
	b.clear()
	b.aligner.Reset()
	b.put(Item{Kind: KindRollback, Attempt: a})
	b.alert(nil)
	for _, e := range b.mesh.out {
		e.rolledBack()
	}
}

// clear drops all items, returning their credit. The caller holds mu.
func (b *inbox) clear() {
	for b.n > 0 {
		it := b.pop()
		it.Release()
		*it = Item{}
	}
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.move()
	b.clear()
	b.alert(nil)
}
