package main

import (
	"strings"
	"testing"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/pipeline"
)

func TestBar(t *testing.T) {
	for share, want := range map[float64]string{
		-1:   "",
		0:    "[....................]   0 %  ",
		0.5:  "[##########..........]  50 %  ",
		1:    "[####################] 100 %  ",
		17.3: "[####################] 100 %  ", // the file has grown
	} {
		if got := bar(share); got != want {
			t.Errorf("bar(%v) = %q, want %q", share, got, want)
		}
	}
}

func TestSummaryCountsEachEventOncePerStage(t *testing.T) {
	var out strings.Builder
	p := &pipeline.Pipeline{Stages: []pipeline.Stage{
		{Name: "in", Source: &pipeline.Source{}}, {Name: "f", Function: &pipeline.Function{}}, {Name: "out", Sink: &pipeline.Sink{}}}}
	g := newProgress(&out, p, &files{}, false)
	g.summary(control.PipelineStatus{Slots: []control.SlotStatus{
		{Slot: pipeline.Slot{Stage: "in"}, In: 1, Out: 1},
		{Slot: pipeline.Slot{Stage: "f"}, In: 1, Out: 1},
		{Slot: pipeline.Slot{Stage: "out"}, In: 1, Out: 1},
	}})
	if !strings.Contains(out.String(), "1 events from the sources, 3 in all stages") {
		t.Errorf("got %s", out.String())
	}
}
