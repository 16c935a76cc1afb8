package conductor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// seen compares the version of the action that a container runs with the highest seen of its stage. A
// higher one is a roll-out: each slot of the stage is to get a container of it, one at a time. An older
// one is refused: the reason is returned.
func (b *Brain) seen(e Arrived) (older string) {
	highest := b.s.Actions[e.Stage]
	switch {
	case e.Version == "" || e.Version == highest:
		return ""
	case highest != "" && versionLess(e.Version, highest):
		return fmt.Sprintf("its action has version %s; version %s has been seen", e.Version, highest)
	}
	if b.s.Actions == nil {
		b.s.Actions = map[string]string{}
	}
	b.s.Actions[e.Stage] = e.Version
	if highest == "" {
		return ""
	}
	b.dropOutdated(e.Stage)
	reason := fmt.Sprintf("version %s of its action", e.Version)
	b.note("roll-out", e.Stage, fmt.Sprintf("version %s of its action after %s: one slot at a time", e.Version, highest))
	b.s.GivenUp = ""
	for _, s := range b.stageSlots(e.Stage) {
		if s.held() && s.Action != e.Version {
			s.Move = reason
		}
	}
	return ""
}

// wanted is who joins and waits for a container like this one; nil when nobody does. A holder between two
// leases whose action has another version by now can get none any more: its slot moves at once, while
// the platform lets it run.
func (b *Brain) wanted(e Arrived) *slot {
	if b.s.Change == nil {
		i := slices.IndexFunc(b.s.Slots, func(s *slot) bool {
			return s.Stage == e.Stage && s.Move != "" && s.FreeMS != 0 && s.Action != e.Version
		})
		if i >= 0 {
			b.beginMove(b.s.Slots[i])
		}
	}
	if c := b.s.Change; c != nil {
		for _, j := range c.Joining {
			if j.Stage == e.Stage && !j.held() {
				return j
			}
		}
	}
	return nil
}

// versionLess compares versions as OpenWhisk counts them: numbers with dots between.
func versionLess(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		if errX != nil || errY != nil {
			return a < b
		}
		if x != y {
			return x < y
		}
	}
	return len(as) < len(bs)
}

// outdated tells whether a holder's action has another version by now: the platform gives it no lease any
// more, and its slot has to move.
func (b *Brain) outdated(s *slot) bool {
	return s.held() && s.Action != "" && s.Action != b.s.Actions[s.Stage]
}
