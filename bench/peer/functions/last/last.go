// The last stage: it tells when the first counted event and the last one came, and at the end what the
// latencies were.
package main

import (
	"bytes"
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

type last struct {
	emit           weft.Emit
	fresh          bool // events have a sum, see first.go
	next           int64
	warmup, events int64
	every          int64 // of so many events one latency is kept
	sent, due      []byte
	began, ended   int64
}

// mark is told while the events flow.
type mark struct {
	Mark string `json:"mark"` // "first" or "last"
	At   int64  `json:"at"`
}

// sum is told at the end: latencies as little-endian numbers of 64 bits, in base64.
type sum struct {
	Began int64  `json:"began"`
	Ended int64  `json:"ended"`
	Sent  string `json:"sent"`
	Due   string `json:"due"`
}

func (h *last) Event(_ context.Context, e *weft.Event) error {
	at := now()
	due, sent, n, err := stamps(e.Payload)
	if err != nil {
		return err
	}
	if n != h.next {
		fmt.Fprintf(os.Stderr, "event %d came, event %d was expected\n", n, h.next)
		os.Exit(3)
	}
	h.next++
	if h.fresh {
		err := check(e.Payload)
		if n == h.warmup+h.events/2 && len(e.Payload) >= 1<<20 && !lent(e.Payload) {
			err = fmt.Errorf("its %d bytes were copied", len(e.Payload))
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "event %d: %v\n", n, err)
			os.Exit(3)
		}
	}
	switch counted := n - h.warmup; {
	case counted < 0 || counted >= h.events:
		return nil
	case counted == 0:
		h.began = at
		h.emit(weft.Output{Value: mark{"first", at}})
	case counted == h.events-1:
		h.ended = at
		h.emit(weft.Output{Value: mark{"last", at}})
	}
	if n%h.every == 0 {
		h.sent = binary.LittleEndian.AppendUint64(h.sent, uint64(at-sent))
		h.due = binary.LittleEndian.AppendUint64(h.due, uint64(at-due))
	}
	return nil
}

func (h *last) End(context.Context) error {
	h.emit(weft.Output{Value: sum{h.began, h.ended, base64.StdEncoding.EncodeToString(h.sent), base64.StdEncoding.EncodeToString(h.due)}})
	return nil
}

// check sums up what the first stage has written; it is no part of the timed span.
func check(b []byte) error {
	const headSize = 128
	sum := bytes.Index(b[:min(len(b), headSize)], []byte(`"s":"`))
	if sum < 0 || len(b) < headSize+2 {
		return fmt.Errorf("%d bytes without a sum", len(b))
	}
	want := string(b[sum+5 : sum+13])
	if got := fmt.Sprintf("%08x", crc32.Checksum(b[headSize:len(b)-2], crc32.MakeTable(crc32.Castagnoli))); got != want {
		return fmt.Errorf("%d bytes have sum %s, not %s", len(b), got, want)
	}
	return nil
}

// lent tells whether b is memory of another process's, which this one has mapped.
func lent(b []byte) bool {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return false
	}
	at := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var may string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &may); err == nil && at >= from && at < to {
			return may == "r--s" && strings.Contains(line, "weft-arena")
		}
	}
	return false
}

// stamps reads those of an event, without a parser: this is the timed span.
func stamps(b []byte) (due, sent, n int64, err error) {
	const head, size = `{"w":"`, 32
	var raw [24]byte
	if len(b) < len(head)+size || string(b[:len(head)]) != head {
		return 0, 0, 0, fmt.Errorf("not an event of the load: %.40q", b)
	}
	if _, err := base64.StdEncoding.Decode(raw[:], b[len(head):len(head)+size]); err != nil {
		return 0, 0, 0, fmt.Errorf("not an event of the load: %.40q: %w", b, err)
	}
	return int64(binary.LittleEndian.Uint64(raw[:])), int64(binary.LittleEndian.Uint64(raw[8:])), int64(binary.LittleEndian.Uint64(raw[16:])), nil
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

func number(name string) int64 {
	n, err := strconv.ParseInt(os.Getenv(name), 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, name, err)
		os.Exit(1)
	}
	return n
}

func main() {
	weft.Run(func(_ context.Context, emit weft.Emit) (weft.Handler, error) {
		return &last{emit: emit, fresh: os.Getenv("FRESH") != "", warmup: number("WARMUP"), events: number("EVENTS"), every: number("EVERY")}, nil
	})
}
