package invokerhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/openwhisk"
)

// helloClient accepts a weft command whose OpenWhisk key the platform knows. What it may see is what
// the key opens, on the Unix socket too: containers can reach that.
func (p *peer) helloClient(h control.Hello, reply func(control.Answer)) {
	ctx, cancel := p.context()
	defer cancel()
	if _, err := p.hook.platform.opens(ctx, h.Auth, ""); err != nil {
		p.hook.noisy.Warn().Err(err).Msg("client refused")
		reply(control.Answer{Err: err})
		return
	}
	allowed, err := p.hook.platform.namespaces(ctx, h.Auth)
	if err != nil {
		reply(control.Answer{Err: err})
		return
	}
	p.mu.Lock()
	p.role, p.allowed = control.RoleClient, allowed
	p.mu.Unlock()
	reply(control.Answer{Body: control.HelloReply{Version: control.Version, Hook: p.hook.cfg.Host, Keep: true}})
}

// fromClient takes a client's calls. A pipeline of another namespace is answered like one that isn't there.
func (p *peer) fromClient(m *control.Message, reply func(control.Answer)) {
	if m.Type == control.TypeAttach {
		var a control.Attach
		err := m.Decode(&a)
		if err == nil {
			err = p.attach(a)
		}
		reply(control.Answer{Err: err})
		return
	}
	var q control.Query
	if err := m.Decode(&q); err != nil {
		reply(control.Answer{Err: err})
		return
	}
	owners, err := p.see(q.Namespace, q.Pipeline)
	if err != nil {
		reply(control.Answer{Err: err})
		return
	}
	switch m.Type {
	case control.TypeStatus:
		reply(control.Answer{Body: p.hook.statusOf(owners)})
	case control.TypeWhy:
		reply(control.Answer{Body: whyOf(owners)})
	case control.TypeLogs:
		if q.Pipeline == "" {
			reply(control.Answer{Err: errors.New("logs are of one pipeline: name it")})
			return
		}
		p.work(reply, func(ctx context.Context) { reply(control.Answer{Body: owners[0].logs(ctx, q)}) })
	case control.TypeStop:
		if q.Pipeline == "" {
			reply(control.Answer{Err: errors.New("a stop is of one pipeline: name it")})
			return
		}
		// The queue may be full for a while, and a handler must not wait.
		p.hook.tasks.Go(func() {
			owners[0].post(item{event: conductor.Stop{Reason: "weft stop"}})
			reply(control.Answer{Body: p.hook.statusOf(owners)})
		})
	default:
		reply(control.Answer{Err: fmt.Errorf("the hook knows no call %q", m.Type)})
	}
}

// attach may come before the pipeline's start.
func (p *peer) attach(a control.Attach) error {
	if a.Pipeline == "" {
		return errors.New("attach to which pipeline?")
	}
	namespace, ok := p.namespace(a.Namespace)
	if !ok {
		return fmt.Errorf("the OpenWhisk key does not open namespace %q", a.Namespace)
	}
	r, err := p.hook.relayOf(namespace + "/" + a.Pipeline)
	if err == nil {
		r.attach(p, a)
	}
	return err
}

// namespace is the one asked for, the client's own for "" and "_"; false if its key does not open it.
func (p *peer) namespace(asked string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if asked == "" || asked == openwhisk.DefaultNamespace {
		return p.allowed[0], true
	}
	return asked, slices.Contains(p.allowed, asked)
}

// see finds the pipelines that the client asks for, if its key opens their namespace. A name given
// must be there.
func (p *peer) see(namespace, pipeline string) ([]*owner, error) {
	namespace, ok := p.namespace(namespace)
	var owners []*owner
	if ok {
		owners = p.hook.ownersOf(namespace, pipeline)
	}
	if pipeline != "" && len(owners) == 0 {
		return nil, fmt.Errorf("no pipeline %s in namespace %s runs here", pipeline, namespace)
	}
	slices.SortFunc(owners, func(a, b *owner) int { return strings.Compare(a.name, b.name) })
	return owners, nil
}

func (h *Hook) statusOf(owners []*owner) control.Status {
	out := control.Status{Pipelines: []control.PipelineStatus{}, Hook: h.status()}
	for _, o := range owners {
		out.Pipelines = append(out.Pipelines, o.status())
	}
	return out
}

func whyOf(owners []*owner) control.Why {
	out := control.Why{Entries: []control.WhyEntry{}}
	for _, o := range owners {
		v, _ := o.look()
		out.Entries = append(out.Entries, v.why...)
	}
	slices.SortStableFunc(out.Entries, func(a, b control.WhyEntry) int { return int(a.TimeMS - b.TimeMS) })
	return out
}
