package conductor

// Activations lists the activations that hold a slot or are on their way to one: an owner that takes
// over has to hear of their ends.
func (b *Brain) Activations() []string {
	var out []string
	for _, s := range b.leased() {
		if s.held() && s.Activation != "" {
			out = append(out, s.Activation)
		}
	}
	for _, l := range b.s.Leases {
		if l.Activation != "" {
			out = append(out, l.Activation)
		}
	}
	return out
}
