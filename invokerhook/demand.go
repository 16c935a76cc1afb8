package invokerhook

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-stream/weft/pipeline"
)

// standardMemoryMB is what the platform gives an action that asks for nothing.
const standardMemoryMB = 256

// sizes are numbers of containers by their memory in MB.
type sizes map[int]int

func (s sizes) add(of sizes) {
	for mb, n := range of {
		s[mb] += n
	}
}

func (s sizes) count() (n int) {
	for _, of := range s {
		n += of
	}
	return n
}

func (s sizes) memoryMB() (sum int) {
	for mb, n := range s {
		sum += mb * n
	}
	return sum
}

// String says in words how many there are of which size.
func (s sizes) String() string {
	var parts []string
	for _, mb := range slices.Backward(slices.Sorted(maps.Keys(s))) {
		if len(s) == 1 {
			return fmt.Sprintf("%d containers of %d MB", s[mb], mb)
		}
		parts = append(parts, fmt.Sprintf("%d of %d MB", s[mb], mb))
	}
	return fmt.Sprintf("%d containers (%s)", s.count(), strings.Join(parts, ", "))
}

// fit tells whether invokers with so much memory hold them all: a container is in one piece.
func (s sizes) fit(invokersMB []int) bool {
	free := slices.Clone(invokersMB)
	for _, mb := range slices.Backward(slices.Sorted(maps.Keys(s))) {
		left := s[mb]
		for i := range free {
			n := min(left, free[i]/mb)
			free[i] -= n * mb
			left -= n
		}
		if left > 0 {
			return false
		}
	}
	return true
}

// demand is what a running pipeline holds: each slot and each stand-by one activation and one container.
type demand struct {
	slots, standBys int
	sizes           sizes
}

// demandOf is that of stages with the numbers of slots given, of those that are missing the spec's least.
func demandOf(stages []pipeline.Stage, replicas map[string]int) demand {
	d := demand{sizes: sizes{}}
	for _, s := range stages {
		n, ok := replicas[s.Name]
		if !ok {
			n = s.Replicas.Min
		}
		mb := s.MemoryMB
		if mb <= 0 {
			mb = standardMemoryMB
		}
		d.slots, d.standBys = d.slots+n, d.standBys+s.Standby
		d.sizes[mb] += n + s.Standby
	}
	return d
}

// workers is the number of containers, and of activations that they hold.
func (d *demand) workers() int { return d.slots + d.standBys }

// String says in words what the workers are.
func (d *demand) String() string {
	switch d.standBys {
	case 0:
		return fmt.Sprintf("%d slots", d.slots)
	case 1:
		return fmt.Sprintf("%d slots, 1 stand-by", d.slots)
	}
	return fmt.Sprintf("%d slots, %d stand-bys", d.slots, d.standBys)
}

// successors are what may have to start at once: a container of the largest size, or what an invoker takes
// with it where there are others. The platform says beforehand of none where it will be, and fills one
// invoker before the next: so as many are counted as one may hold, all if that isn't known.
func (d *demand) successors(invokers int, memoryMB []int) sizes {
	mbs := slices.Sorted(maps.Keys(d.sizes))
	if invokers < 2 {
		return sizes{mbs[len(mbs)-1]: 1}
	}
	if memoryMB == nil {
		return maps.Clone(d.sizes)
	}
	out, free := sizes{}, slices.Max(memoryMB)
	for _, mb := range mbs {
		if n := min(d.sizes[mb], free/mb); n > 0 {
			out[mb] = n
			free -= n * mb
		}
	}
	return out
}
