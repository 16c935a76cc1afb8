package localwhisk

import (
	"sort"

	"github.com/weft-stream/weft/openwhisk"
)

// maxStoredBytes bounds the results and logs of all records together.
const maxStoredBytes = 256 << 20

// record keeps an activation and lets go of the oldest beyond the bound.
func (s *store) record(a *openwhisk.Activation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.activations[a.ActivationID] = a
	s.order = append(s.order, a.ActivationID)
	s.bytes += weight(a)
	for len(s.order) > s.keep || s.bytes > maxStoredBytes && len(s.order) > 1 {
		s.bytes -= weight(s.activations[s.order[0]])
		delete(s.activations, s.order[0])
		s.order = s.order[1:]
	}
}

func weight(a *openwhisk.Activation) int {
	n := len(a.Response.Result)
	for _, l := range a.Logs {
		n += len(l)
	}
	return n
}

func (s *store) activation(id string) *openwhisk.Activation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.activations[id]
}

// listActivations returns those that match, newest first.
func (s *store) listActivations(match func(*openwhisk.Activation) bool) []*openwhisk.Activation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*openwhisk.Activation
	for i := len(s.order) - 1; i >= 0; i-- {
		if a := s.activations[s.order[i]]; match(a) {
			out = append(out, a)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Start > out[j].Start })
	return out
}
