// The first stage: it makes the load's events of those that the generator sends, and stamps them last.
package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
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

// event is what the chain carries: its stamps, which are due, sent and number, nanoseconds of CLOCK_MONOTONIC, and
// padding to the size that is wanted.
type event struct {
	rate   float64
	fresh  int      // bytes of events that are written anew, where the next function reads them; 0: none are
	events [][]byte // those that are made of one of the generator's; their stamps alone change
	began  int64
	n      int64
	emit   weft.Emit
}

func (h *event) Event(ctx context.Context, _ *weft.Event) error {
	if h.fresh > 0 {
		b := weft.Alloc(ctx, h.fresh)
		fill(b, uint64(h.n))
		h.send(b)
		return nil
	}
	for _, b := range h.events {
		h.send(b)
	}
	return nil
}

func (h *event) End(context.Context) error { return nil }

// send stamps an event. One that is due when it can be sent is due then.
func (h *event) send(b []byte) {
	sent := now()
	if h.began == 0 {
		h.began = sent
	}
	due := sent
	if h.rate > 0 {
		due = h.began + int64(float64(h.n)/h.rate*1e9)
	}
	var stamps [24]byte
	binary.LittleEndian.PutUint64(stamps[:], uint64(due))
	binary.LittleEndian.PutUint64(stamps[8:], uint64(sent))
	binary.LittleEndian.PutUint64(stamps[16:], uint64(h.n))
	base64.StdEncoding.Encode(b[len(head):], stamps[:])
	h.n++
	h.emit(weft.Output{Payload: b})
}

// An event begins with head and stampsSize bytes of stamps.
const (
	head       = `{"w":"`
	stampsSize = 32
)

// padded is an event of size bytes, if that is enough.
func padded(size int) []byte {
	b := append([]byte(head), make([]byte, stampsSize)...)
	b = append(b, `","p":"`...)
	for i := 0; len(b)+2 < size; i++ {
		b = append(b, 'a'+byte(i%26))
	}
	return append(b, `"}`...)
}

// A fresh event's text begins in a head of headSize bytes, whose rest is no part of the sum that it has.
const headSize = 128

// fill writes event n anew but for its stamps.
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
	sum := fmt.Sprintf(`","s":"%08x","p":"`, crc32.Checksum(b[headSize:len(b)-2], crc32.MakeTable(crc32.Castagnoli)))
	copy(b, head)
	copy(b[len(head)+stampsSize:headSize], sum+strings.Repeat(".", headSize))
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
		batch, err := strconv.Atoi(os.Getenv("BATCH"))
		if err != nil {
			return nil, err
		}
		rate, err := strconv.ParseFloat(os.Getenv("RATE"), 64)
		if err != nil {
			return nil, err
		}
		h := &event{rate: rate, emit: emit}
		if os.Getenv("FRESH") != "" {
			h.fresh = max(size, headSize+8)
			return h, nil
		}
		for range batch {
			h.events = append(h.events, padded(size))
		}
		return h, nil
	})
}
