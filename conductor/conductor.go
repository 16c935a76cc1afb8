// Package conductor is the brain of a running pipeline: events in, commands out, no clock, no I/O. It
// decides who holds which slot, keeps the leases, draws the barriers and repairs what is lost. The
// package also has the conductor action, the pipeline's door into OpenWhisk.
//
// The owner (invokerhook) gives every event to Brain.Step with the time. When Step has changed the
// snapshot (Dirty), the owner writes it to the registry first and carries out the commands only then:
// whoever takes over knows at least as much as any worker was told.
package conductor

import (
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// Config makes a Brain. Zero durations get the defaults in brackets.
type Config struct {
	Namespace string
	Pipeline  pipeline.Pipeline
	// Term is the owner's, above that of every earlier run of this pipeline: it fences those.
	Term uint32
	// KeySeed is random for each run: of the hash of keys, and of the leases' ids.
	KeySeed uint64

	PauseGrace     time.Duration // how long the platform lets an idle container run (10 s)
	LeaseDuration  time.Duration // how long a lease is held at most (the pipeline's, else 4 min)
	BarrierEvery   time.Duration // (1 s)
	BarrierTimeout time.Duration // after which a barrier is given up (30 s)
	StartTimeout   time.Duration // (60 s)
	ReturnGrace    time.Duration // for workers to come back to a new owner (5 s)
}

// Brain is one pipeline's. It isn't safe for concurrent use: the owner's loop has it.
type Brain struct {
	s     state
	now   int64 // of the Step under way, epoch milliseconds
	out   []Command
	saved []byte // what is durable of the state that the last Snapshot call returned
}

// New makes the brain of a pipeline that has not begun; Begin starts it.
func New(c Config) *Brain {
	b := &Brain{s: state{
		Namespace: c.Namespace,
		Pipeline:  c.Pipeline,
		Term:      c.Term,
		KeySeed:   c.KeySeed,
		Timing:    c.timing(),
		Phase:     control.Starting,
		Attempt:   frame.MakeAttempt(c.Term, 1),
	}}
	for _, s := range c.Pipeline.Slots() {
		b.s.Slots = append(b.s.Slots, &slot{Slot: s})
	}
	b.s.StandBys = standBys(&c.Pipeline)
	return b
}

func (c Config) timing() timing {
	ms := func(choices ...time.Duration) int64 {
		for _, d := range choices {
			if d > 0 {
				return d.Milliseconds()
			}
		}
		return 0
	}
	return timing{
		PauseGrace:     ms(c.PauseGrace, 10*time.Second),
		Lease:          ms(c.LeaseDuration, c.Pipeline.Lease(), 4*time.Minute),
		BarrierEvery:   ms(c.BarrierEvery, time.Second),
		BarrierTimeout: ms(c.BarrierTimeout, 30*time.Second),
		Start:          ms(c.StartTimeout, time.Minute),
		Return:         ms(c.ReturnGrace, 5*time.Second),
	}
}

// Step takes one event and returns what is to be done, in order. Times must not run backwards.
func (b *Brain) Step(now time.Time, ev Event) []Command {
	b.now, b.out = now.UnixMilli(), nil
	b.noteTakeOver()
	b.noteGap()
	b.take(ev)
	for _, watch := range []func(){b.watchStart, b.watchReturns, b.watchLeases, b.watchOutage, b.watchChange, b.watchBarrier, b.watchSuspend, b.useStandBys, b.wantLeases} {
		if b.active() {
			watch()
		}
	}
	if b.s.Phase == control.Suspended {
		b.wantLeases()
	}
	b.watchStop()
	return b.out
}

func (b *Brain) take(ev Event) {
	switch e := ev.(type) {
	case Begin:
		b.begin()
	case Stop:
		b.stop(e)
	case Scale:
		b.scale(e)
	case Restart:
		b.restart(e)
	case Update:
		b.update(e)
	case Prepared:
		b.prepared(e)
	case LeaseFired:
		b.leaseFired(e)
	case LeaseRefused:
		b.leaseRefused(e)
	case LeaseCompleted:
		b.leaseCompleted(e)
	case Platform:
		b.platform(e)
	case Stranded:
		b.stranded(e)
	case Arrived:
		b.arrived(e)
	case Returned:
		b.returned(e)
	case Ready:
		b.ready(e)
	case Failed:
		b.failed(e)
	case Restarted:
		b.restarted(e)
	case Ended:
		b.ended(e)
	case Gone:
		b.gone(e)
	case Frozen:
		b.frozen(e)
	case Remark:
		b.remark(e)
	case BarrierAt:
		b.barrierAt(e)
	case BarrierPassed:
		b.barrierPassed(e)
	}
}

func (b *Brain) do(c Command) { b.out = append(b.out, c) }

// active is true from Begin until the end is decided.
func (b *Brain) active() bool {
	return b.s.BeganMS != 0 && (b.s.Phase == control.Starting || b.s.Phase == control.Running)
}
