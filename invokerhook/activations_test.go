package invokerhook

import (
	"fmt"
	"testing"
	"time"
)

func TestLeasesOfMissedEndsExpire(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	o := &owner{hook: &Hook{acts: newActivations(), workers: map[string]*worker{"w": {}}}, leases: map[string]*lease{
		"old": {activationID: "a", worker: "gone", over: now.Add(-time.Second)}, "new": {activationID: "b", over: now.Add(time.Second)},
		"held": {activationID: "c", worker: "w", over: now.Add(-time.Hour)}}}
	for id, l := range o.leases {
		o.hook.acts.owners[l.activationID] = o
		o.hook.acts.place(l.activationID, "invoker"+id)
	}
	o.expire(now)
	if len(o.leases) != 2 || o.leases["new"] == nil || o.leases["held"] == nil || len(o.hook.acts.owners) != 2 || o.hook.acts.invokerOf("a") != "" {
		t.Errorf("left: %v, %v", o.leases, o.hook.acts.owners)
	}
}

func TestActivationsOfOthersAreBounded(t *testing.T) {
	a := newActivations()
	for i := range 3 * maxUnclaimed {
		id := fmt.Sprint(i)
		a.place(id, "invoker0")
		a.ended(completion{activationID: id}, time.Time{})
		if i%2 == 0 {
			a.complete(completion{activationID: id})
		}
	}
	if len(a.unclaimed.of) > maxUnclaimed || len(a.places.of) > maxPlaces || len(a.places.order) > maxPlaces || len(a.ends) != 0 {
		t.Errorf("%d completions, %d places, %d ends", len(a.unclaimed.of), len(a.places.of), len(a.ends))
	}
}
