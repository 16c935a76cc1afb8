package conductor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Snapshot is all the brain knows, as canonical JSON: a few hundred bytes per slot, and at most 200
// entries of why. Dirty is false after it, until something durable changes.
func (b *Brain) Snapshot() []byte {
	b.saved = b.durable()
	return encode(&b.s)
}

// unsavedBarriers is how many barriers may become complete without a snapshot: those before which no
// source went on, so that a rollback to the last saved one is the same.
const unsavedBarriers = 64

// Dirty says that the snapshot differs from the last one in more than the barrier under way, the
// outlook, or the number of the last complete one of a pipeline that is idle.
func (b *Brain) Dirty() bool { return !bytes.Equal(b.saved, b.durable()) }

func (b *Brain) durable() []byte {
	s := b.s
	s.Progress, s.Outlook = progress{}, outlook{}
	s.Barrier -= s.Barrier % unsavedBarriers
	return encode(&s)
}

func encode(s *state) []byte {
	out, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("conductor: encode the snapshot: %v", err)) // only strings, numbers and checked specs
	}
	return out
}

// Restore makes the brain of another owner's snapshot; term is the new owner's, above the old one's.
// The first Step begins the wait for the workers to return.
func Restore(snapshot []byte, term uint32) (*Brain, error) {
	b, err := load(snapshot)
	if err != nil {
		return nil, err
	}
	if term <= b.s.Term {
		return nil, fmt.Errorf("take over pipeline %s: term %d isn't above the snapshot's %d", b.s.Pipeline.Name, term, b.s.Term)
	}
	b.s.Term = term
	b.s.TookOver = true
	return b, nil
}

func load(snapshot []byte) (*Brain, error) {
	b := &Brain{}
	if err := json.Unmarshal(snapshot, &b.s); err != nil {
		return nil, fmt.Errorf("read a pipeline's snapshot: %w", err)
	}
	for _, s := range slices.Concat(b.s.Slots, b.s.StandBys) {
		if s == nil || b.s.Pipeline.Stage(s.Stage) == nil {
			return nil, fmt.Errorf("read the snapshot of pipeline %s: it has a slot of no stage", b.s.Pipeline.Name)
		}
	}
	b.saved = b.durable()
	return b, nil
}
