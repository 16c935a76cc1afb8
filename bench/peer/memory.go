package peer

import (
	"context"

	"github.com/weft-stream/weft/bench/load"
)

// Channel is a chain of goroutines in one process: the floor of stages that share one.
func Channel(ctx context.Context, stages int, p load.Plan) (load.Result, error) {
	links := make([]chan []byte, stages-1)
	for i := range links {
		links[i] = make(chan []byte)
	}
	for i := range len(links) - 1 {
		go func() {
			for b := range links[i] {
				links[i+1] <- b
			}
			close(links[i+1])
		}()
	}
	failed := make(chan error, 1)
	go func() {
		defer close(links[0])
		// The receiver takes an event before the next one is made, at a rate; else each needs its bytes.
		failed <- p.Generate(ctx, func(b []byte) error {
			links[0] <- append([]byte(nil), b...)
			return nil
		})
	}()
	t := load.NewTaken(p)
	for b := range links[len(links)-1] {
		if _, err := t.Take(b); err != nil {
			return load.Result{}, err
		}
	}
	return t.Result(), <-failed
}

// Memcpy copies messages into and out of a buffer, as a copying ring does, without a second process.
func Memcpy(p load.Plan) load.Result {
	const buffers = 16 // the working set of a ring
	ring := make([]byte, buffers*p.Payload)
	in, out := make([]byte, p.Payload), make([]byte, p.Payload)
	began := load.Now()
	for n := range p.Events {
		at := ring[n%buffers*p.Payload:][:p.Payload]
		copy(at, in)
		copy(out, at)
	}
	return load.Result{Events: p.Events, Seconds: float64(load.Now()-began) / 1e9}
}
