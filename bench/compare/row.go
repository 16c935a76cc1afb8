package compare

import (
	"slices"
	"strconv"
	"strings"

	"github.com/weft-stream/weft/bench/load"
)

// Row is one comparison.
type Row struct {
	Name      string   `json:"name"`
	What      string   `json:"what"`
	Value     *float64 `json:"value"`
	Unit      string   `json:"unit"`
	Reference *float64 `json:"reference"`
	Of        string   `json:"of"` // what the reference is
	Ratio     *float64 `json:"ratio"`
	Aim       string   `json:"aim"` // of the ratio, "<=2" or ">=5"
	Met       bool     `json:"met"`
	Note      string   `json:"note,omitempty"`
}

// metric is a figure of a scenario's result.
type metric struct {
	scenario string
	figure   func(m *Measured, r load.Result) float64
}

// rowSpec says how a row comes from scenarios. A row without a reference has its ratio in value.
type rowSpec struct {
	name, what, unit, aim, of string
	value, reference          metric
}

// row makes the row of what was measured.
func (s rowSpec) row(r *Run) Row {
	row := Row{Name: s.name, What: s.what, Unit: s.unit, Aim: s.aim, Of: s.of}
	row.Value, row.Note = s.value.median(r)
	if s.reference.scenario == "" {
		row.Ratio = row.Value
	} else {
		var note string
		row.Reference, note = s.reference.median(r)
		if note != row.Note {
			row.Note = strings.TrimSpace(row.Note + " " + note)
		}
		if row.Value != nil && row.Reference != nil && *row.Reference > 0 {
			ratio := *row.Value / *row.Reference
			row.Ratio = &ratio
		}
	}
	row.Met = row.Ratio != nil && within(*row.Ratio, s.aim)
	return row
}

// median of the metric over all repeats; nil and the reason when there is none.
func (m metric) median(r *Run) (*float64, string) {
	s := r.scenario(m.scenario)
	switch {
	case s == nil:
		return nil, m.scenario + " was not run."
	case s.Error != "":
		return nil, m.scenario + ": " + s.Error + "."
	case len(s.Results) == 0:
		return nil, m.scenario + " has no result."
	}
	var values []float64
	for _, res := range s.Results {
		values = append(values, m.figure(s, res))
	}
	slices.Sort(values)
	v := (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	return &v, ""
}

// within compares a ratio with an aim.
func within(ratio float64, aim string) bool {
	if bound, ok := strings.CutPrefix(aim, "<="); ok {
		limit, err := strconv.ParseFloat(bound, 64)
		return err == nil && ratio <= limit
	}
	bound, ok := strings.CutPrefix(aim, ">=")
	limit, err := strconv.ParseFloat(bound, 64)
	return ok && err == nil && ratio >= limit
}

// The figures.

func hop(m *Measured, r load.Result) float64   { return load.P(r.Sent, 50) / float64(m.Stages-1) / 1e3 }
func whole(_ *Measured, r load.Result) float64 { return load.P(r.Sent, 50) / 1e3 }
func rate(_ *Measured, r load.Result) float64  { return float64(r.Events) / r.Seconds }
func bandwidth(m *Measured, r load.Result) float64 {
	return float64(r.Events) / r.Seconds * float64(m.Payload) / 1e9
}
func cpu(m *Measured, r load.Result) float64 {
	return (r.CPU + r.Server) / float64(r.Events) / float64(m.Stages-1) * 1e6
}

// share is the part of one core that was used.
func share(_ *Measured, r load.Result) float64 { return r.CPU / r.Seconds }
