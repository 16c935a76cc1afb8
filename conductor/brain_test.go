package conductor_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// world plays platform, workers and owner at random and checks what the brain does. A twin is made
// from a snapshot now and then and gets the same events: it must do the same.
type world struct {
	brain, twin *conductor.Brain
	now         time.Time
	term        uint32
	n           int // of workers and activations

	ids      []string                  // of leases, every one ever fired
	stages   map[string]string         // by id
	accepted map[string]bool           // ids that got anything but Refused
	fired    map[string]string         // activation → id
	holders  map[pipeline.Slot]*worker // as the commands say
	workers  []*worker                 // every one that ever took a slot
	given    map[pipeline.Slot]uint64  // highest incarnation
	barrier  uint64                    // highest complete
	trimmed  int64
	attempt  frame.Attempt
	finished bool
	asked    bool // the platform, which has not answered

	asking  map[string]conductor.Arrived // questions that are open, by lease and worker
	standBy []conductor.Arrived          // all that ever stood by
}

type worker struct {
	id, activation, lease string
	holder                conductor.Holder
}

func newWorld(t *rapid.T) *world {
	stage := func(name string, n int) pipeline.Stage {
		return pipeline.Stage{Name: name, Replicas: pipeline.Replicas{Min: n, Max: n}}
	}
	p := pipeline.Pipeline{Name: "p", LeaseMS: 20_000, Stages: []pipeline.Stage{
		stage("in", rapid.IntRange(1, 2).Draw(t, "sources")), stage("f", rapid.IntRange(1, 3).Draw(t, "functions")), stage("out", 1),
	}}
	p.Stages[0].Source = &pipeline.Source{Stdin: true, Format: pipeline.Lines}
	p.Stages[1].Standby = rapid.IntRange(0, 2).Draw(t, "standing by")
	p.Stages[1].Stateful = rapid.IntRange(0, 9).Draw(t, "stateful") == 0
	p.Stages[2].Sink = &pipeline.Sink{Stdout: true}
	p.Edges = []pipeline.Edge{{From: "in", To: "f", Routing: pipeline.Balance}, {From: "f", To: "out", Routing: pipeline.Balance, Transport: pipeline.Auto}}
	w := &world{
		brain: conductor.New(conductor.Config{Namespace: "guest", Pipeline: p, Term: 1, KeySeed: 1, StartTimeout: 10 * time.Minute}),
		now:   time.UnixMilli(5), term: 1,
		stages: map[string]string{}, accepted: map[string]bool{}, fired: map[string]string{},
		holders: map[pipeline.Slot]*worker{}, given: map[pipeline.Slot]uint64{}, asking: map[string]conductor.Arrived{},
	}
	w.reload(t)
	return w
}

func (w *world) reload(t *rapid.T) {
	var err error
	if w.twin, err = conductor.Load(w.brain.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if w.brain.Dirty() || w.twin.Dirty() {
		t.Fatal("dirty right after a snapshot")
	}
}

func (w *world) step(t *rapid.T, e conductor.Event) {
	if a, ok := e.(conductor.Arrived); ok {
		a.Addr = a.Worker // by which the status names it
		e = a
	}
	was := w.brain.Snapshot()
	commands := w.brain.Step(w.now, e)
	if twin := w.twin.Step(w.now, e); !reflect.DeepEqual(commands, twin) {
		t.Fatalf("%#v: the brain did\n%v\nand one made of its snapshot\n%v", e, commands, twin)
	}
	if !w.brain.Dirty() && w.brain.Phase() == control.Running && len(commands) > 0 && bytes.Equal(was, w.brain.Snapshot()) {
		w.harmless(t, commands)
	}
	a, asks := e.(conductor.Arrived)
	if asks {
		w.asking[a.LeaseID+a.Worker] = a
	}
	for _, c := range commands {
		if d, ok := c.(conductor.Decide); ok {
			w.answered(t, d)
		}
		w.check(t, c)
	}
	if _, open := w.asking[a.LeaseID+a.Worker]; asks && open {
		w.standBy = append(w.standBy, a)
		if !w.standsBy(a) {
			t.Fatalf("%#v got no decision, and does not stand by", e)
		}
	}
	for _, a := range w.asking {
		if w.brain.Phase() != control.Starting && w.brain.Phase() != control.Running {
			t.Fatalf("%#v is not answered at the end", a)
		}
	}
}

// answered matches a decision with the question that it answers. One that is between two leases asks none.
func (w *world) answered(t *rapid.T, d conductor.Decide) {
	a, ok := w.asking[d.LeaseID+d.Worker]
	switch {
	case ok:
		delete(w.asking, d.LeaseID+d.Worker)
		w.decided(t, a, d)
	case d.Verdict != control.Leave && d.Verdict != control.Released:
		t.Fatalf("%#v answers no question", d)
	}
}

func (w *world) standsBy(a conductor.Arrived) bool {
	for _, s := range w.brain.Status().StandBys {
		if s.State == "ready" && s.Stage == a.Stage && s.Addr == a.Addr {
			return true
		}
	}
	return false
}

// harmless: commands that came with no change of the snapshot may be given twice.
func (w *world) harmless(t *rapid.T, commands []conductor.Command) {
	for _, c := range commands {
		switch c := c.(type) {
		case conductor.FireLease, conductor.Note, conductor.Finished, conductor.Trim:
			t.Fatalf("%#v is in no snapshot", c)
		case conductor.Decide:
			if c.Verdict != control.Refused {
				t.Fatalf("%#v is in no snapshot", c)
			}
		}
	}
}

func (w *world) check(t *rapid.T, c conductor.Command) {
	switch c := c.(type) {
	case conductor.FireLease:
		if w.stages[c.LeaseID] == "" {
			w.ids = append(w.ids, c.LeaseID)
			w.stages[c.LeaseID] = c.Stage
		}
		if w.accepted[c.LeaseID] {
			t.Fatalf("lease %s is fired again after its use", c.LeaseID)
		}
	case conductor.Ask:
		w.asked = true
	case conductor.ToWorker:
		w.told(t, c)
	case conductor.Trim:
		if c.Position <= w.trimmed {
			t.Fatalf("trim to %d after %d", c.Position, w.trimmed)
		}
		w.trimmed = c.Position
	case conductor.Note:
		if c.Entry.What == "slot lost" {
			for s := range w.holders {
				if s.String() == c.Entry.Slot {
					delete(w.holders, s)
				}
			}
		}
	case conductor.Finished:
		if w.finished {
			t.Fatal("finished twice")
		}
		w.finished = true
	}
}

func (w *world) decided(t *rapid.T, e conductor.Arrived, d conductor.Decide) {
	if d.LeaseID != e.LeaseID || d.Worker != e.Worker {
		t.Fatalf("%#v is answered by %#v", e, d)
	}
	if p := w.brain.Phase(); d.Verdict == control.Refused || d.Verdict == control.Leave && p != control.Starting && p != control.Running {
		return
	}
	if h := w.holders[d.Slot]; d.Verdict == control.Released ||
		d.Verdict == control.Take && h != nil && h.id == d.Worker && h.lease == d.LeaseID && h.holder.Incarnation == d.Incarnation {
		return // an answer that was lost with a hook is given again
	}
	if w.accepted[d.LeaseID] {
		t.Fatalf("lease %s is accepted twice", d.LeaseID)
	}
	known := w.stages[d.LeaseID] != ""
	w.accepted[d.LeaseID] = known
	switch d.Verdict {
	case control.Take:
		if !known || d.Slot.Stage != w.stages[d.LeaseID] {
			t.Fatalf("lease %s of stage %q takes %s", d.LeaseID, w.stages[d.LeaseID], d.Slot)
		}
		if h := w.holders[d.Slot]; h != nil {
			t.Fatalf("%s is given to %s while %s holds it", d.Slot, d.Worker, h.id)
		}
		for s, h := range w.holders {
			if h.id == d.Worker {
				t.Fatalf("%s is given to %s, which holds %s", d.Slot, d.Worker, s)
			}
		}
		if d.Incarnation <= w.given[d.Slot] {
			t.Fatalf("%s: incarnation %d after %d", d.Slot, d.Incarnation, w.given[d.Slot])
		}
		w.given[d.Slot] = d.Incarnation
		h := &worker{id: d.Worker, activation: e.ActivationID, lease: e.LeaseID, holder: conductor.Holder{Slot: d.Slot, Incarnation: d.Incarnation}}
		w.holders[d.Slot] = h
		w.workers = append(w.workers, h)
	case control.Renewed:
		h := w.holders[d.Slot]
		if !known || h == nil || h.id != d.Worker || h.holder.Incarnation != d.Incarnation {
			t.Fatalf("%#v, but %v holds the slot", d, h)
		}
		h.activation, h.lease = e.ActivationID, e.LeaseID
	}
}

func (w *world) told(t *rapid.T, c conductor.ToWorker) {
	var term uint32
	switch b := c.Body.(type) {
	case *control.Peers:
		term = b.Term
		if p := w.brain.Pipeline(); !slices.Equal(b.Transports, p.Transports()) {
			t.Fatalf("%s is told of transports %v, the pipeline has %v", c.Worker, b.Transports, p.Transports())
		}
	case control.Rollback:
		term = b.Term
		if b.Attempt < w.attempt {
			t.Fatalf("rollback to attempt %s after %s", b.Attempt, w.attempt)
		}
		w.attempt = b.Attempt
	case control.Barrier:
		term = b.Term
		if c.Type == control.TypeComplete && b.Barrier < w.barrier || c.Type == control.TypeBarrier && b.Barrier <= w.barrier {
			t.Fatalf("%s %d after %d was complete", c.Type, b.Barrier, w.barrier)
		}
		if c.Type == control.TypeComplete {
			w.barrier = b.Barrier
		}
	case control.Release:
		term = b.Term
		if !w.accepted[b.LeaseID] {
			t.Fatalf("release of lease %s, which nobody holds", b.LeaseID)
		}
	case control.Terminate:
		term = b.Term
	}
	if term != w.term {
		t.Fatalf("%s of term %d, the owner's is %d", c.Type, term, w.term)
	}
}

// worker draws one that holds a slot, or held one.
func (w *world) worker(t *rapid.T) *worker {
	if len(w.workers) == 0 {
		t.Skip("nobody has taken a slot")
	}
	recent := w.workers[max(0, len(w.workers)-8):]
	return rapid.SampledFrom(recent).Draw(t, "worker")
}

// spare draws one that stands by, or stood.
func (w *world) spare(t *rapid.T) conductor.Arrived {
	if len(w.standBy) == 0 {
		t.Skip("nobody has stood by")
	}
	return rapid.SampledFrom(w.standBy[max(0, len(w.standBy)-4):]).Draw(t, "stand-by")
}

func (w *world) lease(t *rapid.T) string {
	if len(w.ids) == 0 {
		t.Skip("no lease was fired")
	}
	return rapid.SampledFrom(w.ids[max(0, len(w.ids)-8):]).Draw(t, "lease")
}

func (w *world) inventory(t *rapid.T, h *worker) *control.Inventory {
	return &control.Inventory{
		Namespace: "guest", Pipeline: "p", Slot: h.holder.Slot, Incarnation: h.holder.Incarnation,
		Attempt: w.brain.Status().Attempt, LeaseID: rapid.SampledFrom([]string{"", h.lease}).Draw(t, "open"), Ready: rapid.Bool().Draw(t, "ready"),
	}
}

// run brings the pipeline up without trouble.
func (w *world) run(t *rapid.T) {
	for _, l := range w.ids {
		w.step(t, conductor.Arrived{LeaseID: l, Stage: w.stages[l], ActivationID: w.next("a"), Worker: w.next("w"), Addr: "x"})
	}
	for _, h := range w.workers {
		w.step(t, conductor.Ready{Slot: h.holder})
	}
	if p := w.brain.Phase(); p != control.Running {
		t.Fatalf("phase %s after all slots are ready", p)
	}
}

func (w *world) next(name string) string {
	w.n++
	return fmt.Sprintf("%s%d", name, w.n)
}

func TestBrainUnderRandomEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.step(t, conductor.Begin{})
		if rapid.Bool().Draw(t, "running") {
			w.run(t)
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if n := len(w.brain.Snapshot()); n > 256<<10 {
					t.Fatalf("the snapshot has %d bytes", n)
				}
			},
			"tick": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
				w.step(t, conductor.Tick{})
			},
			"fresh container": func(t *rapid.T) {
				l := w.lease(t)
				w.step(t, conductor.Arrived{LeaseID: l, Stage: w.stages[l], ActivationID: w.next("a"), Worker: w.next("w"), Addr: "x"})
			},
			"forgetful container": func(t *rapid.T) {
				l, h := w.lease(t), w.worker(t)
				w.step(t, conductor.Arrived{LeaseID: l, Stage: w.stages[l], ActivationID: w.next("a"), Worker: h.id, Addr: "x"})
			},
			"renewal": func(t *rapid.T) {
				l, h := w.lease(t), w.worker(t)
				w.step(t, conductor.Arrived{LeaseID: l, Stage: w.stages[l], ActivationID: w.next("a"), Worker: h.id, Holding: w.inventory(t, h)})
			},
			"platform": func(t *rapid.T) {
				if w.asked {
					w.asked = false
					w.step(t, conductor.Platform{Reason: rapid.SampledFrom([]string{"", "", "connection refused"}).Draw(t, "answer")})
				}
			},
			"unknown lease": func(t *rapid.T) {
				w.step(t, conductor.Arrived{LeaseID: "none", Stage: "f", ActivationID: w.next("a"), Worker: w.next("w")})
			},
			"fired": func(t *rapid.T) {
				a := w.next("a")
				w.fired[a] = w.lease(t)
				w.step(t, conductor.LeaseFired{LeaseID: w.fired[a], ActivationID: a})
			},
			"refused": func(t *rapid.T) {
				w.step(t, conductor.LeaseRefused{LeaseID: w.lease(t), Retry: rapid.IntRange(0, 20).Draw(t, "final") > 0, Full: rapid.Bool().Draw(t, "full"), Reason: "busy"})
			},
			"completed": func(t *rapid.T) {
				w.step(t, conductor.LeaseCompleted{ActivationID: w.worker(t).activation, Failed: rapid.IntRange(0, 9).Draw(t, "failed") == 0, Reason: "done"})
			},
			"fell through": func(t *rapid.T) {
				w.step(t, conductor.LeaseCompleted{ActivationID: fmt.Sprint("a", rapid.IntRange(max(1, w.n-5), w.n+2).Draw(t, "n")), Failed: true, Reason: "broken"})
			},
			"ready":     func(t *rapid.T) { w.step(t, conductor.Ready{Slot: w.worker(t).holder}) },
			"ready too": func(t *rapid.T) { w.step(t, conductor.Ready{Slot: w.worker(t).holder}) },
			"failed": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "really") == 0 {
					w.step(t, conductor.Failed{Slot: w.worker(t).holder, Reason: "tired"})
				}
			},
			"restarted": func(t *rapid.T) { w.step(t, conductor.Restarted{Slot: w.worker(t).holder, Reason: "exit status 1"}) },
			"ended": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
					w.step(t, conductor.Ended{Slot: w.worker(t).holder, Attempt: w.brain.Status().Attempt})
				}
			},
			"gone": func(t *rapid.T) { w.step(t, conductor.Gone{Worker: w.worker(t).id, Reason: "killed"}) },
			"stranded": func(t *rapid.T) {
				ids := []string{w.worker(t).activation, fmt.Sprint("a", rapid.IntRange(max(1, w.n-5), w.n+2).Draw(t, "n"))}
				w.step(t, conductor.Stranded{Activations: ids, Reason: "silent"})
			},
			"stand-by renewed": func(t *rapid.T) {
				l, s := w.lease(t), w.spare(t)
				w.step(t, conductor.Arrived{LeaseID: l, Stage: w.stages[l], ActivationID: w.next("a"), Worker: s.Worker, Addr: "x"})
			},
			"stand-by asks again": func(t *rapid.T) { w.step(t, w.spare(t)) },
			"stand-by's lease over": func(t *rapid.T) {
				w.step(t, conductor.LeaseCompleted{ActivationID: w.spare(t).ActivationID, Failed: rapid.IntRange(0, 9).Draw(t, "failed") == 0, Reason: "done"})
			},
			"stand-by gone":   func(t *rapid.T) { w.step(t, conductor.Gone{Worker: w.spare(t).Worker, Reason: "killed"}) },
			"stand-by frozen": func(t *rapid.T) { w.step(t, conductor.Frozen{Worker: w.spare(t).Worker, Reason: "frozen"}) },
			"returned": func(t *rapid.T) {
				h := w.worker(t)
				w.step(t, conductor.Returned{Worker: h.id, Inventory: *w.inventory(t, h)})
			},
			"cut": func(t *rapid.T) {
				w.step(t, conductor.BarrierAt{Slot: w.worker(t).holder, Attempt: w.brain.Status().Attempt,
					Barrier: w.barrier + 1, Position: rapid.Int64Range(0, 1000).Draw(t, "position")})
			},
			"passed": func(t *rapid.T) {
				w.step(t, conductor.BarrierPassed{Slot: w.worker(t).holder, Attempt: w.brain.Status().Attempt, Barrier: w.barrier + 1})
			},
			"reload": func(t *rapid.T) { w.reload(t) },
			"takeover": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "really") > 0 {
					return
				}
				b, err := conductor.Restore(w.brain.Snapshot(), w.term+1)
				if err != nil {
					t.Fatal(err)
				}
				w.term++
				w.brain, w.finished = b, false
				clear(w.asking) // nobody has heard them
				w.reload(t)
				w.step(t, conductor.Tick{})
			},
			"deployed": func(t *rapid.T) {
				p := w.brain.Pipeline()
				p.Edges = slices.Clone(p.Edges)
				p.Edges[0].Transport = rapid.SampledFrom([]pipeline.Transport{"", pipeline.Auto, pipeline.SHM, pipeline.QUIC}).Draw(t, "transport")
				w.step(t, conductor.Update{Pipeline: p})
				now, phase := w.brain.Pipeline(), w.brain.Phase()
				if live := phase == control.Starting || phase == control.Running || phase == control.Suspended; live && !slices.Equal(now.Transports(), p.Transports()) {
					t.Fatalf("transports %v after %v were deployed", now.Transports(), p.Transports())
				}
			},
			"stop": func(t *rapid.T) {
				if rapid.IntRange(0, 29).Draw(t, "really") == 0 {
					w.step(t, conductor.Stop{Reason: "asked"})
				}
			},
		})
	})
}
