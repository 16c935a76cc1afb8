package conductor

// remark notes what is known of a happening only later.
func (b *Brain) remark(e Remark) {
	if b.s.BeganMS != 0 {
		b.note(e.What, e.Subject, e.Reason)
	}
}
