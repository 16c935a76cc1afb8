package invokerhook

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/pipeline"
)

// found starts a pipeline that runs nowhere: its record is written before its first command.
func (h *Hook) found(ctx context.Context, namespace, apiKey string, pl pipeline.Pipeline) (*owner, error) {
	h.founding.Lock()
	defer h.founding.Unlock()
	name := namespace + "/" + pl.Name
	if o := h.owner(name); o != nil && !o.ended() {
		v, _ := o.look()
		return nil, fmt.Errorf("pipeline %s is %s already: stop it first", pl.Name, v.status.Phase)
	}
	records, err := h.registry.read(ctx)
	if err != nil {
		return nil, err
	}
	former := records[name]
	if former.fault != nil {
		// Its term is unknown, and a run below that would fence nothing.
		return nil, fmt.Errorf("%w; or remove the record, if nobody runs the pipeline", former.fault)
	}
	if former.Snapshot != nil && former.Host != h.cfg.Host {
		return nil, fmt.Errorf("pipeline %s is owned by the hook on %s: stop it first", pl.Name, former.Host)
	}
	_, ca, err := newAuthority(namespace, pl.Name, h.cfg.Now())
	if err != nil {
		return nil, err
	}
	l, err := h.registry.openLedger(ctx, name)
	if err != nil {
		return nil, err
	}
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails, see crypto/rand
	brain := conductor.New(conductor.Config{Namespace: namespace, Pipeline: pl, Term: former.Term + 1,
		KeySeed: binary.LittleEndian.Uint64(seed[:]), PauseGrace: h.cfg.PauseGrace})
	o, err := h.newOwner(namespace, pl.Name, brain, l, record{APIKey: apiKey, CA: ca})
	if err != nil {
		l.close()
		return nil, err
	}
	o.relay.begin()
	o.queue <- item{event: conductor.Begin{}}
	if err := h.own(o); err != nil {
		l.close()
		return nil, err
	}
	return o, nil
}

// own lets the owner work, unless the hook is closing.
func (h *Hook) own(o *owner) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return errors.New("the hook is closing")
	}
	h.owners[o.name] = o
	o.start()
	return nil
}

// ended says that nobody runs the pipeline here any more.
func (o *owner) ended() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// recover takes over the pipelines that a hook on this host has owned. One that can't be had is left
// alone and reported: it must not keep the others waiting.
func (h *Hook) recover(ctx context.Context) error {
	records, err := h.registry.read(ctx)
	if err != nil {
		return err
	}
	ledgers := map[string]*ledger{}
	for name, rec := range records {
		if rec.fault != nil {
			h.log.Error().Str("pipeline", name).Err(rec.fault).Msg("pipeline not taken over")
			continue
		}
		if rec.Host != h.cfg.Host {
			continue
		}
		if rec.Snapshot == nil {
			h.forget(ctx, name, rec)
			continue
		}
		l, err := h.registry.openLedger(ctx, name)
		if err != nil {
			h.log.Error().Str("pipeline", name).Err(err).Msg("pipeline not taken over")
			continue
		}
		ledgers[name] = l
	}
	if len(ledgers) == 0 {
		return nil
	}
	// Once more: only now can the former owners write nothing any more.
	if records, err = h.registry.read(ctx); err != nil {
		return err
	}
	for name, l := range ledgers {
		if err := h.takeOver(name, records[name], l); err != nil {
			l.close()
			h.log.Error().Str("pipeline", name).Err(err).Msg("pipeline not taken over")
		}
	}
	return nil
}

// keepEnded is how long the term of an ended pipeline is kept: far longer than any worker of it lives.
const keepEnded = 7 * 24 * time.Hour

// forget removes the record of a pipeline that ended long ago.
func (h *Hook) forget(ctx context.Context, name string, rec record) {
	if h.cfg.Now().Sub(time.UnixMilli(rec.EndedMS)) < keepEnded {
		return
	}
	l, err := h.registry.openLedger(ctx, name)
	if err == nil {
		err = l.put(ctx, nil)
		l.close()
	}
	if err != nil {
		h.log.Warn().Str("pipeline", name).Err(err).Msg("record of an ended pipeline not removed")
	}
}

func (h *Hook) takeOver(name string, rec record, l *ledger) error {
	if rec.fault != nil {
		return rec.fault
	}
	brain, err := conductor.Restore(rec.Snapshot, rec.Term+1)
	if err != nil {
		return err
	}
	namespace, pl, _ := strings.Cut(name, "/")
	o, err := h.newOwner(namespace, pl, brain, l, rec)
	if err != nil {
		return err
	}
	// Term + 1 is in the registry before anybody hears of it.
	if err := o.persist(); err != nil {
		return err
	}
	for _, id := range brain.Activations() {
		h.acts.bind(id, o)
	}
	h.log.Info().Str("pipeline", name).Uint32("term", brain.Term()).Str("phase", string(brain.Phase())).Msg("pipeline taken over")
	return h.own(o)
}

// reopenLedger gets the right to write back for the owner of a term, unless there is a later owner.
func (r *registry) reopenLedger(ctx context.Context, name string, term uint32) (*ledger, error) {
	if err := r.checkTerm(ctx, name, term); err != nil {
		return nil, err
	}
	l, err := r.openLedger(ctx, name)
	if err != nil {
		return nil, err
	}
	// Once more, now that nobody else can write.
	if err := r.checkTerm(ctx, name, term); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (r *registry) checkTerm(ctx context.Context, name string, term uint32) error {
	records, err := r.read(ctx)
	if err != nil {
		return err
	}
	switch now := records[name]; {
	case now.fault != nil: // of an owner with a key or a version that we don't have
		return fmt.Errorf("%w: %w", errFenced, now.fault)
	case now.Term > term:
		return fmt.Errorf("%w: the registry has term %d, ours is %d", errFenced, now.Term, term)
	}
	return nil
}
