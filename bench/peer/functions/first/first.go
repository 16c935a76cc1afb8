// The first stage: it makes the load's event of each that the generator sends, and stamps it last.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
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
	fresh bool // each event is written anew, where the next function reads it
	began int64
	n     int64
	emit  weft.Emit
	buf   []byte
	pad   string
}

func (h *event) Event(ctx context.Context, _ *weft.Event) error {
	var b []byte
	if h.fresh {
		b = weft.Alloc(ctx, h.size)
		fill(b, uint64(h.n))
	}
	due := now()
	if h.began == 0 {
		h.began = due
	}
	if h.rate > 0 {
		due = h.began + int64(float64(h.n)/h.rate*1e9)
	}
	if h.fresh {
		h.stamp(b, due)
		return nil
	}
	b = strconv.AppendInt(append(h.buf[:0], `{"w":[`...), due, 10)
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

// A fresh event's text begins in a head of headSize bytes, whose rest is no part of the sum that it has.
const headSize = 128

// fill writes event n anew but for its head, and its sum where stamp finds it.
func fill(b []byte, n uint64) {
	text := b[headSize : len(b)-2]
	x := n*0x9E3779B97F4A7C15 | 1
	for ; len(text) >= 8; text = text[8:] {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(text, x&0x0F0F0F0F0F0F0F0F|0x4040404040404040) // letters
	}
	for i := range text {
		text[i] = 'z'
	}
	copy(b[len(b)-2:], `"}`)
	copy(b, fmt.Sprintf("%08x", crc32.Checksum(b[headSize:len(b)-2], crc32.MakeTable(crc32.Castagnoli))))
}

// stamp writes the head, and sends the event.
func (h *event) stamp(b []byte, due int64) {
	sum := string(b[:8])
	head := strconv.AppendInt(append(h.buf[:0], `{"w":[`...), due, 10)
	head = strconv.AppendInt(append(head, ','), now(), 10)
	head = strconv.AppendInt(append(head, ','), h.n, 10)
	head = append(append(append(head, `],"s":"`...), sum...), `","p":"`...)
	for len(head) < headSize {
		head = append(head, '.')
	}
	copy(b, head)
	h.buf = head
	h.n++
	h.emit(weft.Output{Payload: b})
}

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
		if os.Getenv("FRESH") != "" {
			return &event{size: max(size, headSize+8), rate: rate, emit: emit, fresh: true}, nil
		}
		return &event{size: size, rate: rate, emit: emit, pad: strings.Repeat("abcdefghijklmnopqrstuvwxyz", size/26+1)}, nil
	})
}
