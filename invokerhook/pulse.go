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
	// askAfter: so long without a heartbeat the kernel is asked whether the proxy may run, and again as often.
	askAfter = 250 * time.Millisecond
	// frozenAfter: kept by the kernel from running for so long since it was first seen, it is frozen. Then a
	// second has passed, and shorter pauses are nobody's loss.
	frozenAfter = 750 * time.Millisecond
	// silentAfter: so long without a heartbeat, and without a thread that wants to run, it is frozen, too, where
	// the kernel's word can't be had.
	silentAfter = 2 * control.PulseEvery
	// stalledAfter: so long is one that doesn't get to it, whatever its threads do. Over TCP nobody sees
	// those.
	stalledAfter = 10 * time.Second
	silentOnTCP  = 3 * time.Second
	tellEvery    = time.Second // owners, of one that stays silent
	// lateLoop: when this hook itself wakes so late it has not been running, and can't say who else was.
	lateLoop = 2 * lookEvery
)

// heart is what is known of a connected proxy's heartbeat. word and beats are guarded by the hook's mutex; the
// rest is pulseLoop's.
type heart struct {
	word  *control.Pulse // nil: over TCP
	beats uint64         // messages, where there is no word or it can't be mapped

	seen    uint64    // the last number
	at      time.Time // when it was new
	asked   time.Time // when the kernel was
	stopped time.Time // since when the kernel has said each time that it may not run; zero: it may
	told    time.Time // when owners were told that it is silent
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
			if reason := s.judge(now); reason != "" && now.Sub(s.heart.told) >= tellEvery {
				s.heart.told = now
				h.tellOfSilence(s.w, reason)
			}
		}
	}
}

func (h *Hook) tellOfSilence(w *worker, reason string) {
	h.noisy.Warn().Str("worker", w.id).Str("reason", reason).Msg("worker silent")
	h.mu.Lock()
	owners := h.ownersTold(w)
	h.mu.Unlock()
	for _, o := range owners {
		o.post(item{event: conductor.Frozen{Worker: w.id, Reason: reason}})
	}
}

// silence is a worker that owners may have to be told of.
type silence struct {
	w     *worker
	fact  *attest.Fact
	heart *heart
}

// silent lists the workers whose hearts have not beaten for so long that it is to be looked into, each at
// most once in askAfter. What the hook was late by is nobody's silence.
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
		if x.at = x.at.Add(late); !x.stopped.IsZero() {
			x.stopped = x.stopped.Add(late)
		}
		if n != x.seen {
			x.seen, x.at, x.stopped = n, now, time.Time{}
		}
		if now.Sub(x.at) < askAfter || now.Sub(x.asked) < askAfter {
			continue
		}
		x.asked = now
		out = append(out, silence{w, w.fact, x})
	}
	return out
}

// judge says why a silent worker is not to be waited for; "" when it is.
func (s silence) judge(now time.Time) string {
	x, p := s.heart, s.fact.Process
	switch {
	case p == nil || !p.Stopped():
		x.stopped = time.Time{}
	case x.stopped.IsZero():
		x.stopped = now
	case now.Sub(x.stopped) >= frozenAfter:
		return fmt.Sprintf("frozen: its proxy has been kept from running for %v", tenths(now.Sub(x.stopped)))
	}
	quiet := now.Sub(x.at)
	switch {
	case s.fact.Remote && quiet < silentOnTCP || quiet < silentAfter:
		return ""
	case s.fact.Remote:
		return fmt.Sprintf("frozen: nothing was heard of its proxy for %v", tenths(quiet))
	case quiet >= stalledAfter:
		return fmt.Sprintf("stalled: its proxy's heartbeat has stopped for %v", tenths(quiet))
	case p != nil && p.Runs():
		return "" // it only gets no core
	}
	return fmt.Sprintf("frozen: its proxy's heartbeat has stopped for %v", tenths(quiet))
}

func tenths(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

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
