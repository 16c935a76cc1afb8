package worker

import (
	"context"
	"slices"
	"sync"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
)

const (
	// maxSinkBytes bounds what a sink has taken and the user's weft has not confirmed, in bytes; a larger
	// event goes alone.
	maxSinkBytes = 1 << 20
	// maxWrite bounds one message of it: heartbeats and others' bytes go between the parts of a large event.
	maxWrite = 4 << 20
)

// sink writes events, one a line, by way of the hook. Each write is confirmed; what comes in meanwhile is
// the next one. Barriers and the end are told when everything before them is confirmed.
type sink struct {
	slot *slot
	to   control.Transfer // Offset: bytes confirmed

	mu      sync.Mutex
	changed *sync.Cond
	pending []byte // to be written next
	events  uint64 // in pending
	spare   []byte // the buffer that is not pending
	writing int    // bytes being written
	closed  bool
}

func newSink(s *slot) *sink {
	k := &sink{slot: s, to: s.transfer()}
	k.changed = sync.NewCond(&k.mu)
	return k
}

func (k *sink) prepare(context.Context) error  { return nil }
func (k *sink) command(*control.Message) error { return nil }
func (k *sink) close()                         {}

func (k *sink) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var loops sync.WaitGroup
	loops.Go(func() { cancel(k.writeLoop(ctx)) })
	stop := context.AfterFunc(ctx, k.shut) // wakes whoever waits for changed
	defer stop()
	cancel(k.receiveLoop(ctx))
	k.shut()
	loops.Wait()
	return context.Cause(ctx)
}

func (k *sink) shut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.changed.Broadcast()
}

func (k *sink) receiveLoop(ctx context.Context) error {
	var items []quicmesh.Item
	for {
		var err error
		if items, err = k.slot.local.Receive(ctx, items); err != nil {
			return err
		}
		for i := range items {
			if err == nil {
				err = k.item(&items[i])
			}
			items[i].Release()
		}
		if err != nil {
			return err
		}
	}
}

func (k *sink) item(it *quicmesh.Item) error {
	switch it.Kind {
	case quicmesh.KindEvent:
		k.slot.counts.In.Add(1)
		return k.add(&it.Frame)
	case quicmesh.KindRollback:
		k.forget()
		return nil
	}
	if err := k.flush(); err != nil {
		return err
	}
	if it.Kind == quicmesh.KindBarrier {
		k.slot.markBarrier(control.TypeBarrierPassed, it.Attempt, it.Barrier, 0)
	} else {
		k.slot.setEnded(it.Attempt)
	}
	return nil
}

// add takes one event, when there is room for it.
func (k *sink) add(f *frame.Frame) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	line := oneLine(f.Payload)
	for !k.closed && len(k.pending)+k.writing > 0 && len(k.pending)+k.writing+len(line) >= maxSinkBytes {
		k.changed.Wait()
	}
	if k.closed {
		return errStopped
	}
	k.pending = append(append(k.pending, line...), '\n')
	k.events++
	k.changed.Broadcast()
	return nil
}

// forget drops what was not given to the hook.
func (k *sink) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pending, k.events = k.pending[:0], 0
	k.changed.Broadcast()
}

// flush waits until everything is confirmed.
func (k *sink) flush() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for !k.closed && len(k.pending)+k.writing > 0 {
		k.changed.Wait()
	}
	if k.closed {
		return errStopped
	}
	return nil
}

func (k *sink) writeLoop(ctx context.Context) error {
	for {
		batch, events, err := k.next()
		if err != nil {
			return err
		}
		for part := range slices.Chunk(batch, maxWrite) {
			_, err = k.slot.hook.insist(ctx, control.TypeWrite, k.to, part, nil, transferPatience)
			if err != nil {
				return err
			}
			k.to.Offset += int64(len(part))
		}
		k.slot.counts.Out.Add(events)
		k.confirmed(batch)
	}
}

// next waits for something to write.
func (k *sink) next() ([]byte, uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for !k.closed && len(k.pending) == 0 {
		k.changed.Wait()
	}
	if k.closed {
		return nil, 0, errStopped
	}
	batch, events := k.pending, k.events
	k.pending, k.events, k.spare = k.spare[:0], 0, nil
	k.writing = len(batch)
	return batch, events, nil
}

func (k *sink) confirmed(batch []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writing, k.spare = 0, batch
	if cap(batch) > 2*maxSinkBytes {
		k.spare = nil // one large event shouldn't hold its memory for good
	}
	k.changed.Broadcast()
}
