package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/invokerhook/attest"
)

// Bounds of connections.
const (
	maxPeers     = 4096
	maxCalls     = 8                // of one connection, under way, that take time
	outboxSize   = 1024             // messages to one peer that it hasn't taken yet
	helloTimeout = 10 * time.Second // from connecting to the accepted hello
)

// peer is one control connection: a proxy's or a client's.
type peer struct {
	hook   *Hook
	conn   *control.Conn
	made   chan struct{} // closed when conn is set
	caller *attest.Caller
	outbox chan *outgoing // pointers: there are many peers, and seldom more than a few messages
	calls  chan struct{}  // maxCalls places

	mu      sync.Mutex
	greeted bool // a hello came
	role    string
	worker  *worker  // a proxy's
	allowed []string // a client's namespaces, the first its own
	grant   *grant
}

// outgoing is a message or an answer; one goroutine writes them in order, so that nobody who decides
// waits for a peer that doesn't read.
type outgoing struct {
	typ    string
	body   any
	answer func(control.Answer) // with an answer to a call; body is its body
	err    error
	files  []*os.File // go with it, and are closed then
}

// acceptLoop takes connections until the listener is closed.
func (h *Hook) acceptLoop(l net.Listener) {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			h.log.Error().Err(err).Msg("accept a connection")
			select {
			case <-h.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		h.serve(nc)
	}
}

func (h *Hook) serve(nc net.Conn) {
	caller, err := h.attestor.Caller(nc)
	if err != nil {
		h.turnedAway(RefusedCaller, err, "connection")
		_ = nc.Close()
		return
	}
	p := &peer{hook: h, made: make(chan struct{}), caller: caller,
		outbox: make(chan *outgoing, outboxSize), calls: make(chan struct{}, maxCalls)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err = h.enter(caller); err != nil || h.closing {
		h.turnedAway(RefusedCrowd, err, "connection")
		caller.Close()
		_ = nc.Close()
		return
	}
	h.peers[p] = struct{}{}
	p.conn = control.NewConn(nc, p.handle)
	close(p.made)
	h.tasks.Go(p.writeLoop)
}

// writeLoop writes what is in the outbox, and cleans up when the connection ends.
func (p *peer) writeLoop() {
	hello := time.NewTimer(helloTimeout)
	defer hello.Stop()
	for {
		select {
		case m := <-p.outbox:
			p.write(m)
		case <-hello.C:
			if p.as() == "" {
				_ = p.conn.Close()
			}
		case <-p.conn.Done():
			p.hook.disconnected(p)
			p.empty()
			return
		}
	}
}

// empty closes the files of messages that can't be sent any more. One that is queued later still is left to the
// runtime.
func (p *peer) empty() {
	for {
		select {
		case m := <-p.outbox:
			shm.CloseAll(m.files)
		default:
			return
		}
	}
}

func (p *peer) write(m *outgoing) {
	defer shm.CloseAll(m.files)
	if m.answer != nil {
		m.answer(control.Answer{Body: m.body, Err: m.err, Files: m.files})
		return
	}
	if err := p.conn.SendFiles(m.typ, m.body, m.files); err != nil && !errors.Is(err, control.ErrClosed) {
		p.hook.log.Error().Err(err).Str("type", m.typ).Msg("send a message")
	}
}

// put queues a message. A peer that lets the outbox fill up is given up: it will come back and be told
// the present state.
func (p *peer) put(m outgoing) {
	select {
	case p.outbox <- &m:
	default:
		shm.CloseAll(m.files)
		p.hook.log.Warn().Msg("connection closed: the peer takes no messages")
		_ = p.conn.Close()
	}
}

// over says that the connection has ended.
func (p *peer) over() bool {
	select {
	case <-p.conn.Done():
		return true
	default:
		return false
	}
}

// as is the role the peer was accepted in; "" before that.
func (p *peer) as() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.role
}

// handle takes the messages of a connection; see control.Handler.
func (p *peer) handle(m *control.Message, wants bool, reply func(control.Answer)) {
	<-p.made
	if m.Type == control.TypeHello {
		p.hello(m, reply)
		return
	}
	switch p.as() {
	case control.RoleProxy:
		p.fromProxy(m, wants, reply)
	case control.RoleClient:
		p.fromClient(m, reply)
	default:
		reply(control.Answer{Err: errors.New("say hello first")})
	}
}

func (p *peer) hello(m *control.Message, reply func(control.Answer)) {
	p.mu.Lock()
	again := p.greeted
	p.greeted = true
	p.mu.Unlock()
	var h control.Hello
	err := m.Decode(&h)
	if again {
		err = errors.New("one hello was said already")
	}
	if err != nil {
		reply(control.Answer{Err: err})
		return
	}
	if h.Version != control.Version {
		reply(control.Answer{Err: fmt.Errorf("you speak version %d of the hook's protocol, this hook speaks %d: use weft, proxies and hook of one release",
			h.Version, control.Version)})
		return
	}
	switch h.Role {
	case control.RoleProxy:
		// Docker is asked, as for a client the platform: that takes time, and a handler must not.
		p.hook.tasks.Go(func() { p.helloProxy(h, reply) })
	case control.RoleClient:
		p.hook.tasks.Go(func() { p.helloClient(h, reply) })
	default:
		reply(control.Answer{Err: fmt.Errorf("hello with unknown role %q", h.Role)})
	}
}

// work answers a call that takes time: a handler must not. do's context ends with the connection.
func (p *peer) work(reply func(control.Answer), do func(ctx context.Context)) {
	select {
	case p.calls <- struct{}{}:
	default:
		reply(control.Answer{Err: fmt.Errorf("more than %d calls at once", maxCalls)})
		return
	}
	p.hook.tasks.Go(func() {
		defer func() { <-p.calls }()
		ctx, cancel := p.context()
		defer cancel()
		do(ctx)
	})
}

// context ends with the connection or the hook. Only the hook's tasks call it.
func (p *peer) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(p.hook.ctx)
	p.hook.tasks.Go(func() {
		defer cancel()
		select {
		case <-ctx.Done():
		case <-p.conn.Done():
		}
	})
	return ctx, cancel
}
