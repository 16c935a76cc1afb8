package localwhisk

import (
	"github.com/weft-stream/weft/openwhisk"
)

// checkSequence checks the components' names and makes them full ones.
func (s *rest) checkSequence(e *openwhisk.Exec) error {
	if len(e.Components) == 0 {
		return fail(400, "No component specified for the sequence.")
	}
	if len(e.Components) > s.p.cfg.Limits.SequenceLength {
		return fail(400, "Too many actions in the sequence.")
	}
	names := make([]openwhisk.Name, len(e.Components))
	for i, c := range e.Components {
		n, err := openwhisk.ParseName(c)
		if err != nil {
			return malformed("The fully qualified name of the entity must contain at least the namespace and the name of the entity.")
		}
		names[i] = n.In(s.p.cfg.Namespace)
	}
	if err := s.checkOwn(names...); err != nil {
		return err
	}
	for i, n := range names {
		if s.p.store.action(s.p.store.resolve(n)) == nil {
			return fail(400, "Sequence component does not exist.")
		}
		e.Components[i] = "/" + n.String()
	}
	return nil
}

// checkAtomic turns away a sequence that holds itself at any depth, or more
// actions than a sequence may have with all those in it counted. The store's
// lock is held.
func (s *rest) checkAtomic(n openwhisk.Name, components []string) error {
	limit, st := s.p.cfg.Limits.SequenceLength, s.p.store
	var count func(components []string, depth int) (int, error)
	count = func(components []string, depth int) (atomic int, err error) {
		for _, c := range components {
			name, err := openwhisk.ParseName(c)
			if err != nil {
				continue // checkSequence has seen the new ones, and stored ones are valid
			}
			if name = st.bound(name); name == n || depth > limit {
				return 0, fail(400, "Sequence may not refer to itself.")
			}
			more := 1
			if a := st.actions[name.String()]; a != nil && a.sequence() {
				if more, err = count(a.exec.Components, depth+1); err != nil {
					return 0, err
				}
			}
			if atomic += more; atomic > limit {
				return 0, fail(400, "Too many actions in the sequence.")
			}
		}
		return atomic, nil
	}
	_, err := count(components, 0)
	return err
}
