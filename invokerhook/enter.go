package invokerhook

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// Times of entering.
const (
	enterWait = 10 * time.Second // for an ingress that is about to be ready
	enterLife = time.Minute      // of the certificate: it is for a dial that follows at once
)

// enter lets the container of an event's invocation into the mesh, as a guest of the pipeline's ingress
// and nothing else. What entitles it is the OpenWhisk key of its activation, as with the conductor action's
// steps: whoever has that may invoke the pipeline, and stop it too. The names it gives are claims; where
// containers are attested, theirs must be that of the action.
func (p *peer) enter(m *control.Message, reply func(control.Answer)) {
	var e control.Enter
	if err := m.Decode(&e); err != nil {
		reply(control.Answer{Err: err})
		return
	}
	p.work(reply, func(ctx context.Context) {
		way, err := p.wayIn(ctx, e)
		if err != nil {
			kind, n := p.hook.refused.count(RefusedEvent, err)
			p.hook.noisy.Warn().Str("namespace", e.Namespace).Str("pipeline", e.Pipeline).Str("action", e.Action).
				Str("activation", e.ActivationID).Str("refusal", string(kind)).Uint64("refused", n).AnErr("reason", err).Msg("event's activation refused")
			reply(control.Answer{Err: err})
			return
		}
		reply(control.Answer{Body: way})
	})
}

func (p *peer) wayIn(ctx context.Context, e control.Enter) (*control.Way, error) {
	h := p.hook
	namespace, err := h.platform.opens(ctx, e.APIKey, e.Namespace)
	if err != nil {
		return nil, err
	}
	o := h.owner(namespace + "/" + e.Pipeline)
	if o == nil {
		return nil, fmt.Errorf("no pipeline %s in namespace %s runs here: start it first", e.Pipeline, namespace)
	}
	if o.ingress == "" {
		return nil, fmt.Errorf("pipeline %s takes no events by invocation: none of its sources is an ingress", e.Pipeline)
	}
	if err := checkRequest(e.CSR); err != nil {
		return nil, err
	}
	if e.Action != "/"+o.name && e.Action != StageAction(namespace, o.pipeline, pipeline.IngressName) {
		return nil, fmt.Errorf("action %s brings no events of pipeline %s", e.Action, o.pipeline)
	}
	p.mu.Lock()
	w := p.worker
	p.mu.Unlock()
	if err := h.serves(w, namespace, o.pipeline, e.Action); err != nil {
		return nil, err
	}
	at, err := o.awaitIngress(ctx)
	if err != nil {
		return nil, err
	}
	self := transport.Identity{Namespace: namespace, Pipeline: o.pipeline, Stage: pipeline.IngressName, Incarnation: guestNumber()}
	now := h.cfg.Now()
	cert, err := o.ca.Sign(e.CSR, self, now, now.Add(enterLife))
	if err != nil {
		return nil, err
	}
	o.guests.add(p, self.Incarnation, at)
	return &control.Way{Namespace: namespace, Pipeline: o.pipeline, Incarnation: self.Incarnation, Cert: cert,
		CA: o.ca.Certificate(), Ingress: at}, nil
}

// guestNumber tells guests apart; nothing goes by its order.
func guestNumber() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return binary.LittleEndian.Uint64(b[:])
}

// awaitIngress returns who holds the ingress when that is ready, or why it won't be.
func (o *owner) awaitIngress(ctx context.Context) (control.Peer, error) {
	late := time.NewTimer(enterWait)
	defer late.Stop()
	for {
		v, changed := o.look()
		switch v.status.Phase {
		case control.Failed:
			return control.Peer{}, fmt.Errorf("pipeline %s has failed: %s", o.pipeline, v.status.Error)
		case control.Stopping, control.Ended:
			return control.Peer{}, fmt.Errorf("pipeline %s has stopped: start it first", o.pipeline)
		}
		if at, ready := o.ingressIn(v); ready {
			return at, nil
		}
		select {
		case <-changed:
		case <-late.C:
			if v.status.Phase == control.Suspended {
				return control.Peer{}, fmt.Errorf("pipeline %s is suspended: %s", o.pipeline, v.status.Error)
			}
			return control.Peer{}, fmt.Errorf("pipeline %s: its ingress %s is not ready, after %v", o.pipeline, o.ingress, enterWait)
		case <-ctx.Done():
			return control.Peer{}, errors.New("the caller has gone")
		}
	}
}

// ingressIn is who holds the ingress, if that is ready.
func (o *owner) ingressIn(v view) (at control.Peer, ready bool) {
	for _, s := range v.status.Slots {
		if s.Slot.Stage == o.ingress && s.State == "ready" {
			return control.Peer{Slot: s.Slot, Incarnation: s.Incarnation, Addr: s.Addr}, true
		}
	}
	return control.Peer{}, false
}

// ingressOf names the source of a brain's pipeline that takes events by invocation; "" without one.
func ingressOf(b *conductor.Brain) string {
	p := b.Pipeline()
	if in := p.Ingress(); in != nil {
		return in.Name
	}
	return ""
}
