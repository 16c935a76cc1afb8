package invokerhook

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-stream/weft/conductor"
	"github.com/weft-stream/weft/internal/control"
)

const metricsTimeout = 10 * time.Second // of a request, and of its answer

// openMetrics answers GET /metrics on Config.Metrics, which shows all namespaces' pipelines to whoever can
// connect to it.
func (h *Hook) openMetrics(ctx context.Context) error {
	if h.cfg.Metrics == "" {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", h.cfg.Metrics)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, h.metrics()) // who asked has gone
	})
	h.metricsAddr = l.Addr().String()
	h.metricsServer = &http.Server{Handler: mux, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout, IdleTimeout: time.Minute}
	h.tasks.Go(func() { _ = h.metricsServer.Serve(l) }) // until it is closed
	return nil
}

// family is a metric of Prometheus' text format, with its series.
type family struct {
	name, kind, help string
	series           []string
}

func (f *family) add(value float64, labels ...string) {
	f.series = append(f.series, fmt.Sprintf("%s%s %s\n", f.name, labelled(labels), strconv.FormatFloat(value, 'g', -1, 64)))
}

// labelled writes names and values by turns as {name="value",…}.
func labelled(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	var out []string
	for i := 0; i < len(labels); i += 2 {
		out = append(out, labels[i]+`="`+escape.Replace(labels[i+1])+`"`)
	}
	return "{" + strings.Join(out, ",") + "}"
}

// metrics is the answer: the hook's own, and of each pipeline what weft status shows.
func (h *Hook) metrics() string {
	var all []*family
	metric := func(name, kind, help string) *family {
		f := &family{name: "weft_" + name, kind: kind, help: help}
		all = append(all, f)
		return f
	}
	m := pipelineMetrics{
		phase:    metric("pipeline_phase", "gauge", "1 for the phase that the pipeline is in."),
		restarts: metric("restarts_total", "counter", "Workers and functions that were replaced after a failure, by its cause."),
		renewals: metric("renewals_total", "counter", "Leases that were renewed."),
		moves:    metric("moves_total", "counter", "Slots that changed their container."),
		leases:   metric("leases", "gauge", "Activations that hold a worker now."),
		barrier:  metric("barrier", "gauge", "Number of the last complete barrier."),
		hops:     metric("hop_seconds", "summary", "From a sender's write to the receiver, since the workers took their slots."),
		ready:    metric("slot_ready", "gauge", "1 if the slot's worker is ready."),
		in:       metric("events_in_total", "counter", "Events that the slot's worker has received."),
		out:      metric("events_out_total", "counter", "Events that it has sent on, or written."),
		failed:   metric("events_failed_total", "counter", "Events that went to the error edge or the dead letters."),
		up:       metric("link_up", "gauge", "1 if the link to the slot is connected."),
		resent:   metric("link_resent_total", "counter", "Events that were sent again on the link."),
		bytes:    metric("link_bytes_total", "counter", "Bytes of the events that were sent on the link, with headers."),
		rtt:      metric("link_rtt_seconds", "gauge", "From the sender to the receiver and back, of links over QUIC."),
		wait:     metric("link_wait_seconds_total", "counter", "Time without credit: the receiver is slower."),
	}
	for _, o := range h.allOwners() {
		m.add(o.status())
	}
	st := h.status()
	metric("invokers", "gauge", "Invokers that give signs of life.").add(float64(st.Invokers))
	metric("ring_memory_bytes", "gauge", "Memory that links between workers of the host, and payloads read in place, have.").add(float64(st.RingMemory))
	metric("ring_memory_limit_bytes", "gauge", "Memory that they may have.").add(float64(st.RingLimit))
	metric("kafka_skipped_total", "counter", "Messages that are not of their topic.").add(float64(st.SkippedKafka))
	metric("kafka_silent_seconds", "gauge", "For how long Kafka has not answered; 0 if it does.").add(float64(st.KafkaSilentMS) / 1000)
	refused := metric("refused_total", "counter", "Callers and leases that were refused.")
	for reason, n := range st.Refused {
		refused.add(float64(n), "reason", reason)
	}
	var b strings.Builder
	for _, f := range all {
		if len(f.series) == 0 {
			continue
		}
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind)
		slices.Sort(f.series)
		for _, s := range f.series {
			b.WriteString(s)
		}
	}
	return b.String()
}

// pipelineMetrics are the families that have series of each pipeline.
type pipelineMetrics struct {
	phase, restarts, renewals, moves, leases, barrier, hops *family
	ready, in, out, failed, up, bytes, rtt, resent, wait    *family
}

func (m *pipelineMetrics) add(st control.PipelineStatus) {
	whole := []string{"namespace", st.Namespace, "pipeline", st.Name}
	with := func(labels ...string) []string { return append(slices.Clone(whole), labels...) }
	m.phase.add(1, with("phase", string(st.Phase))...)
	for _, cause := range conductor.Causes() {
		m.restarts.add(float64(st.RestartsBy[cause]), with("reason", cause)...)
	}
	m.renewals.add(float64(st.Renewals), whole...)
	m.moves.add(float64(st.Moves), whole...)
	m.barrier.add(float64(st.Barrier), whole...)
	if st.HopP50US > 0 {
		m.hops.add(float64(st.HopP50US)/1e6, with("quantile", "0.5")...)
		m.hops.add(float64(st.HopP99US)/1e6, with("quantile", "0.99")...)
	}
	leases := 0
	for _, s := range st.Slots {
		if s.ActivationID != "" {
			leases++
		}
		slot := with("stage", s.Slot.Stage, "slot", strconv.Itoa(s.Slot.Index))
		m.ready.add(oneIf(s.State == "ready"), slot...)
		m.in.add(float64(s.In), slot...)
		m.out.add(float64(s.Out), slot...)
		m.failed.add(float64(s.Failed), slot...)
		for _, f := range s.Fused {
			stage := with("stage", f.Stage, "slot", strconv.Itoa(s.Slot.Index), "fused", s.Slot.Stage)
			m.in.add(float64(f.In), stage...)
			m.out.add(float64(f.Out), stage...)
			m.failed.add(float64(f.Failed), stage...)
		}
		for _, l := range s.Links {
			link := append(slices.Clone(slot), "to", l.To.String(), "edge", strconv.Itoa(int(l.Edge)))
			m.up.add(oneIf(l.Up), link...)
			m.bytes.add(float64(l.Bytes), link...)
			m.resent.add(float64(l.Resent), link...)
			if l.RTTUS > 0 {
				m.rtt.add(float64(l.RTTUS)/1e6, link...)
			}
			m.wait.add(float64(l.WaitUS)/1e6, link...)
		}
	}
	m.leases.add(float64(leases), whole...)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// allOwners lists the pipelines that run here or have ended here lately.
func (h *Hook) allOwners() []*owner {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*owner
	for _, o := range h.owners {
		out = append(out, o)
	}
	return out
}
