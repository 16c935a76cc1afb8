// Package ringtest is a broker of rings within one process: what the hook is between processes, for tests.
package ringtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

// Board is the broker of all slots of a test: what the hook is between processes.
type Board struct {
	Thread bool // see shmring.Config; of slots to come

	mu      sync.Mutex
	slots   map[string]*Place
	memory  map[string]*os.File // by lane
	changed chan struct{}
}

// Place is one slot's transport, as others find it.
type Place struct {
	*shmring.Transport
	board *Board
	self  transport.Identity
}

// NewBoard makes a broker without slots.
func NewBoard(t testing.TB) *Board {
	b := &Board{slots: map[string]*Place{}, memory: map[string]*os.File{}, changed: make(chan struct{})}
	t.Cleanup(func() {
		for _, f := range b.memory {
			f.Close()
		}
	})
	return b
}

// Listen gives the transport of a slot, which its identity's text is the address of.
func (b *Board) Listen(self transport.Identity) *Place {
	p := &Place{board: b, self: self}
	p.Transport = shmring.New(shmring.Config{Self: self, Addr: self.String(), Broker: p, Thread: b.Thread})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slots[self.String()] = p
	close(b.changed)
	b.changed = make(chan struct{})
	return p
}

// Close ends the transport and takes the slot off the board.
func (p *Place) Close() error {
	p.board.mu.Lock()
	if p.board.slots[p.Addr()] == p {
		delete(p.board.slots, p.Addr())
	}
	p.board.mu.Unlock()
	return p.Transport.Close()
}

// Ring is shmring.Broker's.
func (p *Place) Ring(ctx context.Context, addr string, peer transport.Identity, lane int) (shmring.End, error) {
	for {
		p.board.mu.Lock()
		there, changed := p.board.slots[addr], p.board.changed
		p.board.mu.Unlock()
		switch {
		case there == nil:
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return shmring.End{}, ctx.Err()
			}
		case there.self != peer:
			return shmring.End{}, fmt.Errorf("%w: found %v", transport.ErrRefused, there.self)
		}
		near, far, err := p.board.ends(fmt.Sprint(p.self, " ", addr, " ", lane))
		if err == nil {
			there.Offer(p.self, far)
		}
		return near, err
	}
}

// ends of a ring: the same lane has the same memory.
func (b *Board) ends(lane string) (near, far shmring.End, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	memory := b.memory[lane]
	if memory == nil {
		if memory, err = shmring.NewMemory(); err != nil {
			return near, far, err
		}
		b.memory[lane] = memory
	}
	if near.Memory, err = shm.Duplicate(memory); err == nil {
		far.Memory, err = shm.Duplicate(memory)
	}
	if err == nil {
		near.Socket, far.Socket, err = shm.Pair()
	}
	return near, far, err
}
