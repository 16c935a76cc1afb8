// Package shmring is the transport between two slots of one host: a pair of single-producer,
// single-consumer rings in a memory file that a third party, the host's hook, makes for the two, and a
// socket whose end is the peer's end. RING.md beside this file is the protocol.
//
// The other end is hostile until checked: bytes are copied out once and parsed there, the own indices
// are kept privately, the peer's must only grow and stay within the ring. Who breaks that loses the
// stream, and nothing else.
package shmring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// Name is what streams of this transport call their carrier, see transport.Carrier.
const Name = "shm"

// Errors, wrapped.
var (
	// ErrViolation: the peer has broken the ring's protocol. The stream is over.
	ErrViolation = errors.New("shmring: the peer breaks the ring's rules")
	// ErrDead: the peer has gone without closing the stream.
	ErrDead = errors.New("shmring: the peer is gone")
)

// goWait is how long a dialler waits for the other end to take the ring.
const goWait = 3 * time.Second

// lastWords is how long an acceptor whose stream's memory the dialler wants anew goes on reading the old
// stream: a process that died has left what it wrote there, and nowhere else. Shorter than goWait.
const lastWords = 2 * time.Second

// backlog is how many streams wait for Accept before further ones are refused.
const backlog = 64

// End is what one of the two gets of a ring: the memory, which both map, and its end of the socket.
type End struct{ Memory, Socket *os.File }

// Close closes the descriptors of an end that nobody uses.
func (e End) Close() { shm.CloseAll([]*os.File{e.Memory, e.Socket}) }

// EndOf is the end that came as two descriptors, which are its from now on.
func EndOf(files []*os.File) (End, error) {
	if len(files) != 2 {
		shm.CloseAll(files)
		return End{}, fmt.Errorf("shmring: a ring's end has 2 descriptors, %d came", len(files))
	}
	return End{Memory: files[0], Socket: files[1]}, nil
}

// Broker makes rings, for the transport of one slot, and hands the other end to the peer's Offer.
type Broker interface {
	// Ring makes a ring to the peer, which is at addr, on one of the lanes between the two, which are
	// numbered from 0. It returns transport.ErrRefused when somebody else is there. It may give the memory
	// that it gave for the lane before.
	Ring(ctx context.Context, addr string, peer transport.Identity, lane int) (End, error)
}

// Config of a Transport.
type Config struct {
	Self   transport.Identity
	Addr   string // what Addr says; means something to the Broker only
	Broker Broker
	// Still readers sleep at once, and never watch for bytes: what watching costs and brings can be measured.
	Still bool
	// Thread has readers that are alone sleep in a system call: they have a thread of their own, as where other languages
	// call Go. The runtime would have another thread sleep for it, and each event would wake both.
	Thread bool
}

// Transport is one slot's end of all its rings.
type Transport struct {
	config  Config
	accept  chan *stream
	offers  sync.WaitGroup // goroutines of offers under way
	ctx     context.Context
	stop    context.CancelFunc
	closing sync.Mutex // one Close at a time

	mu      sync.Mutex
	streams map[uint64]*stream // accepted ones that are open, by their memory's inode
	dialled map[*stream]struct{}
	lanes   map[lane]struct{} // in use by a dial, or by the stream it has made
}

// lane is a place for one ring to a peer. It is free again when nothing here touches its memory any more.
type lane struct {
	peer   transport.Identity
	number int
}

var _ transport.Transport = (*Transport)(nil)

// New makes a transport that has no rings yet.
func New(c Config) *Transport {
	t := &Transport{config: c, accept: make(chan *stream, backlog),
		streams: map[uint64]*stream{}, dialled: map[*stream]struct{}{}, lanes: map[lane]struct{}{}}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t
}

// NewMemory makes a ring's memory, for a broker.
func NewMemory() (*os.File, error) { return shm.Create("weft-ring", Size) }

func (t *Transport) open(end End, peer transport.Identity, dialler bool) (*stream, error) {
	s, err := open(end, peer, dialler)
	if err == nil {
		s.still, s.thread = t.config.Still, t.config.Thread
	}
	return s, err
}

// Addr is the configured address.
func (t *Transport) Addr() string { return t.config.Addr }

// Dial asks the broker for a ring and waits until the peer has taken its end.
func (t *Transport) Dial(ctx context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	s, err := t.dial(ctx, addr, peer)
	if err != nil {
		if t.ctx.Err() != nil {
			err = transport.ErrClosed
		}
		return nil, fmt.Errorf("shmring: dial %v: %w", peer, err)
	}
	return s, nil
}

func (t *Transport) dial(ctx context.Context, addr string, peer transport.Identity) (*stream, error) {
	l := t.enter(peer)
	s, err := t.begin(ctx, addr, l)
	if err != nil {
		t.leave(l)
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		s.discard()
		delete(t.lanes, l)
		return nil, transport.ErrClosed
	}
	t.dialled[s] = struct{}{}
	s.onClose = func() {
		t.mu.Lock()
		delete(t.dialled, s)
		t.mu.Unlock()
		t.leave(l)
	}
	s.watch()
	return s, nil
}

// begin makes a stream that the peer has taken its end of.
func (t *Transport) begin(ctx context.Context, addr string, l lane) (*stream, error) {
	if t.ctx.Err() != nil {
		return nil, transport.ErrClosed
	}
	end, err := t.config.Broker.Ring(ctx, addr, l.peer, l.number)
	if err != nil {
		return nil, err
	}
	s, err := t.open(end, l.peer, true)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, goWait)
	defer cancel()
	if err := s.awaitGo(wait); err != nil {
		s.discard()
		return nil, err
	}
	return s, nil
}

// enter takes the first free lane to the peer.
func (t *Transport) enter(peer transport.Identity) lane {
	t.mu.Lock()
	defer t.mu.Unlock()
	for l := (lane{peer: peer}); ; l.number++ {
		if _, busy := t.lanes[l]; !busy {
			t.lanes[l] = struct{}{}
			return l
		}
	}
}

func (t *Transport) leave(l lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.lanes, l)
}

// Offer takes the end of a ring that a peer has asked for, as the broker, who knows the peer, says. It
// doesn't block.
func (t *Transport) Offer(from transport.Identity, end End) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		end.Close()
		return
	}
	t.offers.Go(func() { t.take(from, end) })
}

// take makes a stream of an offer. What goes wrong the dialler is told, who can take another way.
func (t *Transport) take(from transport.Identity, end End) {
	inode, err := t.reclaim(end)
	if err != nil {
		end.Close()
		return
	}
	s, err := t.open(end, from, false)
	if err != nil {
		return // open has told the peer
	}
	s.reset()
	if len(t.accept) == cap(t.accept) {
		s.refuse("too many streams wait to be accepted")
		return
	}
	if !t.keep(inode, s) {
		s.discard()
		return
	}
	s.sayGo() // who isn't there any more is found by the first read
	select {
	case t.accept <- s:
	default:
		_ = s.Close()
	}
}

// reclaim ends the stream that uses the same memory until now, when what is in it has been read: a broker
// gives a lane's memory again, and both ends begin it anew. The dialler has ended its own before it asked.
func (t *Transport) reclaim(end End) (inode uint64, err error) {
	var st syscall.Stat_t
	raw, err := end.Memory.SyscallConn()
	if err == nil {
		err = errors.Join(err, raw.Control(func(fd uintptr) { err = syscall.Fstat(int(fd), &st) }))
	}
	if err != nil {
		return 0, fmt.Errorf("look at the ring's memory: %w", err)
	}
	t.mu.Lock()
	old := t.streams[st.Ino]
	t.mu.Unlock()
	if old != nil {
		old.readOut(lastWords)
		_ = old.Close() // waits until nobody touches the memory
	}
	return st.Ino, nil
}

// keep remembers an accepted stream until it is closed. false: it isn't wanted any more.
func (t *Transport) keep(inode uint64, s *stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil || t.streams[inode] != nil {
		return false
	}
	t.streams[inode] = s
	s.onClose = func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.streams, inode)
	}
	s.watch()
	return true
}

// Accept waits for a stream that a peer has opened.
func (t *Transport) Accept(ctx context.Context) (transport.Stream, error) {
	if t.ctx.Err() != nil {
		return nil, fmt.Errorf("shmring: accept: %w", transport.ErrClosed)
	}
	select {
	case s := <-t.accept:
		return s, nil
	case <-t.ctx.Done():
		return nil, fmt.Errorf("shmring: accept: %w", transport.ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("shmring: accept: %w", ctx.Err())
	}
}

// Close ends all streams and gives their memory back.
func (t *Transport) Close() error {
	t.closing.Lock()
	defer t.closing.Unlock()
	t.mu.Lock()
	t.stop()
	streams := slices.Collect(maps.Values(t.streams))
	streams = slices.AppendSeq(streams, maps.Keys(t.dialled))
	t.mu.Unlock()
	for _, s := range streams {
		s.drop()
	}
	t.offers.Wait()
	return nil
}
