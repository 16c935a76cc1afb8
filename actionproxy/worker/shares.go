package worker

import (
	"bytes"
	"math/big"
	"slices"
	"strconv"
)

// Whoever invokes an ingress waits for all that comes of its event, which may be much or nothing, by many
// ways. An event's id says which part of that it is, so that nobody has to count on the way:
//
//	in[0]:17        the event as the source has sent it: all of it
//	in[0]:17/0.3    the first of three outputs of a stage: a third
//	in[0]:17/0.3x2  … on one of two edges, or at one of two slots of a broadcast: a sixth
//
// When the parts that have come to the sinks add up to one, nothing more can come. A stage that makes
// nothing of an event passes on, in its place, one that no function sees (frame.Bypass): it has no output
// and its share. A failed event passes on the same way, with the reason.

// share is the part of an event's outputs that one id stands for: 1/parts.
type share struct {
	position int64 // of the event at its source
	path     []int // index of the output at each stage
	parts    *big.Int
}

// maxSharedID bounds an id that is taken apart, in bytes.
const maxSharedID = 4 << 10

// parseShare takes an id apart that begins with prefix. false: it has no such form.
func parseShare(id []byte, prefix string) (s share, ok bool) {
	rest, ok := bytes.CutPrefix(id, []byte(prefix))
	if !ok || len(id) > maxSharedID {
		return s, false
	}
	s.parts = big.NewInt(1)
	for sign := byte(0); ; {
		digits := 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		n, err := strconv.ParseInt(string(rest[:digits]), 10, 63)
		if err != nil {
			return s, false
		}
		switch {
		case sign == 0:
			s.position = n
		case sign == '/':
			s.path = append(s.path, int(n))
		case (sign == '.' || sign == 'x') && n > 0:
			s.parts.Mul(s.parts, big.NewInt(n))
		default:
			return s, false
		}
		if rest = rest[digits:]; len(rest) == 0 {
			return s, true
		}
		sign, rest = rest[0], rest[1:]
	}
}

// gathered is what has come of one event so far.
type gathered struct {
	sum     big.Rat
	results []gatheredResult
	bytes   int
}

type gatheredResult struct {
	path    []int
	payload []byte
}

// add takes a part in; payload is nil for one that brings nothing. true: that was the last.
func (g *gathered) add(s share, payload []byte) (whole bool) {
	if payload != nil {
		g.results = append(g.results, gatheredResult{s.path, payload})
		g.bytes += len(payload)
	}
	part := new(big.Rat).SetFrac(big.NewInt(1), s.parts)
	return g.sum.Add(&g.sum, part).Cmp(big.NewRat(1, 1)) >= 0
}

// result is one object as it is, {} for none, and {"results": […]} for several, in the order in which
// functions made them.
func (g *gathered) result() []byte {
	switch len(g.results) {
	case 0:
		return []byte("{}")
	case 1:
		return g.results[0].payload
	}
	slices.SortStableFunc(g.results, func(a, b gatheredResult) int { return slices.Compare(a.path, b.path) })
	out := []byte(`{"results":[`)
	for i, r := range g.results {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, r.payload...)
	}
	return append(out, "]}"...)
}
