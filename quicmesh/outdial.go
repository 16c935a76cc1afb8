package quicmesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// Pauses between dials: doubling, with jitter.
const (
	minPause     = 5 * time.Millisecond
	maxPause     = 250 * time.Millisecond
	refusedPause = time.Second // the peer has to change first; SetPeers ends the pause
)

// dialLoop keeps the link up: it dials, and writes while there is a session.
func (l *outLink) dialLoop() {
	pause := minPause
	defer l.leaveRound()
	for l.life.Err() == nil {
		peer, ctx, drop := l.target()
		if peer.Addr == "" {
			select {
			case <-l.changed:
			case <-l.life.Done():
			}
			drop()
			continue
		}
		begin := time.Now()
		wasUp, err := l.serve(ctx, peer)
		drop()
		if wasUp && time.Since(begin) > maxPause { // not for a link that breaks each time it is up
			pause = minPause
		}
		l.note(err, wasUp)
		wait := pause/2 + rand.N(pause/2+1)
		if errors.Is(err, transport.ErrRefused) {
			wait = refusedPause
		}
		pause = min(2*pause, maxPause)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.changed:
			pause = minPause
		case <-l.life.Done():
		}
		timer.Stop()
	}
}

// target is whom to dial now, and a context that ends when that changes.
func (l *outLink) target() (Peer, context.Context, context.CancelFunc) {
	l.edge.mu.Lock()
	select {
	case <-l.changed: // seen by reading peer below
	default:
	}
	ctx, drop := context.WithCancel(l.life)
	l.drop = drop
	peer, last := l.peer, l.passes()
	l.edge.mu.Unlock()
	if last {
		l.edge.mesh.progress.wrote()
	}
	return peer, ctx, drop
}

func (l *outLink) note(err error, wasUp bool) {
	m := l.edge.mesh
	if err == nil || l.life.Err() != nil {
		return
	}
	l.edge.mu.Lock()
	repeated := l.stats.reason == err.Error()
	l.stats.reason = err.Error()
	l.edge.mu.Unlock()
	if !repeated || wasUp {
		m.cfg.Log("link down", "edge", l.edge.id, "to", Slot{l.edge.to, l.index}.String(), "reason", err.Error())
	}
}

// serve is one connection's life. It returns why it ended, and whether the link was up.
func (l *outLink) serve(ctx context.Context, peer Peer) (wasUp bool, err error) {
	stream, in, hail, err := l.dial(ctx, peer)
	if err != nil {
		return false, err
	}
	defer in.close()
	s := newSession(stream)
	stop := context.AfterFunc(ctx, func() { s.end("the slot closes, or knows a newer peer") })
	defer stop()
	lost, err := l.begin(s, peer, hail)
	if lost > 0 {
		l.edge.mesh.lost(l, lost)
	}
	if err != nil {
		s.end(err.Error())
		s.finish()
		return false, err
	}
	l.edge.mesh.cfg.Log("link up", "edge", l.edge.id, "to", peer.Slot().String(), "incarnation", peer.Incarnation)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.readLoop(s, in)
	}()
	l.writeLoop(s)
	s.finish()
	<-done
	e := l.edge
	e.mu.Lock()
	defer e.mu.Unlock()
	l.detach(s)
	return true, fmt.Errorf("link to %v: %s", peer.Slot(), s.why())
}

// dial opens a stream to the peer, says hello and waits for the welcome, which a peer that is not
// ready holds back. It ends with ctx.
func (l *outLink) dial(ctx context.Context, p Peer) (transport.Stream, *reader, hail, error) {
	m := l.edge.mesh
	id := m.cfg.Self
	id.Stage, id.Index, id.Incarnation = p.Stage, p.Index, p.Incarnation
	stream, err := l.edge.dialer.Dial(ctx, p.Addr, id)
	if err != nil {
		return nil, nil, hail{}, fmt.Errorf("dial %v: %w", p.Slot(), err)
	}
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	in := newReader(stream, leastRead, 0)
	w, err := l.greet(stream, in, p)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		in.close()
		stream.Close()
		return nil, nil, hail{}, fmt.Errorf("greet %v: %w", p.Slot(), err)
	}
	return stream, in, w, nil
}

func (l *outLink) greet(stream transport.Stream, in *reader, p Peer) (hail, error) {
	self := l.edge.mesh.cfg.Self
	payload, err := json.Marshal(hello{
		Version: version,
		Edge:    l.edge.id,
		From:    holder{Slot{self.Stage, self.Index}, self.Incarnation},
		To:      holder{p.Slot(), p.Incarnation},
		Joins:   l.edge.mesh.joins.Load(),
		Life:    l.edge.mesh.life(),
	})
	if err != nil {
		return hail{}, err
	}
	f := frame.Frame{Header: frame.Header{Type: frame.Hello, Edge: l.edge.id}, Payload: payload}
	if _, err := stream.Write(f.Append(nil)); err != nil {
		return hail{}, err
	}
	if f, err = in.one(); err != nil {
		return hail{}, err
	}
	switch f.Type {
	case frame.Welcome:
		w := hail{Received: f.Seq}
		if err := json.Unmarshal(f.Payload, &w); err != nil {
			return w, fmt.Errorf("read its welcome: %w", err)
		}
		return w, nil
	case frame.Bye:
		return hail{}, errBye(append([]byte(nil), f.Payload...))
	}
	return hail{}, fmt.Errorf("%w: type %d instead of a welcome", errFrame, f.Type)
}
