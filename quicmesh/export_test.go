package quicmesh

// DoneIn reads from a progress up to which number the frames of an input are done.
func DoneIn(memory []byte, edge uint16, index int, incarnation uint64) uint64 {
	var p progress
	if !p.lay(memory) {
		panic("no progress")
	}
	if r := p.find(linkName(false, edge, index), incarnation); r != nil {
		return r.upTo.Load()
	}
	return 0
}
