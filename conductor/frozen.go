package conductor

// frozen: a worker's proxy doesn't run. While its lease is open the platform lets its container run, so
// it is lost, and fenced by its successor's incarnation; between two leases the platform may freeze it. So
// it may when a lease's time runs out: then the proxy has answered by itself, and the word of that is missed.
func (b *Brain) frozen(e Frozen) {
	for _, s := range b.leased() {
		switch {
		case !b.active() || !s.held() || s.Worker != e.Worker || s.Lease == "" || s.between():
		case b.late(s):
			b.freed(s)
		default:
			b.lose(s, CauseFrozen, e.Reason, true)
		}
	}
}
