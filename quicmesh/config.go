package quicmesh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// Routing says how an edge picks among the slots it leads to; see the room route.
type Routing = route.Routing

// Config of a Mesh.
type Config struct {
	Self      transport.Identity  // the slot this mesh is, as its transport proves it
	Attempt   frame.Attempt       // the attempt it begins in
	Seed      uint64              // of the hash of keys, the same in the whole pipeline
	Transport transport.Transport // stays the caller's: close it after the mesh
	// Near brings streams of peers too, as far as edges dial it. nil: there is none. The caller's.
	Near   transport.Transport
	Out    []OutEdge
	In     []InEdge
	Guests *Guests // nil: none are served
	// Joins: the slot is of a version that is not valid yet; SetVersions tells when it is.
	Joins bool

	// Progress is memory that outlives this process, of ProgressSize bytes, at first zero: for a slot whose
	// function may die and be started again without a rollback. A mesh made with the same Progress goes on where
	// the one before was; see the package's text. The streams' bytes must outlive the process too, once a Write
	// has returned. Nobody else touches the memory between New and the end of Close. nil: nothing outlives.
	Progress []byte
	// Lost is told when a mesh in another life finds that frames which the one before has sent, so many at least, are
	// not with the peer, since both processes have died at once: what these come of is not sent again, only a rollback
	// repairs that. For a link that Progress has no room for it is told whenever that may be so. Optional; it must not
	// block.
	Lost func(edge uint16, to Slot, frames uint64)

	// Alone: the process is there to receive, and its other goroutines can wait for some milliseconds while Receive does.
	Alone bool

	// Window is how many bytes may be in flight to this slot on one link. Default 1 MiB. A larger
	// event goes alone.
	Window int
	// MaxPayload is the largest payload in bytes on edges that say nothing else. Default 64 MiB, at most 1 GiB.
	MaxPayload int
	// Memory makes files for payloads that receivers on this host read in place, see arena.Config; nil: payloads are
	// copied. It is called from Alloc. MaxMemory bounds the files' bytes; default 256 MiB.
	Memory    func(ctx context.Context, size int) (*os.File, error)
	MaxMemory int
	// Now is the clock of latencies. Default time.Now.
	Now func() time.Time
	// Log takes what happened to links: a short name and pairs of key and value. Optional; it is
	// called from several goroutines and must not block.
	Log func(event string, kv ...any)
}

// OutEdge is an edge that leads from this slot to a stage.
type OutEdge struct {
	ID       uint16
	To       string // stage
	Routing  Routing
	Replicas int  // slots of To, until SetVersions says otherwise
	Return   bool // see InEdge
	// MaxPayload is the largest payload in bytes that is sent. Default: the mesh's.
	MaxPayload int
	// Dialer opens the edge's links. Default: the mesh's Transport. It may choose another carrier each time: a
	// link that moves loses nothing.
	Dialer transport.Dialer
}

// InEdge is an edge that leads here: every slot of From may open a link on it.
type InEdge struct {
	ID       uint16
	From     string  // stage
	Routing  Routing // with route.Forward the one input is From's slot with our index
	Replicas int     // slots of From, until SetVersions says otherwise
	// Return: the edge leads back, against the others. Neither barriers nor ends go on it, and nobody waits
	// for its links to be up. It is the same at both of its ends.
	Return bool
	// MaxPayload is the largest payload in bytes that is taken. Default: the mesh's.
	MaxPayload int
}

// Slot is one replica's place in a stage.
type Slot struct {
	Stage string `json:"stage"`
	Index int    `json:"index"`
}

func (s Slot) String() string { return fmt.Sprintf("%s[%d]", s.Stage, s.Index) }

// Peer is who holds a slot now, and where.
type Peer struct {
	Stage       string
	Index       int
	Incarnation uint64
	Addr        string
}

// Slot of the peer.
func (p Peer) Slot() Slot { return Slot{p.Stage, p.Index} }

const (
	defaultWindow     = 1 << 20
	defaultMaxPayload = 64 << 20
	defaultMaxMemory  = 256 << 20
	// headRoom is what id, key and headers may add to a frame beside the payload, in bytes.
	headRoom = 256 << 10
)

// withDefaults checks c and fills in what is absent.
func (c Config) withDefaults() (Config, error) {
	if c.Window == 0 {
		c.Window = defaultWindow
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = defaultMaxPayload
	}
	if c.MaxMemory == 0 {
		c.MaxMemory = defaultMaxMemory
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	switch {
	case c.Transport == nil:
		return c, errors.New("quicmesh: config: no transport")
	case c.Window < 0:
		return c, fmt.Errorf("quicmesh: config: window of %d bytes; leave it 0 for %d", c.Window, defaultWindow)
	}
	seen := map[uint16]bool{frame.AllEdges: true}
	c.Out, c.In = slices.Clone(c.Out), slices.Clone(c.In)
	for i := range c.Out {
		e := &c.Out[i]
		if err := errors.Join(e.check(seen), bound(&e.MaxPayload, c.MaxPayload)); err != nil {
			return c, err
		}
	}
	for i := range c.In {
		e := &c.In[i]
		if err := bound(&e.MaxPayload, c.MaxPayload); err != nil {
			return c, err
		}
		if seen[e.ID] || e.Replicas < 1 {
			return c, fmt.Errorf("quicmesh: config: edge %d from %q: its number is taken, or %d replicas do not fit", e.ID, e.From, e.Replicas)
		}
		seen[e.ID] = true
	}
	return c, nil
}

// bound checks an edge's MaxPayload; without one it has the mesh's.
func bound(n *int, usual int) error {
	if *n == 0 {
		*n = usual
	}
	if *n < 0 || *n > frame.MaxPayload {
		return fmt.Errorf("quicmesh: config: payloads of %d bytes; at most %d", *n, frame.MaxPayload)
	}
	return nil
}

func (e OutEdge) check(seen map[uint16]bool) error {
	if err := e.Routing.Check(); err != nil {
		return fmt.Errorf("quicmesh: config: edge %d to %q: %w", e.ID, e.To, err)
	}
	if seen[e.ID] || e.Replicas < 1 {
		return fmt.Errorf("quicmesh: config: edge %d to %q: its number is taken, or %d replicas do not fit", e.ID, e.To, e.Replicas)
	}
	seen[e.ID] = true
	return nil
}

// leadsTo tells whether the edge's slot of that index has a link to the slot with index self.
func (e InEdge) leadsTo(index, self int) bool { return e.Routing != route.Forward || index == self }
