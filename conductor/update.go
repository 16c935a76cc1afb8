package conductor

import (
	"fmt"
	"slices"
	"strings"
)

// update takes over other transports of the edges. Whoever holds a slot is told, and moves its links: nothing
// stops for that, and nothing is lost. A spec with other differences counts as a whole from the next start on,
// so that what runs is always a spec that somebody wrote.
func (b *Brain) update(e Update) {
	p := &b.s.Pipeline
	to := e.Pipeline.Transports()
	if !b.wantsLeases() || p.Differs(&e.Pipeline) != "" || slices.Equal(p.Transports(), to) {
		return
	}
	edges := slices.Clone(p.Edges) // others read the ones there were
	var moved []string
	for i, was := range p.Transports() {
		if edges[i].Transport = to[i]; was != to[i] {
			moved = append(moved, fmt.Sprintf("%s → %s from %s to %s", edges[i].From, edges[i].To, was, to[i]))
		}
	}
	p.Edges = edges
	b.note("links move", "", strings.Join(moved, ", "))
	b.tellPeers()
}
