package route

// Picker chooses pairs of slots at random. It is not safe for concurrent use.
type Picker struct{ state uint64 }

// NewPicker begins a sequence of choices; senders use different seeds.
func NewPicker(seed uint64) Picker { return Picker{state: seed | 1} }

// Two gives two different numbers below n, or 0 and 0 when n is 1. The less loaded one of two is
// nearly as good as the least loaded of all, and costs no look at all of them.
func (p *Picker) Two(n int) (a, b int) {
	if n <= 1 {
		return 0, 0
	}
	r := p.next()
	a = int(r >> 32 * uint64(n) >> 32)
	b = int(r & 0xffffffff * uint64(n-1) >> 32)
	if b >= a {
		b++
	}
	return a, b
}

// next is xorshift64*.
func (p *Picker) next() uint64 {
	p.state ^= p.state >> 12
	p.state ^= p.state << 25
	p.state ^= p.state >> 27
	return p.state * 0x2545f4914f6cdd1d
}
