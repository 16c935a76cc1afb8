package worker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// source makes events and sends them, from a position that the brain knows: one goroutine per attempt.
// Between two events it answers the barrier that the hook has ordered.
type source struct {
	slot *slot
	wake chan struct{} // of one element: a barrier is ordered

	prefix string // of events' ids: "STAGE[i]:"
	id     []byte // reused

	answered *control.Barrier // the last order that was, with the position; the maker's
	paused   bool             // nothing is made in this attempt any more; the maker's

	mu        sync.Mutex
	order     *control.Barrier        // not answered yet
	positions map[frame.Attempt]int64 // of rollbacks that mesh has not told of yet
}

// origin is where a source's events come from.
type origin interface {
	// next waits for the next event and gives it; io.EOF after the last. errInterrupted when wake came
	// first. The event's ID is left to the source. failure is why what was read is no event.
	next(ctx context.Context, wake <-chan struct{}) (made, error)
	// position is where to go on after all that next has given.
	position() int64
	close()
}

// made is one event of an origin. Its payload is valid until the next one.
type made struct {
	position int64 // of the event
	payload  []byte
	failure  error
}

// Ends of an origin's next that are no failures.
var (
	errInterrupted = errors.New("source: a barrier is ordered")
	errFinished    = errors.New("source: no more events")
)

func newSource(s *slot) *source {
	return &source{
		slot: s, wake: make(chan struct{}, 1), positions: map[frame.Attempt]int64{},
		prefix: s.assignment.Slot.String() + ":",
	}
}

func (s *source) prepare(context.Context) error { return nil }

// close lets the callers of an ingress go.
func (s *source) close() {
	if s.slot.desk != nil {
		s.slot.desk.close()
	}
}

// command takes the hook's orders to a source; it never blocks.
func (s *source) command(m *control.Message) error {
	switch m.Type {
	case control.TypeBarrier:
		var c control.Barrier
		if err := m.Decode(&c); err != nil {
			return err
		}
		if s.slot.accepts(c.Term) {
			s.setOrder(&c)
		}
	case control.TypeRollback:
		var c control.Rollback
		if err := m.Decode(&c); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.positions[c.Attempt] = c.Position
	}
	return nil // complete barriers are the brain's: a source keeps nothing that it could let go
}

func (s *source) setOrder(c *control.Barrier) {
	s.mu.Lock()
	s.order = c
	s.mu.Unlock()
	s.assigned()
}

// assigned lets the maker look again: at an order, or at whether it may make events.
func (s *source) assigned() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *source) takeOrder() *control.Barrier {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.order
	s.order = nil
	return o
}

// began gives the position an attempt begins at. Attempts that were overtaken are forgotten.
func (s *source) began(a frame.Attempt) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	position, ok := s.positions[a]
	if !ok {
		return 0, fmt.Errorf("attempt %v has begun and nobody has said where", a)
	}
	for old := range s.positions {
		if old <= a {
			delete(s.positions, old)
		}
	}
	return position, nil
}

// run makes the events of one attempt after the other.
func (s *source) run(ctx context.Context) error {
	attempt, position := s.slot.assignment.Attempt, s.slot.assignment.Position
	rolled := make(chan frame.Attempt, 1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var loops sync.WaitGroup
	defer loops.Wait()
	defer cancel(nil)
	loops.Go(func() { cancel(s.receiveLoop(ctx, rolled)) })
	for {
		making, stop := context.WithCancel(ctx)
		var maker sync.WaitGroup
		maker.Go(func() {
			if err := s.makeLoop(making, attempt, position); err != nil && making.Err() == nil {
				cancel(err)
			}
		})
		select {
		case attempt = <-rolled:
		case <-ctx.Done():
		}
		stop()
		maker.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var err error
		if position, err = s.began(attempt); err != nil {
			return err
		}
	}
}

// receiveLoop hears of rollbacks, and of what comes back to an ingress. It waits for nothing else: the
// sinks' returns must not be held up by events that wait for credit.
func (s *source) receiveLoop(ctx context.Context, rolled chan frame.Attempt) error {
	var items []quicmesh.Item
	for {
		var err error
		if items, err = s.slot.local.Receive(ctx, items); err != nil {
			return err
		}
		for i := range items {
			it := &items[i]
			if it.Kind == quicmesh.KindEvent {
				s.slot.desk.returned(&it.Frame)
				it.Release()
				continue
			}
			select { // only the last one counts
			case <-rolled:
			default:
			}
			rolled <- it.Attempt
		}
	}
}

// makeLoop sends the events of one attempt, and stays to answer barriers when there are no more.
func (s *source) makeLoop(ctx context.Context, attempt frame.Attempt, position int64) error {
	var from origin // nil before events may flow
	defer func() {
		if from != nil {
			from.close()
		}
	}()
	ended := false
	s.paused = false
	for {
		flows := s.slot.flows() && !s.paused
		if flows && from == nil {
			from = s.open(ctx, position)
		}
		var m made
		err := errInterrupted
		if flows && !ended {
			m, err = from.next(ctx, s.wake)
		} else if err := s.rest(ctx); err != nil {
			return err
		}
		switch {
		case err == nil:
			err = s.send(ctx, attempt, &m)
		case errors.Is(err, errInterrupted):
			if from != nil {
				position = from.position()
			}
			position, err = s.cut(ctx, attempt, position, ended)
		case errors.Is(err, errFinished):
			ended = true
			if err = s.slot.local.EndOf(ctx, attempt); err == nil {
				s.slot.setEnded(attempt)
			}
		}
		if errors.Is(err, quicmesh.ErrStale) {
			<-ctx.Done() // the rollback is on its way
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// rest waits for a barrier's order.
func (s *source) rest(ctx context.Context) error {
	select {
	case <-s.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cut answers the barrier that was ordered. After the end there is nothing to cut.
// A source that joins learns from the order where to begin.
func (s *source) cut(ctx context.Context, attempt frame.Attempt, position int64, ended bool) (int64, error) {
	o := s.takeOrder()
	if o == nil || o.Attempt != attempt {
		return position, nil
	}
	if a := s.answered; a != nil && a.Attempt == attempt && a.Barrier == o.Barrier { // a hook that took over asks again
		s.slot.markBarrier(control.TypeBarrierAt, attempt, o.Barrier, a.Position)
		return position, nil
	}
	if o.Version != 0 && s.slot.joining() {
		position = o.Position
	}
	if !ended {
		if err := s.slot.local.SwitchOf(ctx, attempt, o.Barrier, o.Version); err != nil {
			return position, err
		}
	}
	s.slot.cutFor(o.Version)
	s.paused = s.paused || o.Pause
	o.Position = position
	s.answered = o
	s.slot.markBarrier(control.TypeBarrierAt, attempt, o.Barrier, position)
	return position, nil
}

// send gives an event its id: the slot and the position.
func (s *source) send(ctx context.Context, attempt frame.Attempt, m *made) error {
	ev := quicmesh.Event{
		ID:        strconv.AppendInt(append(s.id[:0], s.prefix...), m.position, 10),
		EventTime: time.Now().UnixMicro(),
		Payload:   m.payload,
		Attempt:   attempt,
	}
	s.id = ev.ID
	s.slot.counts.In.Add(1)
	if m.failure != nil {
		return s.slot.outlet.Fail(ctx, &ev, outlet.ErrorText(fmt.Sprintf("%v, at byte %d of the source", m.failure, m.position)), nil)
	}
	return s.slot.outlet.Send(ctx, frame.AllEdges, &ev)
}

// open gives the stage's origin from a position on.
func (s *source) open(ctx context.Context, position int64) origin {
	src := s.slot.stage.Source
	if src.Ingress {
		s.slot.desk.begin(position)
		return calls{s.slot.desk}
	}
	if src.Generator != nil {
		return newGenerator(src.Generator, s.slot.assignment.Slot.Index, s.slot.stage.Replicas.Min, position)
	}
	format := src.Format
	if format == "" {
		format = pipeline.Lines
	}
	return newReader(ctx, s.slot, format, position)
}
