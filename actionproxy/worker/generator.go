package worker

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/weft-stream/weft/pipeline"
)

// generator is an origin that makes events {"n": number, "data": text}. Numbers, and the rate, are split
// over the source's slots: slot i of r makes i, i+r, i+2r, … An event's data depends on the seed and its
// number alone. The position is how many events this slot has made.
type generator struct {
	config   *pipeline.Generator
	index    int64
	replicas int64
	made     int64

	began time.Time // of the pace; zero before the first event
	first int64     // made then
	buf   []byte
}

func newGenerator(c *pipeline.Generator, index, replicas int, position int64) *generator {
	return &generator{config: c, index: int64(index), replicas: int64(max(replicas, 1)), made: position}
}

func (g *generator) position() int64 { return g.made }
func (g *generator) close()          {}

func (g *generator) next(ctx context.Context, wake <-chan struct{}) (made, error) {
	n := g.index + g.made*g.replicas
	if g.config.Count > 0 && n >= g.config.Count {
		return made{}, errFinished
	}
	if err := g.pace(ctx, wake); err != nil {
		return made{}, err
	}
	m := made{position: g.made, payload: g.event(n)}
	g.made++
	return m, nil
}

// pace waits for the event's time.
func (g *generator) pace(ctx context.Context, wake <-chan struct{}) error {
	if g.began.IsZero() {
		g.began, g.first = time.Now(), g.made
	}
	var wait time.Duration
	if g.config.Rate > 0 {
		due := float64(g.made-g.first) * float64(g.replicas) / g.config.Rate
		wait = time.Until(g.began.Add(time.Duration(due * float64(time.Second))))
	}
	if wait <= 0 {
		select {
		case <-wake:
			return errInterrupted
		default:
			return ctx.Err()
		}
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-wake:
		return errInterrupted
	case <-ctx.Done():
		return ctx.Err()
	}
}

const letters = "abcdefghijklmnopqrstuvwxyz012345"

// event writes event n.
func (g *generator) event(n int64) []byte {
	b := strconv.AppendInt(append(g.buf[:0], `{"n":`...), n, 10)
	b = append(b, `,"data":"`...)
	random := rand.NewPCG(uint64(g.config.Seed), uint64(n))
	for left := g.config.Size; left > 0; {
		bits := random.Uint64()
		for range min(left, 12) {
			b = append(b, letters[bits&31])
			bits >>= 5
		}
		left -= min(left, 12)
	}
	g.buf = append(b, `"}`...)
	return g.buf
}
