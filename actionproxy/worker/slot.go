package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/processors"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// failedGrace is how long a worker that can't go on waits for the hook to end it.
const failedGrace = 3 * time.Second

// slot is one held slot, from the take of its lease to its end.
type slot struct {
	hook       *hookConn
	assignment *control.Assignment
	stage      *pipeline.Stage
	fn         *actionproxy.Function
	addr       string
	transport  transport.Transport
	mesh       neighbours
	local      *direct.Place // mesh, when it is in this process; else nil
	outlet     *outlet.Outlet
	desk       *desk // of an ingress; else nil
	counts     *outlet.Counts
	fused      []*fusedCounts // of stages that are fused with the slot's
	restarts   atomic.Int64   // of the function
	logs       *logs
	runner     runner
	processors *processors.Scale // nil: not ours to set

	ctx     context.Context // ends when the slot is to stop; its cause is an *ending in an endError
	cancel  context.CancelCauseFunc
	stopped chan struct{} // closed when everything has stopped
	links   chan error    // of one element: why a link can never come up

	mu      sync.Mutex
	lease   *leaseRequest // the last one: what functions are told of their activation
	term    uint32        // the highest seen
	ready   bool
	ended   frame.Attempt        // the last one that has ended here; 0 for none
	failed  string               // why the worker can't go on
	barrier *control.BarrierMark // the last one told
	mark    string               // its type
	joins   bool                 // the slot is ours from a version to come on
	leaves  uint64               // the version to come that we are not in; 0: none
	cut     uint64               // the last version whose barrier our stream was cut for
}

// neighbours is a slot's place in the mesh, in this process (direct.Place) or in its function's (direct.go).
type neighbours interface {
	Open(ctx context.Context) error
	WaitLinks(ctx context.Context) error
	Accept()
	Close() error
	Attempt() frame.Attempt
	Rollback(a frame.Attempt)
	SetVersions(now quicmesh.Version, next *quicmesh.Version)
	Stats() quicmesh.Stats
	Offer(from transport.Identity, end shmring.End)
	Want(edge uint16, wish string)
	Look()
}

// runner is what a slot does with events: a function's pump, a source or a sink.
type runner interface {
	// prepare returns when events can be taken. Its error is the function's words.
	prepare(ctx context.Context) error
	// run moves events until ctx ends. Its error says why the worker can't go on.
	run(ctx context.Context) error
	// command takes a message of the hook that concerns this stage only; it never blocks.
	command(m *control.Message) error
	// close lets go of the function, after run.
	close()
}

// endError carries an ending as the cause of a context.
type endError struct{ *ending }

func (e endError) Error() string { return e.reason }

// newSlot makes a slot that does nothing yet. It takes over the candidate's endpoint.
func newSlot(hook *hookConn, c *candidate, a *control.Assignment, r *leaseRequest, fn *actionproxy.Function) (*slot, error) {
	s := &slot{
		hook: hook, assignment: a, fn: fn, addr: c.endpoint.Addr(), lease: r, term: a.Term,
		stage: a.Pipeline.Stage(a.Slot.Stage), counts: &outlet.Counts{}, stopped: make(chan struct{}), links: make(chan error, 1), joins: a.Joins,
	}
	if s.stage == nil {
		return nil, fmt.Errorf("the assignment's pipeline has no stage %q", a.Slot.Stage)
	}
	for _, f := range s.stage.Fused[min(len(s.stage.Fused), 1):] {
		s.fused = append(s.fused, &fusedCounts{f.Name, &outlet.Counts{}})
	}
	s.logs = newLogs(logSender(hook, a))
	if s.stage.Source != nil && s.stage.Source.Ingress {
		s.desk = newDesk(s)
	}
	if err := s.join(c); err != nil {
		return nil, err
	}
	if s.local != nil {
		s.openOutlet(&deadLetters{hook: hook, to: s.transfer()})
	}
	s.mesh.SetVersions(meshVersion(a.Holders), meshNext(a.Next))
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	var err error
	if s.runner, err = newRunner(s); err != nil {
		_ = s.mesh.Close() // nothing was sent
		s.closeTransports()
		return nil, err
	}
	return s, nil
}

func newRunner(s *slot) (runner, error) {
	h, holds := s.mesh.(*held)
	switch {
	case holds:
		return h, nil
	case s.stage.Source != nil:
		return newSource(s), nil
	case s.stage.Sink != nil && s.stage.Sink.Reply:
		return newReplier(s), nil
	case s.stage.Sink != nil:
		return newSink(s), nil
	case s.fn == nil || s.fn.Process() == nil:
		return nil, fmt.Errorf("stage %s is a function, but this container has none", s.stage.Name)
	case s.fn.Process().ABI() == streamABI:
		return newStream(s), nil
	}
	return newActionLoop(s), nil
}

// run holds the slot until it is to stop, takes everything down and says why it ended.
func (s *slot) run() *ending {
	defer close(s.stopped)
	background, stop := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	loops.Go(func() { s.logs.sendLoop(background) })
	loops.Go(func() { s.statsLoop(background) })
	restore := s.captureOutput()
	err := s.work()
	s.runner.close()
	restore()
	if err != nil && s.ctx.Err() == nil {
		s.fail(err)
	}
	// The mesh first: its goodbyes go over the transports.
	_ = s.mesh.Close()
	s.closeTransports()
	stop()
	loops.Wait()
	if h, ok := s.mesh.(*held); ok {
		h.forget()
	}
	return s.ending()
}

// work is the slot's life in order: mesh, function, links, events. The end of ctx is no error.
func (s *slot) work() error {
	if err := s.mesh.Open(s.ctx); err != nil {
		return err
	}
	if err := s.runner.prepare(s.ctx); err != nil {
		return err
	}
	if err := s.awaitLinks(); err != nil {
		return err
	}
	s.setReady()
	s.mesh.Accept() // last, so that readiness runs from the sinks to the sources
	return s.runner.run(s.ctx)
}

// awaitLinks waits until all links are up, or one of them can't be.
func (s *slot) awaitLinks() error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case err := <-s.links:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	err := s.mesh.WaitLinks(ctx)
	if err != nil && s.ctx.Err() == nil {
		err = context.Cause(ctx)
	}
	cancel(nil)
	<-watched
	return err
}

// unlinked notes that a link can never come up. Once the slot is ready, the link's state tells.
func (s *slot) unlinked(err error) {
	select {
	case s.links <- err:
	default:
	}
}

// fail tells the hook that this worker can't go on, and waits a moment for its decision.
func (s *slot) fail(err error) {
	s.mu.Lock()
	s.failed = err.Error()
	s.mu.Unlock()
	s.logs.say("%v", err)
	s.tell(control.TypeFailed, s.failed)
	select {
	case <-s.ctx.Done():
	case <-time.After(failedGrace):
		s.stop(&ending{reason: "failed", err: s.failed})
	}
}

// stop makes the slot end, for the first reason given. It doesn't wait; see stopped.
func (s *slot) stop(e *ending) { s.cancel(endError{e}) }

func (s *slot) ending() *ending {
	var e endError
	if errors.As(context.Cause(s.ctx), &e) {
		return e.ending
	}
	return &ending{reason: "stopped"}
}

// captureOutput sends what the function prints to the hook; the proxy's own streams are the platform's.
func (s *slot) captureOutput() (restore func()) {
	if s.fn == nil || s.fn.Process() == nil {
		return func() {}
	}
	stdout, stderr := s.fn.Process().Output()
	s.fn.Process().SetOutput(s.logs.writer("stdout"), s.logs.writer("stderr"))
	return func() {
		p := s.fn.Process() // may be another one than at the start
		p.Drain()
		p.SetOutput(stdout, stderr)
	}
}

// accepts remembers the highest term, and refuses the commands of an owner that was replaced.
func (s *slot) accepts(term uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term < s.term {
		return false
	}
	s.term = term
	return true
}

// command takes the hook's messages but the lease's. It never blocks.
func (s *slot) command(m *control.Message) error {
	switch m.Type {
	case control.TypePeers:
		var c control.Peers
		if err := m.Decode(&c); err != nil {
			return err
		}
		if s.accepts(c.Term) {
			s.assign(&c)
		}
		return nil
	case control.TypeOffer:
		return s.offered(m)
	case control.TypeRoom:
		s.mesh.Look()
		return nil
	case control.TypeRollback:
		var c control.Rollback
		if err := m.Decode(&c); err != nil {
			return err
		}
		if s.accepts(c.Term) {
			s.rollback(m, c.Attempt)
		}
		return nil
	}
	return s.runner.command(m)
}

// rollback begins an attempt: the runner finds it among what it receives.
func (s *slot) rollback(m *control.Message, a frame.Attempt) {
	if err := s.runner.command(m); err != nil {
		s.logs.say("%v", err)
	}
	s.mesh.Rollback(a)
}

// renewed notes the new lease's facts, which functions are told from now on.
func (s *slot) renewed(r *leaseRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = r
}

func (s *slot) currentLease() *leaseRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease
}

// timeout of one event.
func (s *slot) timeout() time.Duration { return time.Duration(s.stage.TimeoutMS) * time.Millisecond }
