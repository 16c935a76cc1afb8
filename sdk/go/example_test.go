package weft_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	weft "github.com/weft-stream/weft/sdk/go"
)

type Order struct {
	Item string  `json:"item"`
	Net  float64 `json:"net"`
}

type Invoice struct {
	Item  string  `json:"item"`
	Gross float64 `json:"gross"`
}

// One event of each; an order without a price goes to the error edge.
func ExampleMap() {
	weft.Map(func(_ context.Context, in Order) (Invoice, error) {
		if in.Net <= 0 {
			return Invoice{}, fmt.Errorf("order of %s has no price", in.Item)
		}
		return Invoice{in.Item, in.Net * 1.19}, nil
	})
}

// Any number of events of each.
func ExampleFlatMap() {
	weft.FlatMap(func(_ context.Context, in Order, emit func(Order)) error {
		for item := range strings.SplitSeq(in.Item, "+") {
			emit(Order{Item: item})
		}
		return nil
	})
}

type total struct{ Invoice }

func (t *total) Event(_ context.Context, in Invoice) error {
	t.Gross += in.Gross
	return nil
}

func (t *total) End(_ context.Context, emit func(Invoice)) error {
	emit(t.Invoice)
	return nil
}

// Many events to one, at the end.
func ExampleReduce() {
	weft.Reduce(func() *total { return &total{Invoice{Item: "total"}} })
}

type router struct {
	emit weft.Emit
	late time.Duration
}

func (r router) Event(_ context.Context, e *weft.Event) error {
	out := weft.Output{Value: e.Payload}
	if time.Since(e.Time()) > r.late {
		out.To = "late"
	}
	r.emit(out)
	return nil
}

func (router) End(context.Context) error { return nil }

// All that is known of an event, and a choice of where it goes.
func ExampleRun() {
	weft.Run(func(ctx context.Context, emit weft.Emit) (weft.Handler, error) {
		var seconds int
		stage := weft.StageOf(ctx)
		if !stage.Param("late", &seconds) {
			return nil, fmt.Errorf("stage %s needs the parameter late, in seconds", stage.Name)
		}
		return router{emit, time.Duration(seconds) * time.Second}, nil
	})
}
