package compare

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft-stream/weft/bench/load"
)

// The names are what two runs, and other programs, find a row by.
func TestRowsHaveTheirNames(t *testing.T) {
	want := strings.Fields(`hop-go-shm-64 hop-go-shm-1k hop-go-kafka-64 hop-go-kafka-1k hop-py-kafka hop-fused hop-quic hop-quic-kafka
		depth-17 vs-nats vs-jetstream vs-flink payload-ref-1m payload-ref-64m payload-copy quic-bulk vs-http-64 vs-http-1m
		throughput-kafka throughput-flink throughput-fused wake-free wake-full cpu-saturated cpu-paced idle-50`)
	if got := names(rowSpecs()); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// Every row's scenarios exist, in a quick run too, and no two have one name.
func TestRowsHaveScenarios(t *testing.T) {
	for _, quick := range []bool{true, false} {
		todo, seen := needed(rowSpecs(), Options{Quick: quick}), map[string]bool{}
		for _, s := range todo {
			if seen[s.name] {
				t.Errorf("two scenarios %s", s.name)
			}
			seen[s.name] = true
			if s.peer == "" || s.what == "" || s.run == nil {
				t.Errorf("scenario %s is not whole", s.name)
			}
		}
		for _, r := range rowSpecs() {
			for _, m := range []metric{r.value, r.reference} {
				if m.scenario != "" && !seen[m.scenario] {
					t.Errorf("quick %v: row %s needs %s", quick, r.name, m.scenario)
				}
			}
		}
	}
}

func TestRowIsARatioOfMedians(t *testing.T) {
	results := func(us ...int64) []load.Result {
		var out []load.Result
		for _, v := range us {
			out = append(out, load.Result{Sent: load.Snapshot([]int64{v * 1000})})
		}
		return out
	}
	r := &Run{Scenarios: []Measured{{Name: "a", Stages: 3, Results: results(8, 2000, 12)}, {Name: "b", Stages: 2, Results: results(1, 3, 100)}, {Name: "c", Error: "no Java"}}}
	row := hopRow("x", "", "<=2", "b", "a", "b").row(r)
	if row.Ratio == nil || *row.Ratio < 1.9 || *row.Ratio > 2.1 {
		t.Errorf("%+v", row)
	}
	if row := hopRow("x", "", "<=2", "c", "a", "c").row(r); row.Ratio != nil || row.Met || !strings.Contains(row.Note, "no Java") {
		t.Errorf("a missing reference: %+v", row)
	}
}

func TestAims(t *testing.T) {
	for _, c := range []struct {
		ratio float64
		aim   string
		met   bool
	}{{2, "<=2", true}, {2.01, "<=2", false}, {5, ">=5", true}, {4.9, ">=5", false}, {1, "", false}, {1, "<=x", false}} {
		if within(c.ratio, c.aim) != c.met {
			t.Errorf("%v %s", c.ratio, c.aim)
		}
	}
}

func TestUnknownRow(t *testing.T) {
	if _, err := chosen([]string{"hop"}); err == nil || !strings.Contains(err.Error(), "hop-quic") {
		t.Errorf("%v", err)
	}
}
