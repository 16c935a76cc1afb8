package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// Times of a gate.
const (
	dialWait  = 3 * time.Second
	enterWait = 15 * time.Second // for hook and link together
)

// gate leads the events of this container's invocations into their pipeline: by a link to the worker of
// the ingress, which stays from one activation to the next. This container holds no slot; the hook lets it
// in for the OpenWhisk key of its activation.
type gate struct {
	hook   *hookConn
	listen func() (Endpoint, error)
	ctx    context.Context // ends with close
	stop   context.CancelFunc
	turn   chan struct{} // of one element: one call after the other
	link   *gateLink     // nil: none. Belongs to whoever has the turn

	mu  sync.Mutex
	led *gateLink // the same, for astray
}

func newGate(hook *hookConn, listen func() (Endpoint, error)) *gate {
	g := &gate{hook: hook, listen: listen, turn: make(chan struct{}, 1)}
	g.ctx, g.stop = context.WithCancel(context.Background())
	return g
}

// call sends an event in and waits for its result. failed: the result is {"error": …}.
func (g *gate) call(ctx context.Context, req *actionproxy.Request, name string, event []byte) (result []byte, failed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return nil, false, errors.New("another event of this container waits for its result")
	}
	if err := g.open(ctx, req, name); err != nil {
		return nil, false, err
	}
	f, err := g.link.exchange(ctx, frame.Data, event)
	if err == nil {
		return f.Payload, f.Type == frame.Error, nil
	}
	g.drop()
	if ctx.Err() != nil {
		return nil, false, fmt.Errorf("pipeline %s: no result within the time limit of the activation", name)
	}
	return nil, false, fmt.Errorf("pipeline %s: the worker of its ingress was lost, or has stopped, before the result came; the event may have been processed: %w", name, err)
}

// open sees to it that there is a link that works.
func (g *gate) open(ctx context.Context, req *actionproxy.Request, name string) error {
	if g.link != nil && g.link.works(ctx) {
		return nil
	}
	g.drop()
	ctx, cancel := context.WithTimeout(ctx, enterWait)
	defer cancel()
	for wait := firstBackOff; ; wait = min(2*wait, lastBackOff) {
		link, err := g.enter(ctx, req, name)
		if err == nil {
			g.hold(link)
			return nil
		}
		var refused *control.RemoteError
		if errors.As(err, &refused) { // the hook's words say all
			return refused
		}
		if pause(ctx, wait) != nil {
			return fmt.Errorf("pipeline %s can't be entered: %w", name, err)
		}
	}
}

// enter asks the hook for the way in, and goes it.
func (g *gate) enter(ctx context.Context, req *actionproxy.Request, name string) (*gateLink, error) {
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	ask := control.Enter{Namespace: req.Namespace, Pipeline: name, Action: req.ActionName,
		ActivationID: req.ActivationID, APIKey: req.APIKey, CSR: key.Request()}
	var way control.Way
	if _, err := g.hook.call(ctx, control.TypeEnter, ask, nil, &way); err != nil {
		return nil, err
	}
	self := transport.Identity{Namespace: way.Namespace, Pipeline: way.Pipeline, Stage: pipeline.IngressName, Incarnation: way.Incarnation}
	t, err := g.transport(key, &way, self)
	if err != nil {
		return nil, err
	}
	to := self
	to.Stage, to.Index, to.Incarnation = way.Ingress.Slot.Stage, way.Ingress.Slot.Index, way.Ingress.Incarnation
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	stream, err := t.Dial(ctx, way.Ingress.Addr, to)
	if err != nil {
		_ = t.Close() // nothing was sent
		return nil, err
	}
	return newGateLink(t, stream, way.Incarnation), nil
}

// transport opens an address of this container under the identity that the hook has given.
func (g *gate) transport(key *identity.Key, way *control.Way, self transport.Identity) (transport.Transport, error) {
	cert, err := key.Certificate(way.Cert)
	if err != nil {
		return nil, err
	}
	ca, err := identity.Pool(way.CA)
	if err != nil {
		return nil, err
	}
	endpoint, err := g.listen()
	if err != nil {
		return nil, err
	}
	t, err := endpoint.Transport(self, cert, ca)
	if err != nil {
		_ = endpoint.Close() // nobody has used it
	}
	return t, err
}

// drop closes the link.
func (g *gate) drop() {
	if g.link != nil {
		g.link.close()
		g.hold(nil)
	}
}

func (g *gate) hold(l *gateLink) {
	g.link = l
	g.mu.Lock()
	defer g.mu.Unlock()
	g.led = l
}

// astray hears from the hook that nobody is at the other end of a link, whose silence would tell it later.
func (g *gate) astray(incarnation uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.led != nil && g.led.incarnation == incarnation {
		g.led.stream.Close()
	}
}

// close ends the call under way, if any.
func (g *gate) close() {
	g.stop()
	g.turn <- struct{}{}
	g.drop()
	<-g.turn
}
