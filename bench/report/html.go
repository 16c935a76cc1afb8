package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/weft-stream/weft/bench/compare"
	"github.com/weft-stream/weft/bench/load"
)

//go:embed report.html
var page string

// HTML writes one page that needs nothing else: style and drawings are in it.
func HTML(w io.Writer, r *compare.Run) error {
	t, err := template.New("report").Funcs(template.FuncMap{"number": Number, "reference": reference}).Parse(page)
	if err != nil {
		return fmt.Errorf("the report's template: %w", err)
	}
	return t.Execute(w, map[string]any{"Run": r, "Plots": plots(r), "Latencies": latencies(r)})
}

// plots are the drawings that have data.
func plots(r *compare.Run) []template.HTML {
	var out []template.HTML
	for _, p := range []plot{
		{Title: "One hop against the length of the chain", X: "processes", Y: "µs a hop, p50", LogY: true, Lines: over(r, isLength, stages, perHop)},
		{Title: "Latency through 5 stages against the load, from when an event was due", X: "events a second", Y: "µs, p99", LogX: true, LogY: true, Lines: over(r, isLoad, rate, whole)},
		{Title: "Throughput through 3 stages against the payload", X: "bytes", Y: "MB a second", LogX: true, LogY: true, Lines: over(r, isFull, payload, megabytes)},
		{Title: "One hop in a chain of 9, 200 events a second, 64 B: the whole distribution", X: "percentile", Y: "µs a hop", LogY: true, Lines: distributions(r)},
	} {
		if len(p.Lines) > 0 {
			out = append(out, p.svg())
		}
	}
	return out
}

const latencyRate = 200

func isLength(m compare.Measured) bool { return m.Rate == latencyRate && m.Payload == 64 }
func isLoad(m compare.Measured) bool   { return m.Stages == 5 && m.Rate > 0 && m.Payload <= 100 }
func isFull(m compare.Measured) bool   { return m.Rate == 0 && m.Stages == 3 }

func stages(m compare.Measured) float64  { return float64(m.Stages) }
func rate(m compare.Measured) float64    { return m.Rate }
func payload(m compare.Measured) float64 { return float64(m.Payload) }

func perHop(m compare.Measured, r load.Result) float64 {
	return load.P(r.Sent, 50) / float64(m.Stages-1) / 1e3
}
func whole(_ compare.Measured, r load.Result) float64 { return load.P(r.Due, 99) / 1e3 }
func megabytes(m compare.Measured, r load.Result) float64 {
	return float64(r.Events) * float64(m.Payload) / r.Seconds / 1e6
}

// over makes a line of each peer: the median of y over all repeats, against x.
func over(r *compare.Run, wanted func(compare.Measured) bool, x func(compare.Measured) float64, y func(compare.Measured, load.Result) float64) []line {
	var lines []line
	for _, m := range r.Scenarios {
		if !wanted(m) || len(m.Results) == 0 {
			continue
		}
		var values []float64
		for _, res := range m.Results {
			values = append(values, y(m, res))
		}
		slices.Sort(values)
		name := series(m)
		i := slices.IndexFunc(lines, func(l line) bool { return l.Name == name })
		if i < 0 {
			i = len(lines)
			lines = append(lines, line{Name: name})
		}
		lines[i].Points = append(lines[i].Points, point{x(m), values[len(values)/2]})
	}
	lines = slices.DeleteFunc(lines, func(l line) bool { return len(l.Points) < 2 && len(lines) > 8 })
	for _, l := range lines {
		slices.SortFunc(l.Points, func(a, b point) int {
			if a.X < b.X {
				return -1
			}
			return 1
		})
	}
	return lines
}

// systems are what lines are of, by how the names of scenarios begin; the first that fits counts.
var systems = []struct{ prefix, name string }{
	{"weft-py", "Weft, Python"}, {"weft-quic", "Weft, Go over QUIC"}, {"weft-fused", "Weft, Go, fused"}, {"weft", "Weft, Go, shared memory"},
	{"mesh-quic", "Weft's mesh over QUIC"}, {"mesh-shm", "Weft's mesh, shared memory"},
	{"kafka-py", "Kafka, Python"}, {"kafka", "Kafka, Go"}, {"nats", "NATS"}, {"jetstream", "JetStream"}, {"grpc", "gRPC"},
	{"flink-3-chained", "Flink, chained"}, {"flink", "Flink, unchained"}, {"http", "HTTP"},
	{"sequence", "OpenWhisk sequence"}, {"conductor", "OpenWhisk composition"},
	{"quic", "raw quic-go"}, {"channel", "goroutine channels"},
}

// series is the name of the line that a scenario is on. Limits of the machine begin with what they are of.
func series(m compare.Measured) string {
	for _, s := range systems {
		if strings.HasPrefix(m.Name, s.prefix) {
			return s.name
		}
	}
	what, _, _ := strings.Cut(m.Name, "-")
	return what
}

// distributions are percentiles of the chains of 9 that are idle most of the time.
func distributions(r *compare.Run) []line {
	var lines []line
	for _, m := range r.Scenarios {
		if m.Stages != 9 || m.Payload > 100 || m.Rate == 0 || m.Rate > latencyRate || len(m.Results) == 0 {
			continue
		}
		l := line{Name: series(m)}
		if m.Rate != latencyRate {
			l.Name += fmt.Sprintf(", %g a second", m.Rate)
		}
		for _, q := range []float64{1, 5, 10, 25, 50, 75, 90, 95, 99} {
			l.Points = append(l.Points, point{q, load.P(m.Results[0].Sent, q) / 8 / 1e3})
		}
		lines = append(lines, l)
	}
	return lines
}

// latencyRow is one scenario with its percentiles in microseconds.
type latencyRow struct {
	Measured                  compare.Measured
	P50, P99, P999, Rate, CPU string
}

func latencies(r *compare.Run) []latencyRow {
	var out []latencyRow
	for _, m := range r.Scenarios {
		row := latencyRow{Measured: m}
		if len(m.Results) > 0 {
			res := m.Results[0]
			show := func(v float64) string { return Number(&v) }
			if res.Sent != nil {
				row.P50, row.P99, row.P999 = show(load.P(res.Sent, 50)/1e3), show(load.P(res.Due, 99)/1e3), show(load.P(res.Due, 99.9)/1e3)
			}
			if res.Seconds > 0 && res.Events > 0 {
				row.Rate = show(float64(res.Events) / res.Seconds)
				row.CPU = show((res.CPU + res.Server) / float64(res.Events) * 1e6)
			}
		}
		out = append(out, row)
	}
	return out
}
