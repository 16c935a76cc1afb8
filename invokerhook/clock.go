package invokerhook

import "time"

// now is the hook's own time: the wall's when the hook was made, and from then on a clock that nobody sets.
// All that waits goes by it, the brain, leases and their tokens. The wall's clock (Config.Now) can be set by
// hours at any moment; by it goes what others read by theirs: certificates, what the registry and Kafka keep.
func (h *Hook) now() time.Time { return h.began.Add(h.cfg.Steady()) }

// nowOf is a time of the wall's clock, in epoch milliseconds, by the hook's own.
func (h *Hook) nowOf(wallMS int64) int64 {
	return h.now().UnixMilli() + wallMS - h.cfg.Now().UnixMilli()
}
