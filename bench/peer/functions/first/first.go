// The first stage: it makes the load's event of each that the generator sends, and stamps it last.
package main

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	weft "github.com/weft-stream/weft/sdk/go"
)

// event is what the chain carries: [due, sent, number], nanoseconds of CLOCK_MONOTONIC, and padding to
// the size that is wanted.
type event struct {
	size  int
	rate  float64
	began int64
	n     int64
	emit  weft.Emit
	buf   []byte
	pad   string
}

func (h *event) Event(context.Context, *weft.Event) error {
	due := now()
	if h.began == 0 {
		h.began = due
	}
	if h.rate > 0 {
		due = h.began + int64(float64(h.n)/h.rate*1e9)
	}
	b := strconv.AppendInt(append(h.buf[:0], `{"w":[`...), due, 10)
	b = strconv.AppendInt(append(b, ','), now(), 10)
	b = strconv.AppendInt(append(b, ','), h.n, 10)
	b = append(b, `],"p":"`...)
	if left := h.size - len(b) - 2; left > 0 {
		b = append(b, h.pad[:left]...)
	}
	h.buf = append(b, `"}`...)
	h.n++
	h.emit(weft.Output{Value: json.RawMessage(h.buf)})
	return nil
}

func (h *event) End(context.Context) error { return nil }

// now is CLOCK_MONOTONIC, the clock of all processes, as Go reads it: a system call each time would cost more
// than what is measured.
func now() int64 { return zero + int64(time.Since(began)) }

var began, zero = time.Now(), clock()

// clock is what the system's clock showed at began, from the closest of some looks at both.
func clock() (zero int64) {
	best := time.Duration(math.MaxInt64)
	for range 16 {
		var t syscall.Timespec
		before := time.Since(began)
		_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&t)), 0)
		after := time.Since(began)
		if after-before < best {
			best, zero = after-before, t.Nano()-int64(before+after)/2
		}
	}
	return zero
}

func main() {
	weft.Run(func(_ context.Context, emit weft.Emit) (weft.Handler, error) {
		size, err := strconv.Atoi(os.Getenv("SIZE"))
		if err != nil {
			return nil, err
		}
		rate, err := strconv.ParseFloat(os.Getenv("RATE"), 64)
		if err != nil {
			return nil, err
		}
		return &event{size: size, rate: rate, emit: emit, pad: strings.Repeat("abcdefghijklmnopqrstuvwxyz", size/26+1)}, nil
	})
}
