package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-stream/weft/actionproxy/process"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/internal/wire"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/outlet"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring"
)

const (
	// maxAsked bounds what a function asks its proxy at one time.
	maxAsked = 256
	// maxTold bounds what waits until a function takes it.
	maxTold = 256
	// maxLetters bounds the dead letters of a function that wait until they are written, in bytes.
	maxLetters = 2 * outlet.MaxDeadLetter
	// spareLinks is how many slots a stage has room for at least, beyond what its spec says.
	spareLinks = 16
	// meshCloseWait is how long a function has to say goodbye on its links.
	meshCloseWait = 2 * time.Second
)

// held is a slot's mesh in the process of its function, and what looks after that process: it sets the mesh
// up, dials and accepts for it what doesn't go over shared memory, and knows what the function works on when
// it dies. Events that come and go over shared memory it never sees.
type held struct {
	slot *slot
	function
	far      transport.Transport
	self     transport.Identity
	page     *direct.Page
	files    []*os.File    // the page's, and that of the mesh's progress
	dead     chan struct{} // of one element: whoever has put one in writes to letters
	letters  deadLetters
	streams  chan struct{} // one token for each that is carried
	deaths   direct.Deaths // of events; mu's, and begin.Deaths is All of it
	finished uint64        // events done until the last death; run's

	ctx    context.Context // of all goroutines; ends with Close
	cancel context.CancelFunc
	loops  sync.WaitGroup

	mu       sync.Mutex
	begin    direct.Begin // what a process is told first, as of now
	accepted bool
	seat     *seat
	before   direct.Stats                       // of processes that have died
	now      direct.Stats                       // of the present one
	dialled  map[quicmesh.Slot]transport.Stream // carried for the function, the newest to each peer
	waiting  int                                // bytes of letters that wait
	closed   bool                               // no goroutine begins any more
}

// seat is one function process with the mesh.
type seat struct {
	held    *held
	process *process.Process
	conn    *wire.Conn
	ready   chan struct{} // of one element
	failed  chan error    // of one element
	asked   chan struct{} // one token for each call of the function's
	outbox  chan told     // filled with held.mu, emptied by sendLoop
	over    bool          // nobody empties outbox any more; held.mu's
	rude    atomic.Pointer[string]
}

// told is a message to the function. One goroutine writes them in order, so that nobody who has something to tell
// waits for a function that doesn't read.
type told struct {
	typ   string
	body  any
	files []*os.File // closed when they are sent
	lent  bool       // … unless they are only lent
}

// newHeld makes a mesh that no process has yet.
func newHeld(s *slot, self transport.Identity, far transport.Transport) (*held, error) {
	a := s.assignment
	h := &held{slot: s, function: function{slot: s}, far: far, self: self, dead: make(chan struct{}, 1),
		letters: deadLetters{hook: s.hook, to: s.transfer()}, dialled: map[quicmesh.Slot]transport.Stream{}}
	h.begin = direct.Begin{Self: self, Attempt: a.Attempt, Seed: a.KeySeed, Joins: a.Joins, Edges: outletEdges(a, ""), Fused: directParts(s),
		Answered: a.Pipeline.Ingress() != nil, Retries: s.stage.Retries, Deaths: map[string][]string{}, Stage: startPayload(s)}
	h.begin.Out, h.begin.In = meshEdges(a)
	h.streams = make(chan struct{}, 2*h.mostLinks()) // a link may have a new one before the old one has ended
	page, file, err := direct.NewPage()
	if err == nil {
		h.page, h.files = page, append(h.files, file)
		err = h.remember()
	}
	if err != nil {
		return nil, fmt.Errorf("share memory with the function: %w", err)
	}
	s.counts = page.Counts(0)
	for i, c := range s.fused[:min(len(s.fused), direct.MostStages-1)] {
		c.Counts = page.Counts(i + 1)
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	s.logs.traceBy(h.page.Trace)
	return h, nil
}

// remember makes the memory by which the function's next process goes on where the last one died. A stage that
// keeps state can't.
func (h *held) remember() error {
	if h.slot.stage.Stateful {
		return nil
	}
	h.begin.Progress = quicmesh.ProgressSize(h.mostLinks())
	f, err := shm.Create("weft-progress", h.begin.Progress)
	if err != nil {
		h.page.Close()
		shm.CloseAll(h.files)
		return err
	}
	h.files = append(h.files, f)
	return nil
}

// mostLinks is how many links the slot has at most: twice as many while a version changes as else.
func (h *held) mostLinks() (n int) {
	for _, e := range edgesOf(h.slot.assignment) {
		if e.From == h.self.Stage {
			n += 2 * h.room(e.To)
		}
		if e.To == h.self.Stage {
			n += 2 * h.room(e.From)
		}
	}
	return n
}

// room is how many slots a stage may have.
func (h *held) room(stage string) int {
	n := spareLinks
	if s := h.slot.assignment.Pipeline.Stage(stage); s != nil {
		n = max(n, s.Replicas.Min, s.Replicas.Max)
	}
	return n
}

// Open is quicmesh.Mesh's.
func (h *held) Open(context.Context) error {
	h.loops.Go(h.acceptLoop)
	return nil
}

// prepare gives the mesh to the function process.
func (h *held) prepare(ctx context.Context) error {
	p, err := h.alive(ctx)
	if err != nil {
		return err
	}
	return h.take(ctx, p)
}

// take gives the mesh to a function process, and waits until it has initialised.
func (h *held) take(ctx context.Context, p *process.Process) error {
	if p.Mesh() != direct.Version {
		return fmt.Errorf("start the function of stage %s: it does not hold a mesh any more", h.slot.stage.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	nc, err := connectFunction(ctx, p, direct.Version)
	if err != nil {
		return err
	}
	t := &seat{held: h, process: p, ready: make(chan struct{}, 1), failed: make(chan error, 1), asked: make(chan struct{}, maxAsked), outbox: make(chan told, maxTold)}
	dialled := make(chan struct{})
	t.conn = wire.NewConn(nc, func(m *wire.Message, _ bool, reply func(wire.Answer)) {
		<-dialled
		t.handle(m, reply)
	})
	close(dialled)
	if !h.launch(t.sendLoop) {
		_ = t.conn.Close()
		return wire.ErrClosed
	}
	h.sit(t)
	select {
	case <-t.ready:
		return nil
	case <-t.conn.Done():
		err = fmt.Errorf("start the function: it ended before it was ready: %s", t.died())
	case <-ctx.Done():
		err = fmt.Errorf("start the function: it did not say that it is ready: %w", ctx.Err())
	}
	_ = t.conn.Close()
	return err
}

// sit tells a process what it needs, and from now on what changes.
func (h *held) sit(t *seat) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seat, h.now = t, direct.Stats{}
	begin := h.begin
	begin.Out = slices.Clone(begin.Out) // Want changes it
	t.put(told{typ: direct.TypeBegin, body: begin, files: h.files, lent: true})
	if h.accepted {
		t.put(told{typ: direct.TypeAccept})
	}
}

// tell tells the present process something, with files that are its own from now on. One that has gone needs no
// word. The caller holds mu.
func (h *held) tell(typ string, body any, files ...*os.File) {
	if h.seat == nil {
		shm.CloseAll(files)
		return
	}
	h.seat.put(told{typ: typ, body: body, files: files})
}

// put has a message sent. The caller holds held.mu.
func (t *seat) put(m told) {
	if !t.over {
		select {
		case t.outbox <- m:
			return
		default:
			t.end(fmt.Sprintf("it does not read what its proxy tells it: %d messages wait", maxTold))
		}
	}
	m.close()
}

func (m *told) close() {
	if !m.lent {
		shm.CloseAll(m.files)
	}
}

// sendLoop sends what is in the outbox, until the connection ends.
func (t *seat) sendLoop() {
	for {
		select {
		case m := <-t.outbox:
			_ = t.conn.SendFiles(m.typ, m.body, m.files) // fails with the connection
			m.close()
		case <-t.conn.Done():
			t.held.mu.Lock()
			defer t.held.mu.Unlock()
			t.over = true
			for len(t.outbox) > 0 {
				m := <-t.outbox
				m.close()
			}
			return
		}
	}
}

// end ends a process that doesn't keep the rules.
func (t *seat) end(reason string) {
	t.rude.CompareAndSwap(nil, &reason)
	_ = t.conn.Close()
}

func (h *held) present() *seat {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seat
}

// SetVersions is quicmesh.Mesh's.
func (h *held) SetVersions(now quicmesh.Version, next *quicmesh.Version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begin.Versions = direct.Versions{Now: now, Next: next}
	h.tell(direct.TypeVersions, h.begin.Versions)
}

// Rollback is quicmesh.Mesh's.
func (h *held) Rollback(a frame.Attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a <= h.begin.Attempt {
		return
	}
	h.begin.Attempt = a // how events have killed the function is remembered: it has the same id again
	h.tell(direct.TypeRollback, direct.Rollback{Attempt: a})
}

// Attempt is quicmesh.Mesh's.
func (h *held) Attempt() frame.Attempt {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.begin.Attempt
}

// Accept is quicmesh.Mesh's.
func (h *held) Accept() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.accepted = true
	h.tell(direct.TypeAccept, nil)
}

// WaitLinks is quicmesh.Mesh's.
func (h *held) WaitLinks(ctx context.Context) error {
	for {
		t := h.present()
		_, err := t.conn.Call(ctx, direct.TypeLinks, nil, nil, nil)
		if !errors.Is(err, wire.ErrClosed) || ctx.Err() != nil {
			return err
		}
		if err := h.bury(ctx, t, t.died()); err != nil {
			return err
		}
	}
}

// Offer hands the function the end of a ring.
func (h *held) Offer(from transport.Identity, end shmring.End) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tell(direct.TypeOffer, from, end.Memory, end.Socket) // the peer sees when they are closed
}

// Want is direct.Place's.
func (h *held) Want(edge uint16, wish string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.begin.Out {
		if e := &h.begin.Out[i]; e.ID == edge && e.Wish != wish {
			e.Wish = wish
			h.tell(direct.TypeWant, direct.Want{Edge: edge, Wish: wish})
		}
	}
}

// Look is direct.Place's.
func (h *held) Look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tell(direct.TypeLook, nil)
}

// Stats is quicmesh.Mesh's.
func (h *held) Stats() quicmesh.Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := sum(h.before, h.now)
	out := quicmesh.Stats{Attempt: h.begin.Attempt.String()}
	for _, l := range all.Links {
		m := l.Mesh()
		if m.RTT = 0; m.Out && m.Up { // that of a socket to its proxy the function doesn't know
			if s := h.dialled[m.Peer]; s != nil {
				m.RTT = transport.RTTOf(s)
			}
		}
		out.Links = append(out.Links, m)
	}
	return out
}

// counted takes what the present process says of itself.
func (h *held) counted(t *seat, s direct.Stats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seat == t {
		h.now = h.believed(s)
	}
}

// believed is what can be true of what a function says of its links. The caller holds mu.
func (h *held) believed(s direct.Stats) (out direct.Stats) {
	type link struct {
		edge uint16
		out  bool
		slot int
	}
	seen := map[link]int{}
	for _, l := range s.Links {
		name := link{l.Edge, l.Out, l.Peer.Index}
		far := h.farStage(l.Edge, l.Out)
		slots := max(h.room(far), h.begin.Now.Replicas[far])
		if far == "" || l.Peer.Stage != far || l.Peer.Index < 0 || l.Peer.Index >= slots || seen[name] == 2 { // of two versions
			continue
		}
		seen[name]++
		out.Links = append(out.Links, l.Bounded())
	}
	return out
}

// farStage is where an edge out of the slot leads, or where one into it comes from; "": there is none.
func (h *held) farStage(edge uint16, out bool) string {
	for _, e := range h.begin.Out {
		if out && e.ID == edge {
			return e.To
		}
	}
	for _, e := range h.begin.In {
		if !out && e.ID == edge {
			return e.From
		}
	}
	return ""
}

// sum adds what dead processes have counted to what the present one says.
func sum(before, now direct.Stats) direct.Stats {
	out := direct.Stats{Links: now.Links}
	for _, old := range before.Links {
		out.Links = addLink(out.Links, old)
	}
	return out
}

func addLink(links []direct.Link, old direct.Link) []direct.Link {
	for i, l := range links {
		if l.Edge == old.Edge && l.Out == old.Out && l.Peer == old.Peer {
			links = append([]direct.Link(nil), links...)
			links[i] = l.Add(old)
			return links
		}
	}
	old.Up, old.Carrier = false, ""
	return append(links, old)
}

func (h *held) command(*control.Message) error { return nil }

// run keeps a process with the mesh until ctx ends.
func (h *held) run(ctx context.Context) error {
	for {
		t := h.present()
		reason, err := t.watch(ctx)
		if err == nil {
			err = h.bury(ctx, t, reason)
		}
		if err != nil {
			return err
		}
	}
}

// bury notes a death, and gives the mesh to another process.
func (h *held) bury(ctx context.Context, t *seat, reason string) error {
	_ = t.conn.Close()
	through := h.page.Through()
	blamed := h.blame(reason)
	if through > h.finished {
		h.finished = through
		h.worked()
	}
	if !blamed && h.hopeless() {
		return fmt.Errorf("the function of stage %s dies again and again: %s", h.slot.stage.Name, reason)
	}
	p, err := h.replace(ctx, reason)
	if err != nil {
		return err
	}
	return h.take(ctx, p)
}

// blame notes which event the function had when it died.
func (h *held) blame(reason string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before, h.now = sum(h.before, h.now), direct.Stats{}
	h.seat = nil
	if !h.page.Working() {
		return false
	}
	id := h.page.ID()
	h.page.Forget()
	blamed := h.deaths.Blame(id, reason, h.begin.Retries)
	h.begin.Deaths = h.deaths.All()
	return blamed
}

// watch waits for the process's end, and says what it was, or why the worker can't go on.
func (t *seat) watch(ctx context.Context) (reason string, err error) {
	h := t.held
	timeout := h.slot.timeout()
	tick := time.NewTicker(max(min(timeout/4, 5*time.Second), 10*time.Millisecond))
	defer tick.Stop()
	done, since := h.page.Done(), time.Now()
	for {
		select {
		case <-tick.C:
			if now := h.page.Done(); now != done || !h.page.Working() {
				done, since = now, time.Now()
			} else if time.Since(since) > timeout {
				return whyDead(t.process, fmt.Sprintf("stalled: no event done within %v", timeout)), nil
			}
		case err := <-t.failed:
			return "", err
		case <-t.conn.Done():
			return t.died(), nil
		case <-t.process.Done():
			return whyDead(t.process, ""), nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// died waits for the end of a process whose connection has ended. One that has only closed that can't be
// worked with.
func (t *seat) died() string {
	if reason := t.rude.Load(); reason != nil {
		return whyDead(t.process, *reason)
	}
	select {
	case <-t.process.Done():
		return whyDead(t.process, "")
	case <-time.After(closeGrace):
		return whyDead(t.process, fmt.Sprintf("it closed its connection: %v", t.conn.Err()))
	}
}

// close has nothing to do: the mesh is still to say goodbye.
func (h *held) close() {}

// Close is quicmesh.Mesh's: the function says goodbye on its links, and goes on as an ordinary action's.
func (h *held) Close() error {
	if t := h.present(); t != nil {
		ctx, cancel := context.WithTimeout(context.Background(), meshCloseWait)
		var last direct.Stats
		if _, err := t.conn.Call(ctx, direct.TypeClose, nil, nil, &last); err == nil {
			h.counted(t, last)
		}
		cancel()
		_ = t.conn.Close()
	}
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.loops.Wait()
	shm.CloseAll(h.files)
	return nil
}

// forget unmaps the page, when nobody asks for counters or traces any more.
func (h *held) forget() { _ = h.page.Close() }

// handle takes the function's messages. It doesn't block.
func (t *seat) handle(m *wire.Message, reply func(wire.Answer)) {
	h := t.held
	var err error
	switch m.Type {
	case direct.TypeReady:
		select {
		case t.ready <- struct{}{}:
		default:
		}
	case direct.TypeRing:
		var q direct.Ring
		if err = m.Decode(&q); err == nil {
			t.answer(reply, func() wire.Answer { return h.ring(q) })
		}
	case direct.TypeArena:
		var q direct.Arena
		if err = m.Decode(&q); err == nil {
			t.answer(reply, func() wire.Answer { return h.arena(q) })
		}
	case direct.TypeDial:
		var q direct.Dial
		if err = m.Decode(&q); err == nil {
			t.answer(reply, func() wire.Answer { return h.dial(t, q) })
		}
	case direct.TypeDead:
		letter := m.Blob
		if no := h.await(letter); no != nil {
			reply(wire.Answer{Err: no})
			return
		}
		if !t.answer(reply, func() wire.Answer { return wire.Answer{Err: h.write(letter)} }) {
			h.written(letter)
		}
	case direct.TypeStats:
		var s direct.Stats
		if err = m.Decode(&s); err == nil {
			h.counted(t, s)
		}
	case direct.TypeLog, direct.TypeUnlinked, direct.TypeFailed:
		var x direct.Text
		if err = m.Decode(&x); err == nil {
			t.told(m.Type, x.Text)
		}
	}
	if err != nil {
		reply(wire.Answer{Err: err})
		t.end(fmt.Sprintf("it does not keep to the protocol: %v", err))
	}
}

func (t *seat) told(typ, text string) {
	text = fmt.Sprintf("%.2000s", text) // the hook takes no message of any size
	switch typ {
	case direct.TypeLog:
		t.held.slot.logs.say("%s", text)
	case direct.TypeUnlinked:
		t.held.slot.unlinked(errors.New(text))
	case direct.TypeFailed:
		select {
		case t.failed <- errors.New(text):
		default:
		}
	}
}

// answer answers a call of the function's in a goroutine. false: it is refused.
func (t *seat) answer(reply func(wire.Answer), f func() wire.Answer) bool {
	select {
	case t.asked <- struct{}{}:
	default:
		reply(wire.Answer{Err: fmt.Errorf("more than %d calls at one time", maxAsked)})
		return false
	}
	if !t.held.launch(func() {
		a := f()
		reply(a)
		shm.CloseAll(a.Files)
		<-t.asked
	}) {
		reply(wire.Answer{Err: wire.ErrClosed})
		return false
	}
	return true
}

// launch runs f in a goroutine that Close waits for. false: it is too late.
func (h *held) launch(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.loops.Go(f)
	}
	return !h.closed
}

// ring has the hook make a ring for the function.
func (h *held) ring(q direct.Ring) wire.Answer {
	end, err := broker{h.slot.hook, h.self}.Ring(h.ctx, "", q.Peer, q.Lane)
	var none transport.NotNear
	switch {
	case errors.As(err, &none):
		return wire.Answer{Body: direct.RingReply{Reason: none.Reason, Later: none.Later}}
	case err != nil:
		return wire.Answer{Err: err}
	}
	return wire.Answer{Body: direct.RingReply{}, Files: []*os.File{end.Memory, end.Socket}}
}

// arena has the hook make memory for the function's payloads.
func (h *held) arena(q direct.Arena) wire.Answer {
	f, reason, err := broker{h.slot.hook, h.self}.arena(h.ctx, q.Size)
	if err != nil || reason != "" {
		return wire.Answer{Body: direct.ArenaReply{Reason: reason}, Err: err}
	}
	return wire.Answer{Body: direct.ArenaReply{}, Files: []*os.File{f}}
}

// reach gives the address of a slot that an edge leads to, as the hook has told it; "" for any other.
func (h *held) reach(peer transport.Identity) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	leads := func(e direct.OutEdge) bool { return e.To == peer.Stage }
	if peer.Namespace != h.self.Namespace || peer.Pipeline != h.self.Pipeline || !slices.ContainsFunc(h.begin.Out, leads) {
		return ""
	}
	known := h.begin.Now.Peers
	if h.begin.Next != nil {
		known = slices.Concat(known, h.begin.Next.Peers)
	}
	for _, p := range known {
		if p.Stage == peer.Stage && p.Index == peer.Index && p.Incarnation == peer.Incarnation {
			return p.Addr
		}
	}
	return ""
}

// dial opens a stream for the function, and carries its bytes.
func (h *held) dial(t *seat, q direct.Dial) wire.Answer {
	addr := h.reach(q.Peer)
	if addr == "" {
		return wire.Answer{Body: direct.DialReply{Error: fmt.Sprintf("no edge leads to %.200v, or nobody is known to be that", q.Peer)}}
	}
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	if !h.launch(func() { // a function that has gone dials nobody
		select {
		case <-t.conn.Done():
			cancel()
		case <-ctx.Done():
		}
	}) {
		return wire.Answer{Err: wire.ErrClosed}
	}
	s, err := h.far.Dial(ctx, addr, q.Peer)
	if err != nil {
		return wire.Answer{Body: direct.DialReply{Error: err.Error(), Refused: errors.Is(err, transport.ErrRefused)}}
	}
	h.note(s)
	theirs, err := h.carry(s)
	if err != nil {
		h.drop(s)
		return wire.Answer{Body: direct.DialReply{Error: err.Error()}}
	}
	return wire.Answer{Body: direct.DialReply{Carrier: carrierOf(s)}, Files: []*os.File{theirs}}
}

// note keeps a stream that was dialled for the function, for what it knows of the way; drop does no longer.
func (h *held) note(s transport.Stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dialled[slotAt(s)] = s
}

func (h *held) drop(s transport.Stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dialled[slotAt(s)] == s {
		delete(h.dialled, slotAt(s))
	}
}

func slotAt(s transport.Stream) quicmesh.Slot {
	p := s.Peer()
	return quicmesh.Slot{Stage: p.Stage, Index: p.Index}
}

func carrierOf(s transport.Stream) string {
	if c, ok := s.(transport.Carrier); ok {
		return c.Carrier()
	}
	return ""
}

// acceptLoop hands the function the streams that peers open.
func (h *held) acceptLoop() {
	for {
		s, err := h.far.Accept(h.ctx)
		switch {
		case h.ctx.Err() != nil || errors.Is(err, transport.ErrClosed):
			if err == nil {
				_ = s.Close()
			}
			return
		case err != nil:
			h.slot.logs.say("accept failed: %v", err)
			if pause(h.ctx, firstBackOff) != nil {
				return
			}
			continue
		}
		h.admit(s)
	}
}

func (h *held) admit(s transport.Stream) {
	if h.present() == nil {
		_ = s.Close() // between two processes: the peer dials again
		return
	}
	theirs, err := h.carry(s)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tell(direct.TypeStream, direct.Stream{Peer: s.Peer(), Carrier: carrierOf(s)}, theirs) // its end ends the stream
}

const (
	// carryBuffer is what is carried at a time, in bytes.
	carryBuffer = 64 << 10
	// lastWords is how long somebody who takes no more bytes, since he has died or closed, is read on: what a dead
	// function has written nobody else has.
	lastWords = 5 * time.Second
)

// carry carries a stream's bytes to and from a socket, whose other end it gives.
func (h *held) carry(s transport.Stream) (*os.File, error) {
	select {
	case h.streams <- struct{}{}:
	default:
		_ = s.Close()
		return nil, fmt.Errorf("the function has %d streams already", cap(h.streams))
	}
	theirs, err := h.carryOn(s)
	if err != nil {
		<-h.streams
	}
	return theirs, err
}

func (h *held) carryOn(s transport.Stream) (*os.File, error) {
	ours, theirs, err := shm.Pair()
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	var conn *shm.Socket
	uc, err := shm.Conn(ours)
	if err == nil {
		conn, err = shm.Quick(uc)
	}
	if err != nil {
		_ = theirs.Close()
		_ = s.Close()
		return nil, err
	}
	stop := context.AfterFunc(h.ctx, func() {
		_ = s.Close()
		_ = conn.Close()
	})
	if !h.launch(func() {
		defer func() { <-h.streams }()
		defer h.drop(s)
		defer stop()
		var pumps sync.WaitGroup
		over := make(chan bool, 2)
		pumps.Go(func() { over <- pump(s, conn) })
		pumps.Go(func() { over <- pump(conn, s) })
		if gone := <-over; gone { // its last words are on their way
			select {
			case <-over:
			case <-time.After(lastWords):
			}
		}
		_ = s.Close()
		_ = conn.Close()
		pumps.Wait()
	}) {
		_ = theirs.Close()
		return nil, wire.ErrClosed
	}
	return theirs, nil
}

// pump copies until one of the two ends. gone: it was the one that is written to.
func pump(to io.Writer, from io.Reader) (gone bool) {
	b := make([]byte, carryBuffer)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return true
			}
		}
		if err != nil {
			return false
		}
	}
}

// await takes a dead letter of the function's among those that wait, or says why not. Those that it may write
// are short enough.
func (h *held) await(letter []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case len(letter) > outlet.MaxDeadLetter:
		return fmt.Errorf("a dead letter of %d bytes is over %d", len(letter), outlet.MaxDeadLetter)
	case h.waiting+len(letter) > maxLetters:
		return fmt.Errorf("more than %d bytes of dead letters wait", maxLetters)
	}
	h.waiting += len(letter)
	return nil
}

func (h *held) written(letter []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting -= len(letter)
}

// write writes a dead letter that waits; one goroutine writes them.
func (h *held) write(letter []byte) error {
	defer h.written(letter)
	select {
	case h.dead <- struct{}{}:
	case <-h.ctx.Done():
		return h.ctx.Err()
	}
	defer func() { <-h.dead }()
	return h.letters.write(h.ctx, letter)
}
