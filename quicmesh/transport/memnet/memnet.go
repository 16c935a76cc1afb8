// Package memnet is the transport in memory: the twin of quicnet for tests. It has the faults of a
// real network under the test's hand (cuts, delay, reads of any length) and blocks on channels and
// conditions only, so that a mesh on it runs inside a testing/synctest bubble.
package memnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// bufferSize is how many bytes one direction of a stream holds before its writer blocks.
const bufferSize = 256 << 10

// backlog is how many dialled streams of one address wait for Accept before dialling blocks.
const backlog = 64

// ErrCut is what reads and writes of a stream return after its addresses were cut from each other, or
// after the peer's transport was closed.
var ErrCut = errors.New("memnet: connection lost")

// Config of a network.
type Config struct {
	// Seed of what is random: with a seed, a read returns some of the bytes that are there, not all,
	// and a delay varies by up to a half. 0: nothing is random.
	Seed uint64
}

// Network joins the transports that listen on it.
type Network struct {
	seed uint64

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced when who reaches whom has changed
	endpoints map[string]*endpoint
	conns     map[*conn]struct{}
	cuts      map[pair]bool
	delays    map[pair]time.Duration
	opened    uint64 // conns so far: numbers their random sources
}

// pair is two addresses in order: faults work in both directions.
type pair struct{ low, high string }

func pairOf(a, b string) pair {
	if a > b {
		a, b = b, a
	}
	return pair{a, b}
}

// New makes a network without faults and without listeners.
func New(c Config) *Network {
	return &Network{
		seed:      c.Seed,
		changed:   make(chan struct{}),
		endpoints: map[string]*endpoint{},
		conns:     map[*conn]struct{}{},
		cuts:      map[pair]bool{},
		delays:    map[pair]time.Duration{},
	}
}

// Listen gives the transport of the slot self at addr, any unique name. It panics when the address is
// in use: the test would not mean what it says.
func (n *Network) Listen(self transport.Identity, addr string) transport.Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.endpoints[addr] != nil {
		panic(fmt.Sprintf("memnet: listen %s: address in use by %v; close it first", addr, n.endpoints[addr].self))
	}
	e := &endpoint{
		net:    n,
		addr:   addr,
		self:   self,
		accept: make(chan *stream, backlog),
		done:   make(chan struct{}),
	}
	n.endpoints[addr] = e
	n.wake()
	return e
}

// Cut breaks the streams between two addresses, losing the bytes in flight, and makes dials between
// them wait until Heal.
func (n *Network) Cut(a, b string) {
	n.mu.Lock()
	n.cuts[pairOf(a, b)] = true
	lost := n.take(func(c *conn) bool { return c.addrs == pairOf(a, b) })
	n.mu.Unlock()
	for _, c := range lost {
		c.fail("")
	}
}

// Heal ends a Cut. Broken streams stay broken.
func (n *Network) Heal(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cuts, pairOf(a, b))
	n.wake()
}

// Delay sets the one-way delay of what is written from now on between two addresses. Order is kept.
func (n *Network) Delay(a, b string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delays[pairOf(a, b)] = d
}

// wake tells waiting dials to look again. The caller holds mu.
func (n *Network) wake() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// take removes the conns that match and returns them. The caller holds mu, and fails them after
// letting it go.
func (n *Network) take(match func(*conn) bool) []*conn {
	var out []*conn
	for c := range n.conns {
		if match(c) {
			delete(n.conns, c)
			out = append(out, c)
		}
	}
	return out
}

// forget drops a closed conn.
func (n *Network) forget(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// delay of the next bytes between a pair, varied when the network has a seed.
func (n *Network) delay(p pair, random *rand.Rand) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.delays[p]
	if d > 1 && random != nil {
		d += time.Duration(random.Int64N(int64(d))) - d/2
	}
	return d
}
