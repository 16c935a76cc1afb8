// Package compare is the comparison run: the same load through Weft and through what a user would use
// instead, in one run. Every workload is a scenario; they are run one after the other, and all of them
// again, so that a change of the machine touches them alike. A row is a ratio of two scenarios' medians.
package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weft-stream/weft/bench/load"
	"github.com/weft-stream/weft/bench/machine"
)

// Options of a run.
type Options struct {
	Quick   bool
	Repeats int      // of every scenario; 0: 5, or 1 with Quick
	Only    []string // names of rows; none: all
	Weft    string   // the weft command
	Proxy   string   // the actionproxy command
	Dir     string   // for files of the run
	Kafka   string   // a broker, HOST:PORT; "": one of its own
	// APIHost, Auth and Insecure name an OpenWhisk; without, the embedded platform is used.
	APIHost, Auth string
	Insecure      bool
	Progress      func(text string)
}

// Run is everything that was measured.
type Run struct {
	Machine   machine.Facts     `json:"machine"`
	Command   string            `json:"command"`
	Took      float64           `json:"tookSeconds"`
	Repeats   int               `json:"repeats"`
	Quick     bool              `json:"quick"`
	Rows      []Row             `json:"rows"`
	Scenarios []Measured        `json:"scenarios"`
	Missing   map[string]string `json:"missing"` // peers that could not be run, and why
}

// Measured is a scenario with the results of all repeats.
type Measured struct {
	Name    string        `json:"name"`
	What    string        `json:"what"`
	Peer    string        `json:"peer"`
	Stages  int           `json:"stages"`
	Payload int           `json:"payload"`
	Rate    float64       `json:"rate"` // events a second; 0: as fast as it goes
	Results []load.Result `json:"results"`
	Error   string        `json:"error,omitempty"` // of the first repeat that failed
}

// Do runs the comparison.
func Do(ctx context.Context, o Options) (*Run, error) {
	if o.Repeats <= 0 {
		o.Repeats = 5
		if o.Quick {
			o.Repeats = 1
		}
	}
	rows, err := chosen(o.Only)
	if err != nil {
		return nil, err
	}
	r := &Run{Machine: machine.Read(), Repeats: o.Repeats, Quick: o.Quick, Missing: map[string]string{}}
	began := time.Now()
	env := newEnv(ctx, o)
	defer env.close()
	todo := needed(rows, o)
	for range todo {
		r.Scenarios = append(r.Scenarios, Measured{})
	}
	for repeat := range o.Repeats {
		for i, s := range todo {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			o.Progress(fmt.Sprintf("%d/%d  %2d/%d  %s", repeat+1, o.Repeats, i+1, len(todo), s.what))
			m := &r.Scenarios[i]
			m.Name, m.What, m.Peer, m.Stages, m.Payload, m.Rate = s.name, s.what, s.peer, s.stages, s.plan.Payload, s.plan.Rate
			s.measure(ctx, env, m, r.Missing)
		}
	}
	for _, row := range rows {
		r.Rows = append(r.Rows, row.row(r))
	}
	r.Took = time.Since(began).Seconds()
	return r, nil
}

// measure runs the scenario once. One that is missing, or has failed, is not tried again.
func (s scenario) measure(ctx context.Context, env *env, m *Measured, missing map[string]string) {
	if m.Error != "" {
		return
	}
	res, err := s.run(ctx, env, s)
	if err == nil {
		m.Results = append(m.Results, res)
		return
	}
	m.Error = err.Error()
	var gone *missingError
	if errors.As(err, &gone) {
		missing[s.peer] = gone.Error()
	}
}

// missingError says that a peer can't be run here, and why.
type missingError struct{ why error }

func (e *missingError) Error() string { return e.why.Error() }

// needed are the scenarios of the rows, and those of the plots when all rows are wanted.
func needed(rows []rowSpec, o Options) []scenario {
	var out []scenario
	for _, s := range scenarios(o.Quick) {
		wanted := len(o.Only) == 0 && (!s.plot || !o.Quick)
		for _, r := range rows {
			wanted = wanted || r.value.scenario == s.name || r.reference.scenario == s.name
		}
		if wanted {
			out = append(out, s)
		}
	}
	return out
}

func chosen(only []string) ([]rowSpec, error) {
	all := rowSpecs()
	if len(only) == 0 {
		return all, nil
	}
	var out []rowSpec
	for _, name := range only {
		i := slices.IndexFunc(all, func(r rowSpec) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no row %q; rows are %v", name, names(all))
		}
		out = append(out, all[i])
	}
	return out, nil
}

func names(rows []rowSpec) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r.name)
	}
	return out
}

// scenario is a workload on one peer.
type scenario struct {
	name, what, peer string
	stages           int
	plan             load.Plan
	plot             bool // only for a plot
	run              func(ctx context.Context, e *env, s scenario) (load.Result, error)
}

func (r *Run) scenario(name string) *Measured {
	for i := range r.Scenarios {
		if r.Scenarios[i].Name == name {
			return &r.Scenarios[i]
		}
	}
	return nil
}
