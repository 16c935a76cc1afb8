package conductor_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

func twoStages() pipeline.Pipeline {
	return pipeline.Pipeline{Name: "p", Stages: []pipeline.Stage{
		{Name: "in", Source: &pipeline.Source{Stdin: true}, Replicas: pipeline.Replicas{Min: 1, Max: 1}},
		{Name: "out", Sink: &pipeline.Sink{Stdout: true}, Replicas: pipeline.Replicas{Min: 1, Max: 1}},
	}}
}

// running is a brain whose slots have the workers in and out.
func running(t *testing.T) (*conductor.Brain, time.Time) { return runningEvery(t, time.Second) }

func runningEvery(t *testing.T, barrier time.Duration) (*conductor.Brain, time.Time) {
	t.Helper()
	now := time.UnixMilli(1_000_000)
	b := conductor.New(conductor.Config{Namespace: "guest", Pipeline: twoStages(), Term: 4, KeySeed: 1<<63 + 1, BarrierEvery: barrier})
	for _, c := range b.Step(now, conductor.Begin{}) {
		l := c.(conductor.FireLease)
		b.Step(now, conductor.Arrived{LeaseID: l.LeaseID, Stage: l.Stage, ActivationID: "a-" + l.Stage, Worker: l.Stage})
	}
	for _, s := range []string{"out", "in"} {
		b.Step(now, conductor.Ready{Slot: conductor.Holder{Slot: pipeline.Slot{Stage: s}, Incarnation: 1}})
	}
	if b.Phase() != control.Running {
		t.Fatalf("phase %s", b.Phase())
	}
	return b, now
}

func TestSnapshotIsBounded(t *testing.T) {
	b, now := running(t)
	reason := strings.Repeat("ü", 100_000)
	out := conductor.Holder{Slot: pipeline.Slot{Stage: "out"}, Incarnation: 1}
	for range 1000 {
		b.Step(now, conductor.Restarted{Slot: out, Reason: reason})
		b.Step(now, conductor.LeaseCompleted{ActivationID: reason[:64], Reason: reason})
	}
	if n := len(b.Snapshot()); n > 256<<10 {
		t.Errorf("%d bytes", n)
	}
	why := b.Why()
	if last := why[len(why)-1].Reason; len(why) != 200 || !utf8.ValidString(last) || !strings.HasSuffix(last, "ü…") {
		t.Errorf("%d entries of why, the last %q", len(why), last)
	}
}

func TestSnapshotIsCanonicalAndWhole(t *testing.T) {
	b, now := running(t)
	snapshot := b.Snapshot()
	c, err := conductor.Load(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(c.Snapshot(), snapshot) {
		t.Errorf("%s\nwas read as\n%s", snapshot, c.Snapshot())
	}
	if c.KeySeed() != 1<<63+1 || c.Status().Namespace != "guest" || c.Term() != 4 || len(c.Peers()) != 2 {
		t.Errorf("seed %d, namespace %s, term %d, peers %v", c.KeySeed(), c.Status().Namespace, c.Term(), c.Peers())
	}
	b.Step(now.Add(time.Second), conductor.Tick{})
	if b.Dirty() {
		t.Error("a barrier that began makes the snapshot dirty")
	}
	b.Step(now, conductor.Gone{Worker: "out", Reason: "killed"})
	if !b.Dirty() {
		t.Error("a loss doesn't make the snapshot dirty")
	}
}

// TestIdleBarriersNeedNoSnapshot: while no source goes on, a second adds nothing worth a write, but a
// successor never gives a number again.
func TestIdleBarriersNeedNoSnapshot(t *testing.T) {
	b, now := runningEvery(t, 250*time.Millisecond) // of an idle pipeline, every second
	saved, writes, last := b.Snapshot(), 0, uint64(0)
	for range 100 { // seconds; then the leases are due
		now = now.Add(time.Second)
		for _, c := range b.Step(now, conductor.Tick{}) {
			if m, ok := c.(conductor.ToWorker); ok && m.Type == control.TypeBarrier {
				last = m.Body.(control.Barrier).Barrier
			}
		}
		for _, e := range []conductor.Event{
			conductor.BarrierAt{Slot: conductor.Holder{Slot: pipeline.Slot{Stage: "in"}, Incarnation: 1}, Attempt: b.Status().Attempt, Barrier: last},
			conductor.BarrierPassed{Slot: conductor.Holder{Slot: pipeline.Slot{Stage: "out"}, Incarnation: 1}, Attempt: b.Status().Attempt, Barrier: last},
			conductor.Tick{},
		} {
			b.Step(now, e)
			if b.Dirty() {
				saved, writes = b.Snapshot(), writes+1
			}
		}
		if b.Status().Barrier != last {
			t.Fatalf("barrier %d is not complete: %+v", last, b.Status())
		}
		if next := nextBarrier(t, saved, now); next <= last {
			t.Fatalf("the successor gives barrier %d, and %d was given", next, last)
		}
	}
	if last < 100 || writes > 2 {
		t.Errorf("%d writes for %d idle barriers", writes, last)
	}
}

// nextBarrier is the first that the brain of a successor draws.
func nextBarrier(t *testing.T, snapshot []byte, now time.Time) uint64 {
	t.Helper()
	b, err := conductor.Restore(snapshot, 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range b.Status().Slots {
		b.Step(now, conductor.Returned{Worker: s.Slot.Stage, Inventory: control.Inventory{Namespace: "guest", Pipeline: "p", Slot: s.Slot, Incarnation: 1,
			Attempt: b.Status().Attempt, Ready: true, LeaseID: leaseOf(t, snapshot, s.Slot.Stage)}})
	}
	for _, c := range b.Step(now.Add(2*time.Second), conductor.Tick{}) {
		if m, ok := c.(conductor.ToWorker); ok && m.Type == control.TypeBarrier {
			return m.Body.(control.Barrier).Barrier
		}
	}
	t.Fatalf("no barrier: %+v", b.Status())
	return 0
}

func leaseOf(t *testing.T, snapshot []byte, stage string) string {
	t.Helper()
	var s struct {
		Slots []struct{ Stage, Lease string }
	}
	if err := json.Unmarshal(snapshot, &s); err != nil {
		t.Fatal(err)
	}
	for _, x := range s.Slots {
		if x.Stage == stage {
			return x.Lease
		}
	}
	return ""
}

func TestRestoreRefuses(t *testing.T) {
	b, _ := running(t)
	good := string(b.Snapshot())
	for _, c := range []struct{ snapshot, want string }{
		{good, "term 4 isn't above the snapshot's 4"},
		{good[:len(good)/2], "read a pipeline's snapshot: unexpected end of JSON input"},
		{strings.Replace(good, `{"stage":"out"`, `{"stage":"of"`, 1), "it has a slot of no stage"},
	} {
		if _, err := conductor.Restore([]byte(c.snapshot), 4); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestFailedPipelineSaysWhy(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	b := conductor.New(conductor.Config{Namespace: "guest", Pipeline: twoStages(), Term: 1})
	l := b.Step(now, conductor.Begin{})[0].(conductor.FireLease)
	b.Step(now, conductor.LeaseRefused{LeaseID: l.LeaseID, Reason: "no such action"})
	want := l.Stage + "[0]: the platform refused its lease: no such action"
	if _, err := b.StageReady("in"); b.Phase() != control.Failed || b.Status().Error != want || err != want {
		t.Errorf("phase %s, error %q, of a stage %q; want %q", b.Phase(), b.Status().Error, err, want)
	}
	if _, err := b.StageReady("on"); err != "pipeline p has no stage on" {
		t.Errorf("a stage that isn't there: %q", err)
	}
}

// TestFailureKeepsAPageOfWords: what a compiler says doesn't fit into a note, and is the whole reason.
func TestFailureKeepsAPageOfWords(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	b := conductor.New(conductor.Config{Namespace: "guest", Pipeline: twoStages(), Term: 1})
	l := b.Step(now, conductor.Begin{})[0].(conductor.FireLease)
	b.Step(now, conductor.LeaseFired{LeaseID: l.LeaseID, ActivationID: "a"})
	said := strings.Repeat("main.go:1: no\n", 200)
	b.Step(now, conductor.LeaseCompleted{ActivationID: "a", Failed: true, Reason: said + strings.Repeat("x", 100_000)})
	if got := b.Status().Error; !strings.Contains(got, said) || len(got) > 5<<10 {
		t.Errorf("%d bytes: %.100s", len(got), got)
	}
	for _, e := range b.Why() {
		if len(e.Reason) > 500 {
			t.Errorf("a note of %d bytes", len(e.Reason))
		}
	}
}

// A successor's clock may be behind its predecessor's: it waits for nothing longer than it would itself.
func TestTakeOverWithAnEarlierClock(t *testing.T) {
	b, now := running(t)
	for range 8 { // losses with back-off
		now = now.Add(6 * time.Second)
		for _, c := range b.Step(now, conductor.Tick{}) {
			if l, ok := c.(conductor.FireLease); ok {
				b.Step(now, conductor.Arrived{LeaseID: l.LeaseID, Stage: l.Stage, ActivationID: "b", Worker: "w"})
			}
		}
		b.Step(now, conductor.Gone{Worker: "w"})
		b.Step(now, conductor.Gone{Worker: "out"})
	}
	next, err := conductor.Restore(b.Snapshot(), 5)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	next.Step(now, conductor.Tick{})
	next.Step(now, conductor.Returned{Worker: "in", Inventory: control.Inventory{Namespace: "guest", Pipeline: "p",
		Slot: pipeline.Slot{Stage: "in"}, Incarnation: 1, LeaseID: "x", Ready: true}})
	fired := false
	for range 60 {
		now = now.Add(100 * time.Millisecond)
		for _, c := range next.Step(now, conductor.Tick{}) {
			l, ok := c.(conductor.FireLease)
			fired = fired || ok && l.Stage == "out"
		}
	}
	if !fired {
		t.Errorf("no lease for the lost slot within 6 s: %+v", next.Status())
	}
}
