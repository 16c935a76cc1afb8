package direct

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/internal/wire"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/arena"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

const (
	beginWait     = time.Minute // for the proxy's first word
	statsInterval = time.Second
)

// Function is a function's end of the socket: it holds the mesh. Its methods but Close belong to the goroutine
// that handles events.
type Function struct {
	Outlet *outlet.Outlet
	Page   *Page
	Begin  Begin // what the proxy said first

	conn     *wire.Conn
	mesh     *Place
	progress *shm.Memory // the mesh's; nil: without
	far      *relay
	items    []quicmesh.Item
	tick     func() // called once a second while events flow
	thread   bool   // see shmring.Config

	ctx    context.Context // ends with the connection, or with Close
	cancel context.CancelFunc
	begun  chan error  // of one element: whether there is a mesh
	moved  *time.Timer // tells what has changed, a while after it did
	armed  atomic.Bool // moved runs
	calls  sync.WaitGroup

	mu     sync.Mutex // held while a message is handled, and while moved tells
	closed bool       // neither happens any more
}

// Open connects to the proxy's socket and makes the mesh that the proxy describes. tick is called once a second
// while events flow; thread: who calls Receive has a thread of its own.
func Open(path string, tick func(), thread bool) (*Function, error) {
	nc, err := net.Dial("unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to the proxy: %w", err)
	}
	f := &Function{begun: make(chan error, 1), tick: tick, thread: thread}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.moved = time.AfterFunc(time.Hour, f.tell)
	f.moved.Stop()
	dialled := make(chan struct{})
	f.conn = wire.NewConn(nc, func(m *wire.Message, wants bool, reply func(wire.Answer)) {
		<-dialled
		f.handle(m, wants, reply)
	})
	close(dialled)
	context.AfterFunc(f.ctx, func() { _ = f.conn.Close() })
	wait := time.NewTimer(beginWait)
	defer wait.Stop()
	select {
	case err = <-f.begun:
	case <-f.conn.Done():
		err = f.conn.Err()
	case <-wait.C:
		err = errors.New("it says nothing")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("take the mesh from the proxy: %w", err)
	}
	go f.watch()
	return f, nil
}

// watch ends all waits when the proxy has gone.
func (f *Function) watch() {
	<-f.conn.Done()
	f.cancel()
}

// Close ends the mesh, if the proxy has not, and the connection. Messages that were read before are refused from now on.
func (f *Function) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	if f.mesh != nil {
		_ = f.mesh.Close()
	}
	f.calls.Wait() // they end with the mesh; the proxy may wait for its goodbyes
	f.cancel()
	<-f.conn.Done()
	f.moved.Stop()
	if f.mesh != nil {
		_ = f.far.Close()
		_ = f.unmap()
	}
}

func (f *Function) unmap() error {
	err := f.Page.Close()
	if f.progress != nil {
		err = errors.Join(err, f.progress.Close())
	}
	return err
}

// Context ends when there is nothing more to do.
func (f *Function) Context() context.Context { return f.ctx }

// Ready says that the function has initialised.
func (f *Function) Ready() { _ = f.conn.Send(TypeReady, nil, nil) }

// Failed says that the function can't go on, and waits until the proxy has heard.
func (f *Function) Failed(err error) {
	if f.ctx.Err() != nil || f.conn.Send(TypeFailed, Text{err.Error()}, nil) != nil {
		return
	}
	<-f.ctx.Done()
}

// Receive waits for items; they are valid until the next call. Its error is the end, or that of ctx, a part of Context.
func (f *Function) Receive(ctx context.Context) ([]quicmesh.Item, error) {
	var err error
	f.items, err = f.mesh.Receive(ctx, f.items)
	for i := range f.items {
		if f.items[i].Kind != quicmesh.KindBarrier { // those of an idle pipeline are nothing to be woken for again
			f.touch()
			break
		}
	}
	return f.items, err
}

// Alloc is the mesh's.
func (f *Function) Alloc(n int) *arena.Region { return f.mesh.Alloc(f.ctx, n) }

// Switch and End are the mesh's SwitchOf and EndOf.
func (f *Function) Switch(it *quicmesh.Item) error {
	return f.mesh.SwitchOf(f.ctx, it.Attempt, it.Barrier, it.Version)
}

// End says that nothing more comes of an attempt.
func (f *Function) End(a frame.Attempt) error { return f.mesh.EndOf(f.ctx, a) }

// Work notes that the function gets an event. It returns how that has killed the function before.
func (f *Function) Work(fr *frame.Frame) (history []string) {
	f.Page.Counts(0).In.Add(1)
	return f.Within(fr)
}

// Within notes that a stage behind the first gets an event of its own, like Work.
func (f *Function) Within(fr *frame.Frame) (history []string) {
	if history = f.Deaths(fr.ID); len(history) <= f.Begin.Retries {
		f.Page.begin(fr)
	}
	return history
}

// Deaths are how an event has killed the function.
func (f *Function) Deaths(id []byte) []string {
	if len(f.Begin.Deaths) == 0 {
		return nil
	}
	return f.Begin.Deaths[string(noted(id))]
}

// Worked notes that the function has finished an event.
func (f *Function) Worked() { f.Page.end() }

// touch has the proxy told soon.
func (f *Function) touch() {
	if !f.armed.Load() && !f.armed.Swap(true) {
		f.moved.Reset(statsInterval)
	}
}

// tell says what has changed.
func (f *Function) tell() {
	f.armed.Store(false)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.tick()
	_ = f.conn.Send(TypeStats, f.stats(), nil) // who has gone needs no word
}

func (f *Function) stats() Stats {
	return Stats{linksOf(f.mesh.Stats())}
}

// handle takes the proxy's messages. It doesn't block.
func (f *Function) handle(m *wire.Message, _ bool, reply func(wire.Answer)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		reply(wire.Answer{Err: wire.ErrClosed})
		return
	}
	if f.mesh == nil && m.Type != TypeBegin {
		reply(wire.Answer{Err: fmt.Errorf("%q before %q", m.Type, TypeBegin)})
		return
	}
	var err error
	switch m.Type {
	case TypeBegin:
		err := f.start(m)
		select {
		case f.begun <- err:
		default: // it has begun before
		}
	case TypeVersions:
		var v Versions
		if err = m.Decode(&v); err == nil {
			f.mesh.SetVersions(v.Now, v.Next)
		}
	case TypeRollback:
		var r Rollback
		if err = m.Decode(&r); err == nil {
			f.mesh.Rollback(r.Attempt)
		}
	case TypeAccept:
		f.mesh.Accept()
	case TypeWant:
		var w Want
		if err = m.Decode(&w); err == nil {
			f.mesh.Want(w.Edge, w.Wish)
		}
	case TypeLook:
		f.mesh.Look()
	case TypeOffer:
		var peer transport.Identity
		var end shmring.End
		if end, err = shmring.EndOf(m.Take()); err == nil {
			if err = m.Decode(&peer); err == nil {
				f.mesh.Offer(peer, end)
			}
		}
	case TypeStream:
		var s Stream
		if err = m.Decode(&s); err == nil {
			f.far.take(m.Take(), s)
		}
	case TypeLinks:
		f.calls.Go(func() { reply(wire.Answer{Err: f.mesh.WaitLinks(f.ctx)}) })
	case TypeClose:
		f.calls.Go(func() { // its goodbyes take a moment
			err := f.mesh.Close()
			reply(wire.Answer{Body: f.stats(), Err: err})
		})
	}
	if err != nil {
		f.log(err.Error())
	}
}

func (f *Function) log(text string) { _ = f.conn.Send(TypeLog, Text{text}, nil) }

// start makes the mesh.
func (f *Function) start(m *wire.Message) error {
	if f.mesh != nil {
		return errors.New("it begins twice")
	}
	b := &f.Begin
	if err := m.Decode(b); err != nil {
		return err
	}
	files := m.Take()
	defer shm.CloseAll(files)
	if want := min(b.Progress, 1) + 1; len(files) != want {
		return fmt.Errorf("it gave %d descriptors, not %d", len(files), want)
	}
	var err error
	if f.Page, err = openPage(files[0]); err != nil {
		return err
	}
	var progress []byte
	if b.Progress > 0 {
		if f.progress, err = shm.Map(files[1], b.Progress); err != nil {
			return errors.Join(err, f.Page.Close())
		}
		progress = f.progress.Bytes()
	}
	f.far = newRelay(f.conn)
	mesh, err := NewPlace(PlaceConfig{
		Mesh: quicmesh.Config{Self: b.Self, Alone: true, Joins: b.Joins, Attempt: b.Attempt, Seed: b.Seed, Transport: f.far, In: b.In,
			Memory: broker{f.conn}.arena, Progress: progress, Lost: f.lost, Log: f.said},
		Out: b.Out, Broker: broker{f.conn}, Thread: f.thread, Impossible: f.unlinked, Say: func(format string, a ...any) { f.log(fmt.Sprintf(format, a...)) },
	})
	if err != nil {
		return errors.Join(err, f.unmap())
	}
	of := func(stage string, edges []outlet.Edge, c *outlet.Counts) *outlet.Outlet {
		return outlet.New(outlet.Config{Mesh: mesh.Mesh, Stage: stage, Edges: edges, Answered: b.Answered, Dead: f.dead, Counts: c})
	}
	f.Outlet = of(b.Self.Stage, b.Edges, f.Page.Counts(0))
	var others []*outlet.Outlet
	for i, p := range b.Fused {
		others = append(others, of(p.Stage, p.Edges, f.Page.Counts(i+1)))
	}
	f.Outlet.Fuse(others)
	mesh.SetVersions(b.Now, b.Next)
	f.mesh = mesh
	return mesh.Open(f.ctx)
}

// said is the mesh's log.
func (f *Function) said(event string, kv ...any) {
	for i := 0; i+1 < len(kv); i += 2 {
		event += fmt.Sprintf(" %v=%v", kv[i], kv[i+1])
	}
	f.log(event)
	f.touch()
}

// lost hears of events that went down with two processes at once: only a rollback brings them back.
func (f *Function) lost(_ uint16, to quicmesh.Slot, frames uint64) {
	_ = f.conn.Send(TypeFailed, Text{fmt.Sprintf("at least %d frames to %v are lost: both functions died at once", frames, to)}, nil)
}

func (f *Function) unlinked(err error) { _ = f.conn.Send(TypeUnlinked, Text{err.Error()}, nil) }

// dead gives the proxy a dead letter, and waits until it is confirmed.
func (f *Function) dead(ctx context.Context, letter []byte) error {
	_, err := f.conn.Call(ctx, TypeDead, nil, letter, nil)
	return err
}
