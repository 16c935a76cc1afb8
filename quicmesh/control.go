package quicmesh

import "github.com/weft-stream/weft/quicmesh/frame"

// maxControl bounds the barriers and ends kept on one link, since they need no credit; controlRoom is
// what they take, in bytes.
const (
	maxControl  = 64
	controlRoom = maxControl * (frame.HeaderSize + 16)
)

// controlSeqs is the numbers of the barriers and ends that a link keeps, oldest first.
type controlSeqs struct {
	seqs [maxControl]uint64
	n    int
}

func (c *controlSeqs) full() bool { return c.n == maxControl }

// add notes a number; the caller has asked full.
func (c *controlSeqs) add(seq uint64) {
	c.seqs[c.n] = seq
	c.n++
}

// move changes all numbers by as much, wrapping around.
func (c *controlSeqs) move(by uint64) {
	for i := range c.n {
		c.seqs[i] += by
	}
}

// drop forgets the numbers up to seq.
func (c *controlSeqs) drop(seq uint64) {
	gone := 0
	for gone < c.n && c.seqs[gone] <= seq {
		gone++
	}
	copy(c.seqs[:], c.seqs[gone:c.n])
	c.n -= gone
}
