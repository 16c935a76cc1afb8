// The first stage: it makes the load's event of each that the generator sends, and stamps it last.
package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
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

func now() int64 {
	var t syscall.Timespec
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
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
