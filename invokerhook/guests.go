package invokerhook

import (
	"maps"
	"sync"

	"github.com/weft-stream/weft/internal/control"
)

// guests are the proxies that were shown the way to an ingress. They have a link to its worker, whose
// sudden death that link shows only after seconds of silence: the hook knows it sooner.
type guests struct {
	mu  sync.Mutex
	at  control.Peer // where the ingress is; zero while nobody holds it, or it is not ready
	all map[*peer]way
}

// manyGuests is from where on those that have gone are looked for.
const manyGuests = 256

type way struct {
	incarnation uint64
	to          control.Peer
}

// add notes a proxy's way, its only one.
func (g *guests) add(p *peer, incarnation uint64, to control.Peer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = map[*peer]way{}
	}
	if len(g.all) >= manyGuests {
		maps.DeleteFunc(g.all, func(p *peer, _ way) bool { return ended(p) })
	}
	g.all[p] = way{incarnation, to}
}

// led tells those whose way leads elsewhere than to where the ingress is now. It forgets them, and those
// that have gone.
func (g *guests) led(to control.Peer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if to == g.at {
		return
	}
	g.at = to
	for p, w := range g.all {
		if w.to != to {
			p.put(outgoing{typ: control.TypeAstray, body: control.Astray{Incarnation: w.incarnation}})
		}
		if w.to != to || ended(p) {
			delete(g.all, p)
		}
	}
}
