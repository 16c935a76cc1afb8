// Package load is the one load generator and the one clock of every comparison: events that carry when
// they were due, when they were sent and their number, and what the last stage of a chain makes of them.
//
// Latency is given twice. The hop counts from the send of the first stage to the callback of the last,
// divided by the hops between. The whole counts from when the event was due, so that a generator that
// was held up hides nothing (no coordinated omission).
package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// HeaderSize is the bytes of an event that the harness needs: the smallest payload.
const HeaderSize = 24

// Now is the clock of all processes of one machine: CLOCK_MONOTONIC in nanoseconds. It is read as Go reads it: a
// system call each time would cost more than some of what is measured.
func Now() int64 { return zero + int64(time.Since(began)) }

var began, zero = time.Now(), clock()

// clock is what the system's clock showed at began, from the closest of some looks at both.
func clock() (zero int64) {
	best := time.Duration(math.MaxInt64)
	for range 16 {
		var t unix.Timespec
		before := time.Since(began)
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
			panic(fmt.Sprintf("read the monotonic clock: %v", err)) // it has no way to fail
		}
		after := time.Since(began)
		if after-before < best {
			best, zero = after-before, t.Nano()-int64(before+after)/2
		}
	}
	return zero
}

// Stamp writes an event's facts into b, which has at least HeaderSize bytes.
func Stamp(b []byte, due, sent int64, n uint64) {
	binary.LittleEndian.PutUint64(b, uint64(due))
	binary.LittleEndian.PutUint64(b[8:], uint64(sent))
	binary.LittleEndian.PutUint64(b[16:], n)
}

// Read gives what Stamp wrote.
func Read(b []byte) (due, sent int64, n uint64) {
	return int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:])), binary.LittleEndian.Uint64(b[16:])
}

// Plan is what one run sends. Rate 0 is as fast as it goes; then Window bounds the events on their way,
// where a peer has no bound of its own.
type Plan struct {
	Payload int           // bytes, at least HeaderSize
	Rate    float64       // events a second
	Warmup  int           // events that are not counted
	Events  int           // events that are
	Limit   time.Duration // after which a run is given up
	// Fresh events are written anew, each of them, and summed up by whoever takes them. Neither is part of a latency.
	Fresh bool
}

// Generate calls send for each event of the plan at its time. The buffer is the same each time.
func (p Plan) Generate(ctx context.Context, send func(b []byte) error) error {
	b := make([]byte, max(p.Payload, HeaderSize))
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return p.GenerateIn(ctx, func() ([]byte, error) { return b, nil }, send)
}

// GenerateIn is Generate with a buffer of Payload bytes for each event, which memory gives.
func (p Plan) GenerateIn(ctx context.Context, memory func() ([]byte, error), send func(b []byte) error) error {
	began := Now()
	for n := range p.Warmup + p.Events {
		b, err := memory()
		if err != nil {
			return fmt.Errorf("get memory for event %d: %w", n, err)
		}
		if p.Fresh {
			Fill(b, uint64(n))
		}
		due := int64(0)
		if p.Rate > 0 {
			due = began + int64(float64(n)/p.Rate*1e9)
			if wait := due - Now(); wait > 0 {
				time.Sleep(time.Duration(wait))
			}
		}
		if n&0xFF == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		sent := Now()
		if p.Rate == 0 {
			due = sent // as soon as it can be sent
		}
		Stamp(b, due, sent, uint64(n))
		if err := send(b); err != nil {
			return fmt.Errorf("send event %d: %w", n, err)
		}
	}
	return nil
}
