package quicmesh

import "math/bits"

// Histogram counts durations in microseconds in buckets that grow with the value: four to each power
// of two, so that a quantile is right within a fifth.
type Histogram struct {
	Counts [160]uint64 `json:"-"`
}

// Add counts one duration in microseconds. Below zero, where two hosts' clocks differ, it is zero.
func (h *Histogram) Add(us int64) { h.Counts[bucket(us)]++ }

// bucket: 0 to 3 as they are, then by the two bits behind the highest.
func bucket(us int64) int {
	if us < 4 {
		return int(max(us, 0))
	}
	top := bits.Len64(uint64(us)) - 1
	return min(4*(top-1)+int(us>>(top-2)&3), 159)
}

// upper is the largest value of a bucket.
func upper(bucket int) int64 {
	if bucket < 4 {
		return int64(bucket)
	}
	top := bucket/4 + 1
	return 1<<top + int64(bucket%4+1)<<(top-2) - 1
}

// Merge adds what another one has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.Counts {
		h.Counts[i] += n
	}
}

// Each calls f for every bucket that has counted something, the shortest first: n durations were of at
// most upTo microseconds, and above the bucket before.
func (h *Histogram) Each(f func(upTo int64, n uint64)) {
	for i, n := range h.Counts {
		if n > 0 {
			f(upper(i), n)
		}
	}
}

// Count is the number of durations counted.
func (h *Histogram) Count() uint64 {
	var sum uint64
	for _, n := range h.Counts {
		sum += n
	}
	return sum
}

// Quantile is a duration in microseconds that the share q, 0 to 1, of all is not above; 0 without any.
func (h *Histogram) Quantile(q float64) int64 {
	count := h.Count()
	rank, sum := max(1, uint64(q*float64(count)+0.5)), uint64(0)
	for i, n := range h.Counts {
		if sum += n; n > 0 && sum >= rank {
			return upper(i)
		}
	}
	return 0
}
