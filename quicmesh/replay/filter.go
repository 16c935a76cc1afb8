package replay

// Verdict is what a receiver does with a numbered frame.
type Verdict uint8

// The verdicts.
const (
	New       Verdict = iota // take it
	Duplicate                // drop it: resent, and already here
	Gap                      // give the link up: something before it is missing
)

// Filter is the receiver's memory of a link: the highest number received without a gap.
type Filter struct{ received uint64 }

// NewFilter goes on after the number received; 0 for a new link.
func NewFilter(received uint64) Filter { return Filter{received} }

// Judge decides on the frame with number seq, and remembers it when it is new.
func (f *Filter) Judge(seq uint64) Verdict {
	switch {
	case seq == f.received+1:
		f.received = seq
		return New
	case seq <= f.received:
		return Duplicate
	}
	return Gap
}

// Received is the highest number received without a gap.
func (f *Filter) Received() uint64 { return f.received }
