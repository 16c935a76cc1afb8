package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/shm"
)

// Times of the connection to the hook.
const (
	helloTimeout = 5 * time.Second
	firstBackOff = 50 * time.Millisecond
	lastBackOff  = 2 * time.Second
)

// hookConn is the connection to the hook. It is dialled when it is first needed, since a container that
// was only initialised must say nothing to anyone, and kept for as long as a slot is held: after a loss
// it comes back and says Hello with the inventory again.
type hookConn struct {
	addr    string
	hello   func() control.Hello                     // with the inventory of now
	handle  func(*control.Message)                   // one-way messages of the hook
	greeted func(hadSlot bool, r control.HelloReply) // after every Hello

	ctx   context.Context // ends with close
	stop  context.CancelFunc
	loops sync.WaitGroup

	mu      sync.Mutex
	conn    *control.Conn // nil while there is none
	changed chan struct{} // closed and replaced when conn or err changes
	err     error         // why the last dial failed
	running bool          // connectLoop
	waiting int           // callers that need a connection
}

func newHookConn(addr string) *hookConn {
	h := &hookConn{addr: addr, changed: make(chan struct{})}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// close ends the connection and its goroutine.
func (h *hookConn) close() {
	h.stop()
	h.loops.Wait()
}

// get gives the connection, and waits for one until ctx ends. The error says why there is none.
func (h *hookConn) get(ctx context.Context) (*control.Conn, error) {
	h.mu.Lock()
	h.waiting++
	h.start()
	conn, changed := h.conn, h.changed
	h.mu.Unlock()
	defer h.leave()
	for conn == nil {
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, h.why(ctx.Err())
		case <-h.ctx.Done():
			return nil, control.ErrClosed
		}
		h.mu.Lock()
		conn, changed = h.conn, h.changed
		h.mu.Unlock()
	}
	return conn, nil
}

// present is the connection; nil while there is none.
func (h *hookConn) present() *control.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conn
}

func (h *hookConn) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting--
}

func (h *hookConn) why(end error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	return fmt.Errorf("connect to the hook at %s: %w", h.addr, end)
}

// call asks the hook once, waiting for a connection first.
func (h *hookConn) call(ctx context.Context, typ string, body any, blob []byte, reply any) ([]byte, error) {
	conn, err := h.get(ctx)
	if err != nil {
		return nil, err
	}
	return conn.Call(ctx, typ, body, blob, reply)
}

// insist asks the hook until it answers: a lost connection is waited for, and what the hook can't do
// now (the user's weft is away) is asked again until patience is at its end.
func (h *hookConn) insist(ctx context.Context, typ string, body any, blob []byte, reply any, patience time.Duration) ([]byte, error) {
	var refused time.Time
	for wait := firstBackOff; ; wait = min(2*wait, lastBackOff) {
		out, err := h.call(ctx, typ, body, blob, reply)
		var remote *control.RemoteError
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case h.ctx.Err() != nil:
			return nil, control.ErrClosed
		case !errors.As(err, &remote):
			refused = time.Time{}
		case refused.IsZero():
			refused = time.Now()
		case time.Since(refused) > patience:
			return nil, fmt.Errorf("%s: the hook answers: %w", typ, err)
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// send sends a one-way message when there is a connection; without one it is gone. What must not be
// lost is told again in greeted.
func (h *hookConn) send(typ string, body any) error {
	h.mu.Lock()
	conn := h.conn
	h.mu.Unlock()
	if conn == nil {
		return control.ErrClosed
	}
	return conn.Send(typ, body, nil)
}

// start runs connectLoop unless it runs. The caller holds mu.
func (h *hookConn) start() {
	if h.running || h.ctx.Err() != nil {
		return
	}
	h.running = true
	h.loops.Go(h.connectLoop)
}

// connectLoop keeps a connection for as long as somebody needs one.
func (h *hookConn) connectLoop() {
	wait := firstBackOff
	for h.needed() {
		conn, err := h.dial()
		h.set(conn, err)
		if err == nil {
			wait = firstBackOff
			select {
			case <-conn.Done():
			case <-h.ctx.Done():
				_ = conn.Close()
			}
			h.set(nil, nil)
		}
		if pause(h.ctx, wait/2+rand.N(wait)) != nil {
			continue
		}
		wait = min(2*wait, lastBackOff)
	}
}

// needed ends connectLoop when nothing is held and nobody waits.
func (h *hookConn) needed() bool {
	holds := h.hello().Inventory != nil
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() == nil && (holds || h.waiting > 0) {
		return true
	}
	h.running = false
	return false
}

func (h *hookConn) dial() (*control.Conn, error) {
	ctx, cancel := context.WithTimeout(h.ctx, helloTimeout)
	defer cancel()
	conn, err := control.Dial(ctx, h.addr, func(m *control.Message, wants bool, reply func(control.Answer)) {
		if wants {
			reply(control.Answer{Err: fmt.Errorf("proxy: %q is no call it answers", m.Type)})
			return
		}
		h.handle(m)
	})
	if err != nil {
		return nil, err
	}
	hello := h.hello()
	var answer control.HelloReply
	files, err := conn.CallFiles(ctx, control.TypeHello, hello, &answer)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("say hello to the hook at %s: %w", h.addr, err)
	}
	if answer.Version != control.Version {
		shm.CloseAll(files)
		_ = conn.Close()
		return nil, fmt.Errorf("the hook at %s speaks version %d, this proxy %d: install the same release of both", h.addr, answer.Version, control.Version)
	}
	h.loops.Go(func() { pulseLoop(conn, files) })
	h.set(conn, nil)
	h.greeted(hello.Inventory != nil, answer)
	return conn, nil
}

func (h *hookConn) set(conn *control.Conn, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conn, h.err = conn, err
	close(h.changed)
	h.changed = make(chan struct{})
}

// pause waits, and returns ctx's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
