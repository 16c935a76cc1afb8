package tests

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/weft-stream/weft/internal/control"
)

// direct is a chain of functions in Go, which hold the mesh themselves, with an edge of each carrier.
const direct = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: direct}
spec:
  fuse: never
  vertices:
    - {name: in, source: {stdin: {}, format: ndjson}}
    - {name: a, function: {source: pass.go}}
    - {name: b, function: {source: pass.go}, replicas: {min: 2}}
    - {name: c, function: {source: pass.go}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: a}
    - {from: a, to: b, routing: key, key: n, transport: quic}
    - {from: b, to: c, transport: shm}
    - {from: c, to: out}
`

// TestDirect: functions that hold the mesh in their own processes speak over memory and over QUIC, each link as
// its edge wants, and go on when one of them dies.
func TestDirect(t *testing.T) {
	f := feed(t, direct, nil)
	st := f.running()
	f.flows()
	for _, link := range []struct{ from, carrier string }{{"a[0]", "quic"}, {"b[0]", "shm"}, {"b[1]", "shm"}} {
		f.eventually("a link from "+link.from+" over "+link.carrier, func() bool {
			links := slotOf(t, f.running(), link.from).Links
			for _, l := range links {
				if !l.Up || l.Carrier != link.carrier {
					return false
				}
			}
			return len(links) > 0
		})
	}
	for _, slot := range []string{"a[0]", "b[1]", "c[0]"} {
		kill(t, slotOf(t, st, slot).FuncPID)
		f.explained(slot, "function restarted", "killed")
		f.flows()
	}
	if slices.ContainsFunc(f.running().Slots, func(s control.SlotStatus) bool { return s.Incarnation != 1 }) {
		t.Error("a slot has another holder: a function's death costs no worker")
	}
	f.complete()
}

// readWhere has a function that writes large payloads and one that reads them where they are.
const readWhere = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: inplace}
spec:
  fuse: never
  vertices:
    - {name: in, source: {stdin: {}, format: ndjson}}
    - {name: writer, function: {source: writer.go}}
    - {name: reader, function: {source: reader.go}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: writer}
    - {from: writer, to: reader, transport: shm}
    - {from: reader, to: out}
`

const writerGo = `package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"strconv"

	weft "github.com/weft-stream/weft/sdk/go"
)

type function struct{ emit weft.Emit }

// Event writes {"n":NUMBER,"sum":"…","text":"…"}, 40,000 bytes of it.
func (f function) Event(ctx context.Context, e *weft.Event) error {
	b := weft.Alloc(ctx, 40_000)
	n := string(e.Payload[5 : len(e.Payload)-1])
	text := b[64 : len(b)-2]
	for i := range text {
		text[i] = 'a' + (n[i%len(n)]+byte(i>>8))%26
	}
	head := fmt.Sprintf("{\"n\":%s,\"sum\":\"%08x\",\"text\":\"", n, crc32.ChecksumIEEE(text))
	copy(b, fmt.Sprintf("%-64s", head))
	copy(b[len(b)-2:], "\"}")
	if _, err := strconv.Atoi(n); err != nil {
		return err
	}
	f.emit(weft.Output{Payload: b})
	return nil
}

func (function) End(context.Context) error { return nil }

func main() {
	weft.Run(func(_ context.Context, emit weft.Emit) (weft.Handler, error) { return function{emit}, nil })
}
`

const readerGo = `package main

import (
	"context"
	"fmt"
	"hash/crc32"

	weft "github.com/weft-stream/weft/sdk/go"
)

type function struct{ emit weft.Emit }

func (f function) Event(_ context.Context, e *weft.Event) error {
	var n int
	var sum uint32
	if _, err := fmt.Sscanf(string(e.Payload[:64]), "{\"n\":%d,\"sum\":\"%x\"", &n, &sum); err != nil {
		return err
	}
	if got := crc32.ChecksumIEEE(e.Payload[64 : len(e.Payload)-2]); got != sum || len(e.Payload) != 40_000 {
		return fmt.Errorf("event %d has other bytes than were sent: sum %08x, not %08x", n, got, sum)
	}
	f.emit(weft.Output{Value: map[string]int{"n": n}})
	return nil
}

func (function) End(context.Context) error { return nil }

func main() {
	weft.Run(func(_ context.Context, emit weft.Emit) (weft.Handler, error) { return function{emit}, nil })
}
`

// TestDirectInPlace: functions of one host read large payloads in the memory of whoever wrote them; when one of the two
// dies, no event is lost, or comes with other bytes.
func TestDirectInPlace(t *testing.T) {
	f := feed(t, readWhere, files{"writer.go": writerGo, "reader.go": readerGo})
	f.running()
	for _, slot := range []string{"writer[0]", "reader[0]", ""} {
		f.flows()
		f.eventually("a reader that has the writer's memory", func() bool {
			maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", slotOf(t, f.running(), "reader[0]").FuncPID))
			return err == nil && regexp.MustCompile(`r--s .*weft-arena`).Match(maps)
		})
		if slot != "" {
			kill(t, slotOf(t, f.running(), slot).FuncPID)
			f.explained(slot, "function restarted", "killed")
		}
	}
	for _, s := range f.running().Slots {
		if s.Incarnation != 1 || s.Failed > 0 {
			t.Errorf("%v: incarnation %d, %d events have failed", s.Slot, s.Incarnation, s.Failed)
		}
	}
	f.complete()
}
