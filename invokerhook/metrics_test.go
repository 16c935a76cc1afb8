package invokerhook_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
	"github.com/weft-stream/weft/pipeline"
)

// TestMetrics: what a worker counts is what Prometheus reads, in its format.
func TestMetrics(t *testing.T) {
	s := newSite(t, func(c *invokerhook.Config) { c.Metrics = "127.0.0.1:0" })
	p := s.staff(240_000)
	p["out"].send(control.TypeStats, control.Stats{SlotState: p["out"].state(), In: 3, Out: 2, Failed: 1,
		HopUS: []control.HopBucket{{UpTo: 250, Count: 3}},
		Links: []control.Link{{Edge: 1, To: pipeline.Slot{Stage: `a"b`}, Up: true, Bytes: 70_000, RTTUS: 250, Resent: 4, WaitUS: 1_500_000}}})
	read := func() string {
		r, err := http.Get("http://" + s.hook.MetricsAddr() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
			t.Fatal(err, r.Status, r.Header)
		}
		return string(b)
	}
	const of = `{namespace="guest",pipeline="p"`
	await(t, "the counters are known", func() bool {
		return strings.Contains(read(), "weft_events_in_total"+of+`,stage="out",slot="0"} 3`+"\n")
	})
	text := read()
	for _, want := range []string{
		"# TYPE weft_events_in_total counter\n",
		"weft_pipeline_phase" + of + `,phase="running"} 1`,
		"weft_slot_ready" + of + `,stage="in",slot="0"} 1`,
		"weft_events_failed_total" + of + `,stage="out",slot="0"} 1`,
		"weft_leases" + of + "} 2",
		"weft_restarts_total" + of + `,reason="memory"} 0`,
		"weft_link_bytes_total" + of + `,stage="out",slot="0",to="a\"b[0]",edge="1"} 70000`,
		"weft_link_rtt_seconds" + of + `,stage="out",slot="0",to="a\"b[0]",edge="1"} 0.00025`,
		"weft_hop_seconds" + of + `,quantile="0.99"} 0.00025`,
		"weft_link_wait_seconds_total" + of + `,stage="out",slot="0",to="a\"b[0]",edge="1"} 1.5`,
		"weft_kafka_skipped_total 0",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	line := regexp.MustCompile(`^(# (HELP|TYPE) weft_[a-z_]+ .+|weft_[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)+\})? [0-9.e+-]+)$`)
	for l := range strings.Lines(text) {
		if !line.MatchString(strings.TrimSuffix(l, "\n")) {
			t.Errorf("not in Prometheus' format: %q", l)
		}
	}
	if strings.Contains(text, guestKey) {
		t.Error("the key is in it")
	}
	_ = p["out"].conn.Close() // and it doesn't come back
	await(t, "a restart is counted", func() bool {
		return strings.Contains(read(), "weft_restarts_total"+of+`,reason="hook"} 1`+"\n")
	})
}

// TestFusedMetrics: each stage of a group has its own counters, under the name that the pipeline has for it.
func TestFusedMetrics(t *testing.T) {
	s := newSite(t, func(c *invokerhook.Config) { c.Metrics = "127.0.0.1:0" })
	pl := twoStages(240_000)
	out := pl.Stage("out")
	out.Fused = []pipeline.Stage{{Name: "out"}, {Name: "last"}}
	p := s.staffOf(pl)
	p["out"].send(control.TypeStats, control.Stats{SlotState: p["out"].state(), In: 3, Fused: []control.StageCounts{{Stage: "forged", In: 7, Out: 6, Failed: 1}}})
	const of = `{namespace="guest",pipeline="p",stage="last",slot="0",fused="out"} `
	text := ""
	await(t, "the counters are known", func() bool {
		r, err := http.Get("http://" + s.hook.MetricsAddr() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		text = string(b)
		return err == nil && strings.Contains(text, "weft_events_in_total"+of+"7\n")
	})
	for _, want := range []string{"weft_events_out_total" + of + "6\n", "weft_events_failed_total" + of + "1\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "forged") {
		t.Error("a worker has named a stage")
	}
}
