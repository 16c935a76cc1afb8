package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-stream/weft/bench/compare"
	"github.com/weft-stream/weft/bench/load"
	"github.com/weft-stream/weft/bench/report"
)

func made() *compare.Run {
	one, two, half := 1.0, 2.0, 0.5
	r := &compare.Run{Command: "weft compare --quick", Repeats: 1, Missing: map[string]string{"flink": "no <java>"}, Rows: []compare.Row{
		{Name: "hop-quic", What: "mesh & QUIC", Value: &one, Unit: "µs", Reference: &two, Of: "quic-go", Ratio: &half, Aim: "<=1.3", Met: true},
		{Name: "vs-flink", What: "3 functions", Aim: "<=0.3", Note: "flink-3-1000: no <java>."},
	}}
	for _, n := range []int{2, 5, 9} {
		r.Scenarios = append(r.Scenarios, compare.Measured{Name: "kafka", What: "Kafka", Peer: "kafka", Stages: n, Payload: 64, Rate: 200,
			Results: []load.Result{{Events: 3, Seconds: 1, Sent: load.Snapshot([]int64{1e6, 2e6, 3e6}), Due: load.Snapshot([]int64{1e6, 2e6, 3e6})}}})
	}
	return r
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := report.Table(&b, made()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"hop-quic  1     2 quic-go  µs    0.5    <=1.3  yes", "vs-flink  –", "missing: flink: no <java>", "vs-flink: flink-3-1000"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestJSONHasRowsAndHistograms(t *testing.T) {
	var b bytes.Buffer
	if err := report.JSON(&b, made()); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rows []struct {
			Name, Unit, Aim         string
			Value, Reference, Ratio *float64
			Met                     bool
		}
		Scenarios []struct {
			Results []struct{ Sent struct{ Counts []int64 } }
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 2 || *got.Rows[0].Ratio != 0.5 || !got.Rows[0].Met || got.Rows[1].Ratio != nil || got.Rows[1].Met {
		t.Errorf("%+v", got.Rows)
	}
	if len(got.Scenarios) != 3 || len(got.Scenarios[0].Results[0].Sent.Counts) == 0 {
		t.Error("no histograms")
	}
}

// TestLinesSayWhatTheyAre: what isn't the same has a name of its own in a plot, and no line has two values at one place.
func TestLinesSayWhatTheyAre(t *testing.T) {
	r := &compare.Run{}
	at := func(name, peer string, stages, payload int, rate float64) {
		r.Scenarios = append(r.Scenarios, compare.Measured{Name: name, Peer: peer, Stages: stages, Payload: payload, Rate: rate,
			Results: []load.Result{{Events: 3, Seconds: 1, Sent: load.Snapshot([]int64{1e6, 2e6, 3e6}), Due: load.Snapshot([]int64{1e6, 2e6, 3e6})}}})
	}
	for _, n := range []int{2, 5, 9} {
		at(fmt.Sprint("weft-", n, "-64"), "weft", n, 64, 200)
	}
	at("weft-quic-9", "weft", 9, 64, 200)
	at("weft-py-9", "weft", 9, 100, 100)
	at("weft-5-1000", "weft", 5, 100, 1000)
	at("weft-fused-5", "weft", 5, 64, 1000)
	at("weft-3-full", "weft", 3, 100, 0)
	at("weft-fused-3-full", "weft", 3, 100, 0)
	at("weft-9-1k", "weft", 9, 1024, 200)
	at("mesh-shm-9", "weft", 9, 64, 200)
	at("mesh-shm-9-4k", "weft", 9, 64, 4000)
	at("mesh-shm-9-4k-still", "weft", 9, 64, 4000)
	at("mesh-shm-2", "weft", 2, 64, 200)
	at("mesh-quic-2", "weft", 2, 64, 200)
	at("futex-9-64", "limits", 9, 64, 200)
	var b bytes.Buffer
	if err := report.HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	figures := strings.Split(b.String(), "<figure>")[1:]
	if len(figures) != 4 {
		t.Fatalf("%d plots", len(figures))
	}
	title := regexp.MustCompile(`<title>([^<:]*): ([^<]*), [^<]*</title>`)
	legend := regexp.MustCompile(`fill="#\w+"/><text[^>]*>([^<]*)</text>`)
	for i, f := range figures {
		places, names := map[string]bool{}, map[string]bool{}
		for _, m := range title.FindAllStringSubmatch(f, -1) {
			if places[m[1]+" at "+m[2]] {
				t.Errorf("plot %d: two values of %s at %s", i, m[1], m[2])
			}
			places[m[1]+" at "+m[2]] = true
		}
		for _, m := range legend.FindAllStringSubmatch(f, -1) {
			if names[m[1]] {
				t.Errorf("plot %d: two lines %q", i, m[1])
			}
			names[m[1]] = true
		}
		if len(names) == 0 || len(places) == 0 {
			t.Errorf("plot %d: %d lines with %d points", i, len(names), len(places))
		}
	}
}

func TestPageIsWhole(t *testing.T) {
	var b bytes.Buffer
	if err := report.HTML(&b, made()); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"<svg", "polyline", "no &lt;java&gt;", "mesh &amp; QUIC", "weft compare --quick"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, other := range []string{"http://", "https://", "<script", "src="} {
		if strings.Contains(page, other) {
			t.Errorf("the page needs something else: %q", other)
		}
	}
}
