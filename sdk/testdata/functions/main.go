// Command functions has one function for each thing that the tests look at; its argument says which.
// functions.py has the same in Python.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	weft "github.com/weft-stream/weft/sdk/go"
)

type line struct {
	Line string `json:"line"`
}

type word struct {
	Word string `json:"word"`
}

type object = map[string]json.RawMessage

func main() {
	map[string]func(){
		"echo":     echo,
		"split":    split,
		"count":    func() { weft.Reduce(func() *counter { return &counter{} }) },
		"fail":     fail,
		"printing": printing,
		"die":      die,
		"facts":    func() { weft.Run(newFacts) },
		"null":     func() { weft.Map(func(context.Context, object) (*line, error) { return nil, nil }) },
		"scalar":   func() { weft.Map(func(context.Context, object) (int, error) { return 1, nil }) },
		"badstart": func() {
			weft.Run(func(_ context.Context, emit weft.Emit) (weft.Handler, error) {
				emit(weft.Output{Value: line{}})
				return facts{emit}, nil
			})
		},
		"badend": func() { weft.Reduce(func() badEnd { return badEnd{} }) },
	}[os.Args[1]]()
}

func echo() {
	weft.Map(func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil })
}

func split() {
	weft.FlatMap(func(_ context.Context, in line, emit func(word)) error {
		for _, w := range strings.Fields(in.Line) {
			emit(word{w})
		}
		return nil
	})
}

type counter struct {
	Count int `json:"count"`
}

func (c *counter) Event(context.Context, object) error {
	c.Count++
	return nil
}

func (c *counter) End(_ context.Context, emit func(*counter)) error {
	emit(c)
	return nil
}

func fail() {
	weft.FlatMap(func(_ context.Context, in line, emit func(line)) error {
		emit(in)
		switch in.Line {
		case "error":
			return errors.New("no good")
		case "panic":
			panic("no good")
		}
		return nil
	})
}

func printing() {
	weft.Map(func(_ context.Context, in line) (line, error) {
		fmt.Println("out", in.Line)
		fmt.Fprintln(os.Stderr, "err", in.Line)
		return in, nil
	})
}

func die() {
	weft.Map(func(_ context.Context, in line) (line, error) {
		if in.Line == "die" {
			os.Exit(3)
		}
		return in, nil
	})
}

type badEnd struct{}

func (badEnd) Event(context.Context, object) error   { return nil }
func (badEnd) End(context.Context, func(line)) error { return errors.New("the end is bad") }

// facts answers what it is told of an event, and sends one more output with facts of its own.
type facts struct{ emit weft.Emit }

func newFacts(_ context.Context, emit weft.Emit) (weft.Handler, error) { return facts{emit}, nil }

func (f facts) Event(ctx context.Context, e *weft.Event) error {
	stage := weft.StageOf(ctx)
	var factor int
	stage.Param("factor", &factor)
	headers := map[string]string{}
	for name, value := range weft.EventOf(ctx).Headers() {
		headers[name] = value
	}
	f.emit(weft.Output{Value: map[string]any{
		"id": e.ID(), "key": e.Key(), "headers": headers, "time": e.Time().UnixMicro(),
		"stage": stage.Name, "slot": stage.Slot, "replicas": stage.Replicas, "factor": factor,
	}})
	f.emit(weft.Output{
		Value: map[string]any{}, To: "late", Key: "k2",
		Headers: map[string]string{"traceparent": "00-2"}, Time: time.UnixMicro(7_000_001),
	})
	return nil
}

func (f facts) End(context.Context) error { return nil }
