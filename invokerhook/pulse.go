package invokerhook

import (
	"fmt"
	"os"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook/attest"
)

const (
	lookEvery = 100 * time.Millisecond // at all heartbeats
	// frozenAfter: so long without a heartbeat, and without a thread that wants to run, is a frozen proxy.
	frozenAfter = time.Second
	// stalledAfter: so long is one that doesn't get to it, whatever its threads do. Over TCP nobody sees
	// those.
	stalledAfter = 10 * time.Second
	silentOnTCP  = 3 * time.Second
	// lateLoop: when this hook itself wakes so late it has not been running, and can't say who else was.
	lateLoop = 2 * lookEvery
)

// heart is what is known of a connected proxy's heartbeat. The hook's mutex guards it.
type heart struct {
	word  *control.Pulse // nil: over TCP
	beats uint64         // messages, where there is no word or it can't be mapped
	seen  uint64         // the last number
	at    time.Time      // when it was new
	told  time.Time      // when owners were told that it is silent
}

// newHeart makes the word of a proxy on this host, and the file for it; over TCP there is none.
func newHeart(fact *attest.Fact, now time.Time) (*heart, *os.File, error) {
	h := &heart{at: now}
	if fact.Process == nil || fact.Remote {
		return h, nil, nil
	}
	var f *os.File
	var err error
	h.word, f, err = control.NewPulse()
	return h, f, err
}

func (h *heart) close() {
	if h.word != nil {
		_ = h.word.Close() // an address that was mapped can be unmapped
		h.word = nil
	}
}

// pulseLoop looks at the heartbeats of all connected proxies until the hook closes.
func (h *Hook) pulseLoop() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		late := max(0, now.Sub(last)-lateLoop)
		last = now
		for _, s := range h.silent(now, late) {
			reason := s.judge(now)
			if reason == "" {
				continue
			}
			h.noisy.Warn().Str("worker", s.w.id).Str("reason", reason).Msg("worker silent")
			for _, o := range s.owners {
				o.post(item{event: conductor.Frozen{Worker: s.w.id, Reason: reason}})
			}
		}
	}
}

// silence is a worker that owners may have to be told of.
type silence struct {
	w      *worker
	fact   *attest.Fact
	since  time.Time
	owners []*owner
}

// silent lists the workers whose hearts have not beaten for so long that it is to be looked into, each at
// most once in frozenAfter. What the hook was late by is nobody's silence.
func (h *Hook) silent(now time.Time, late time.Duration) []silence {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []silence
	for _, w := range h.workers {
		if w.peer == nil || w.heart == nil {
			continue
		}
		x := w.heart
		n := x.beats
		if x.word != nil {
			n += x.word.Count()
		}
		if x.at = x.at.Add(late); n != x.seen {
			x.seen, x.at = n, now
		}
		if now.Sub(x.at) < frozenAfter || now.Sub(x.told) < frozenAfter {
			continue
		}
		x.told = now
		out = append(out, silence{w, w.fact, x.at, h.ownersTold(w)})
	}
	return out
}

// judge says why a silent worker is not to be waited for; "" when it is.
func (s silence) judge(now time.Time) string {
	quiet := now.Sub(s.since)
	seconds := quiet.Round(100 * time.Millisecond)
	switch {
	case s.fact.Remote && quiet < silentOnTCP:
		return ""
	case s.fact.Remote:
		return fmt.Sprintf("frozen: nothing was heard of its proxy for %v", seconds)
	case quiet >= stalledAfter:
		return fmt.Sprintf("stalled: its proxy's heartbeat has stopped for %v", seconds)
	case s.fact.Process != nil && s.fact.Process.Runs():
		return "" // it only gets no core
	}
	return fmt.Sprintf("frozen: its proxy's heartbeat has stopped for %v", seconds)
}

// beat is a heartbeat over TCP.
func (p *peer) beat() {
	p.hook.mu.Lock()
	defer p.hook.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.worker.peer == p && p.worker.heart != nil {
		p.worker.heart.beats++
	}
}
