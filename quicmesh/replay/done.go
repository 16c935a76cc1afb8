package replay

// Done is what a receiver has done of the frames of a link: all up to a number, and single ones behind the
// first that isn't. The zero value is a link's begin.
type Done struct {
	upTo  uint64
	bytes uint64   // of the frames up to upTo since NewDone
	ahead []uint32 // a ring by number, its length a power of two: 0, or 1 and the size of a frame that is done
	some  int      // frames in it
}

// NewDone goes on after the number upTo.
func NewDone(upTo uint64) Done { return Done{upTo: upTo} }

// Note takes down that the frame with number seq and size bytes is done. Frames that are done in order
// cost no memory, others 4 bytes for each number from the first that isn't done on.
func (d *Done) Note(seq uint64, size int) {
	switch {
	case seq <= d.upTo:
		return
	case seq > d.upTo+1:
		d.later(seq, size)
		return
	}
	d.upTo++
	d.bytes += uint64(size)
	for d.some > 0 {
		next := &d.ahead[(d.upTo+1)&uint64(len(d.ahead)-1)]
		if *next == 0 {
			return
		}
		d.upTo++
		d.bytes += uint64(*next - 1)
		d.some--
		*next = 0
	}
}

// later is Note for a frame that others are before.
func (d *Done) later(seq uint64, size int) {
	if need := seq - d.upTo; need >= uint64(len(d.ahead)) {
		ring := make([]uint32, max(64, 2*len(d.ahead)))
		for need >= uint64(len(ring)) {
			ring = make([]uint32, 2*len(ring))
		}
		for i := range uint64(len(d.ahead)) {
			n := d.upTo + i
			ring[n&uint64(len(ring)-1)] = d.ahead[n&uint64(len(d.ahead)-1)]
		}
		d.ahead = ring
	}
	if slot := &d.ahead[seq&uint64(len(d.ahead)-1)]; *slot == 0 {
		*slot = uint32(size) + 1
		d.some++
	}
}

// UpTo is the number up to which everything is done.
func (d *Done) UpTo() uint64 { return d.upTo }

// Bytes is what the frames up to there have, since NewDone.
func (d *Done) Bytes() uint64 { return d.bytes }
