package direct

import (
	"maps"
	"slices"
)

// Bounds of what is remembered of a function's deaths: all of it goes to each process with Begin.
const (
	maxDeadly      = 1024    // events
	maxDeadlyBytes = 1 << 20 // of their ids and what is said of them
)

// Deaths remembers how events have killed a function. What isn't acknowledged yet comes again to the next process,
// and with it others that kill.
type Deaths struct {
	by    map[string][]string // by the events' ids; never changed, but replaced
	ids   []string            // oldest first
	bytes int
}

// Blame notes that an event has killed the function, which may happen retries times beyond the first. false: it has
// done so already as often as that, after which the function doesn't get it any more; so it isn't to blame.
func (d *Deaths) Blame(id, reason string, retries int) bool {
	history, known := d.by[id]
	if len(history) > retries {
		return false
	}
	by := maps.Clone(d.by)
	if by == nil {
		by = map[string][]string{}
	}
	if !known {
		d.ids = append(d.ids, id)
		d.bytes += len(id)
	}
	by[id] = append(slices.Clone(history), reason)
	d.bytes += len(reason)
	for (len(d.ids) > maxDeadly || d.bytes > maxDeadlyBytes) && len(d.ids) > 1 {
		oldest := d.ids[0]
		if d.ids = d.ids[1:]; oldest == id {
			d.ids = append(d.ids, id)
			continue
		}
		d.bytes -= len(oldest)
		for _, reason := range by[oldest] {
			d.bytes -= len(reason)
		}
		delete(by, oldest)
	}
	d.by = by
	return true
}

// All are the deaths by the events' ids. They stay as they are.
func (d *Deaths) All() map[string][]string { return d.by }
