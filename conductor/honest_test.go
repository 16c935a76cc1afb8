package conductor_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/frame"
)

// honest is a platform with workers that do as they are told, apart from the faults drawn for them.
type honest struct {
	t      *rapid.T
	rnd    *rand.Rand
	brain  *conductor.Brain
	now    time.Time
	faults bool
	down   string    // why the platform answers nothing; "" when it does
	busy   time.Time // until then it takes no leases, and answers all else
	n      int
	term   uint32

	containers []*container
	later      []delayed
	failure    *string // Finished was given
}

type container struct {
	id      string
	stage   string
	holder  *conductor.Holder
	attempt frame.Attempt
	ready   bool
	lease   string             // of the open /run
	asks    *conductor.Arrived // what that is for, and has no answer yet
	run     string             // its activation
	dead    bool
}

type delayed struct {
	at time.Time
	do func()
}

func (h *honest) next(name string) string {
	h.n++
	return fmt.Sprintf("%s%d", name, h.n)
}

func (h *honest) after(ms int, do func()) {
	h.later = append(h.later, delayed{h.now.Add(time.Duration(ms) * time.Millisecond), do})
}

// perhaps is true once in n times, while there are faults.
func (h *honest) perhaps(n int) bool { return h.faults && h.rnd.IntN(n) == 0 }

func (h *honest) step(e conductor.Event) {
	for _, c := range h.brain.Step(h.now, e) {
		switch c := c.(type) {
		case conductor.FireLease:
			h.fire(c)
		case conductor.Ask:
			if reason := h.down; reason != silent {
				h.after(10, func() { h.step(conductor.Platform{Reason: reason}) })
			} else {
				h.after(20_000, func() { h.step(conductor.Platform{Reason: reason}) })
			}
		case conductor.Decide:
			h.decided(c)
		case conductor.DecideReturn:
			if w := h.find(c.Worker); w != nil && !c.Keep {
				h.endSlot(w)
			}
		case conductor.ToWorker:
			if w := h.find(c.Worker); w != nil && w.holder != nil {
				h.told(w, c)
			}
		case conductor.Finished:
			h.failure = &c.Error
		}
	}
}

func (h *honest) find(id string) *container {
	for _, c := range h.containers {
		if c.id == id && !c.dead {
			return c
		}
	}
	return nil
}

// fire invokes the action: some free container of the stage gets the /run, or a fresh one.
func (h *honest) fire(c conductor.FireLease) {
	if h.down != "" || h.now.Before(h.busy) {
		wait := 10
		if h.down == silent {
			wait = 20_000
		}
		h.after(wait, func() { h.step(conductor.LeaseRefused{LeaseID: c.LeaseID, Reason: "no lease now", Retry: true}) })
		return
	}
	if h.perhaps(6) {
		h.after(10, func() { h.step(conductor.LeaseRefused{LeaseID: c.LeaseID, Reason: "429", Retry: true}) })
		return
	}
	activation := h.next("a")
	h.after(20, func() { h.step(conductor.LeaseFired{LeaseID: c.LeaseID, ActivationID: activation}) })
	if h.perhaps(30) {
		return // lost: at most once
	}
	h.after(10+h.rnd.IntN(40), func() {
		var free []*container
		for _, w := range h.containers {
			if !w.dead && w.stage == c.Stage && w.run == "" {
				free = append(free, w)
			}
		}
		w := &container{id: h.next("w"), stage: c.Stage}
		if len(free) > 0 && !h.perhaps(5) {
			w = free[h.rnd.IntN(len(free))]
		} else {
			h.containers = append(h.containers, w)
		}
		w.lease, w.run = c.LeaseID, activation
		e := conductor.Arrived{LeaseID: c.LeaseID, Stage: c.Stage, ActivationID: activation, Worker: w.id, Addr: w.id,
			DeadlineMS: h.now.Add(20 * time.Second).UnixMilli()}
		if w.holder != nil {
			e.Holding = h.inventory(w)
		}
		w.asks = &e
		h.step(e)
	})
}

func (h *honest) inventory(w *container) *control.Inventory {
	return &control.Inventory{Namespace: "guest", Pipeline: "p", Slot: w.holder.Slot, Incarnation: w.holder.Incarnation,
		Attempt: w.attempt, LeaseID: w.lease, Ready: w.ready}
}

func (h *honest) decided(d conductor.Decide) {
	w := h.find(d.Worker)
	if w == nil || w.asks == nil || w.asks.LeaseID != d.LeaseID {
		return // it hears no answer any more
	}
	w.asks = nil
	switch d.Verdict {
	case control.Take:
		if at := int64(h.brain.Status().Barrier); d.Slot.Stage == "in" && !d.Joins && d.Position != at { // see told
			h.t.Fatalf("the source goes on from %d, barrier %d is complete", d.Position, at)
		}
		w.holder, w.attempt, w.ready = &conductor.Holder{Slot: d.Slot, Incarnation: d.Incarnation}, d.Attempt, false
		holder := *w.holder
		h.after(100, func() {
			if !w.dead && w.holder != nil && *w.holder == holder {
				w.ready = true
				h.step(conductor.Ready{Slot: holder})
			}
		})
	case control.Leave:
		w.dead = true
		h.completed(w, true)
	case control.Refused, control.Released:
		h.completed(w, false)
	}
}

// completed ends a container's open /run.
func (h *honest) completed(w *container, failed bool) {
	run := w.run
	w.lease, w.run, w.asks = "", "", nil
	if run != "" && !h.perhaps(15) {
		h.after(30, func() { h.step(conductor.LeaseCompleted{ActivationID: run, Failed: failed, Reason: "done"}) })
	}
}

func (h *honest) endSlot(w *container) {
	w.holder = nil
	h.completed(w, false)
}

func (h *honest) told(w *container, c conductor.ToWorker) {
	holder := *w.holder
	switch b := c.Body.(type) {
	case control.Release:
		if b.LeaseID == w.lease && !h.perhaps(20) {
			h.completed(w, false)
		}
	case control.Peers:
		if b.Next != nil && !h.perhaps(30) {
			h.after(5, func() { h.step(conductor.Prepared{Slot: holder, Version: b.Next.Version}) })
		}
	case control.Terminate:
		h.endSlot(w)
	case control.Rollback:
		w.attempt = max(w.attempt, b.Attempt)
	case control.Barrier:
		if c.Type != control.TypeBarrier {
			return
		}
		h.after(20, func() {
			h.step(conductor.BarrierAt{Slot: holder, Attempt: b.Attempt, Barrier: b.Barrier, Position: int64(b.Barrier)})
			for _, s := range h.containers {
				if !s.dead && s.holder != nil {
					h.step(conductor.BarrierPassed{Slot: *s.holder, Attempt: b.Attempt, Barrier: b.Barrier})
				}
			}
		})
	}
}

// pass lets time go by in ticks of 50 ms.
func (h *honest) pass(d time.Duration) {
	for end := h.now.Add(d); h.now.Before(end) && h.failure == nil; {
		h.now = h.now.Add(50 * time.Millisecond)
		due := slices.Clone(h.later)
		h.later = slices.DeleteFunc(h.later, func(l delayed) bool { return !l.at.After(h.now) })
		for _, l := range due {
			if !l.at.After(h.now) {
				l.do()
			}
		}
		if h.perhaps(100) {
			h.fault()
		}
		h.step(conductor.Tick{})
	}
}

// silent is how a platform is down that refuses no connection.
const silent = "no answer"

// outage: for less than a lease or for more, the platform can't be had, or takes no leases.
func (h *honest) outage() {
	lasts := 200 + h.rnd.IntN(40_000)
	if h.rnd.IntN(3) == 0 {
		h.busy = h.now.Add(time.Duration(lasts) * time.Millisecond)
		return
	}
	h.down = []string{silent, "connection refused"}[h.rnd.IntN(2)]
	h.after(lasts, func() { h.down = "" })
}

func (h *honest) fault() {
	if h.rnd.IntN(6) == 0 {
		h.outage()
		return
	}
	if h.rnd.IntN(4) == 0 {
		h.takeOver()
		return
	}
	switch h.rnd.IntN(6) {
	case 0:
		h.step(conductor.Scale{Replicas: map[string]int{"f": 1 + h.rnd.IntN(4)}})
		return
	case 1:
		h.step(conductor.Restart{Stage: []string{"", "in", "f", "out"}[h.rnd.IntN(4)]})
		return
	}
	if len(h.containers) == 0 {
		return
	}
	w := h.containers[h.rnd.IntN(len(h.containers))]
	if w.dead {
		return
	}
	w.dead = true
	h.completed(w, true)
	h.after(200, func() { h.step(conductor.Gone{Worker: w.id, Reason: "killed"}) })
}

// takeOver: the hook dies, and the words on their way with it.
func (h *honest) takeOver() {
	b, err := conductor.Restore(h.brain.Snapshot(), h.term+1)
	if err != nil {
		h.t.Fatal(err)
	}
	h.term++
	h.brain = b
	for _, w := range h.containers {
		if !w.dead && w.asks != nil {
			h.after(100+h.rnd.IntN(500), func() {
				if !w.dead && w.asks != nil {
					h.step(*w.asks)
				}
			})
		}
		if !w.dead && w.holder != nil {
			h.after(100+h.rnd.IntN(500), func() {
				if !w.dead && w.holder != nil {
					h.step(conductor.Returned{Worker: w.id, Inventory: *h.inventory(w)})
				}
			})
		}
	}
}

// TestBrainRepairsWhateverHappened: after minutes of faults, outages, scales and restarts, and some of none, a
// pipeline without state runs, everybody agrees on who holds what, and leases are renewed. A source never goes
// on from anywhere but the last complete barrier.
func TestBrainRepairsWhateverHappened(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := pipeline.Pipeline{Name: "p", LeaseMS: 20_000, Stages: []pipeline.Stage{
			{Name: "in", Source: &pipeline.Source{File: "x"}, Replicas: pipeline.Replicas{Min: 1, Max: 1}},
			{Name: "f", Replicas: pipeline.Replicas{Min: 1, Max: 4}, Standby: rapid.IntRange(0, 2).Draw(t, "standing by")},
			{Name: "out", Sink: &pipeline.Sink{Stdout: true}, Replicas: pipeline.Replicas{Min: 1, Max: 1}},
		}}
		seed := rapid.Uint64().Draw(t, "seed")
		h := &honest{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), term: 1, now: time.UnixMilli(1_000_000),
			brain: conductor.New(conductor.Config{Namespace: "guest", Pipeline: p, Term: 1, KeySeed: seed})}
		h.step(conductor.Begin{})
		h.pass(5 * time.Second)
		if got := h.brain.Phase(); got != control.Running {
			t.Fatalf("without faults the phase is %s", got)
		}
		h.faults = true
		h.pass(2 * time.Minute)
		h.faults = false
		h.pass(2 * 75 * time.Second)
		if h.failure != nil {
			t.Fatalf("it ended: %s", *h.failure)
		}
		before := h.brain.Status()
		h.pass(30 * time.Second)
		h.settled(before)
	})
}

func (h *honest) settled(before control.PipelineStatus) {
	st := h.brain.Status()
	if st.Phase != control.Running || st.Attempt != before.Attempt {
		h.t.Fatalf("phase %s, attempt %s → %s without a fault", st.Phase, before.Attempt, st.Attempt)
	}
	if st.Renewals < before.Renewals+5 || st.Barrier < before.Barrier+10 {
		h.t.Fatalf("in 30 s: %d renewals, %d barriers", st.Renewals-before.Renewals, st.Barrier-before.Barrier)
	}
	held := map[conductor.Holder]bool{}
	for _, w := range h.containers {
		if !w.dead && w.holder != nil {
			held[*w.holder] = true
		}
	}
	for _, s := range st.Slots {
		if s.State != "ready" || !held[conductor.Holder{Slot: s.Slot, Incarnation: s.Incarnation}] {
			h.t.Fatalf("%s, incarnation %d, is %s; the containers hold %v", s.Slot, s.Incarnation, s.State, held)
		}
	}
	if len(held) != len(st.Slots) {
		h.t.Fatalf("the containers hold %v", held)
	}
	asking := map[string]bool{}
	for _, w := range h.containers {
		if !w.dead && w.asks != nil {
			asking[w.run] = true
		}
	}
	for _, s := range st.StandBys {
		if s.State == "missing" || s.State == "ready" && !asking[s.ActivationID] {
			h.t.Fatalf("%+v; containers ask in %v", s, asking)
		}
	}
}
