// A stage between: each event goes on as it is.
package main

import (
	"context"

	weft "github.com/weft-stream/weft/sdk/go"
)

type pass struct{ emit weft.Emit }

func (p pass) Event(_ context.Context, e *weft.Event) error {
	p.emit(weft.Output{Payload: e.Payload})
	return nil
}

func (p pass) End(context.Context) error { return nil }

func main() {
	weft.Run(func(_ context.Context, emit weft.Emit) (weft.Handler, error) { return pass{emit}, nil })
}
