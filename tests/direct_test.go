package tests

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weft-stream/weft/internal/control"
)

// direct is a chain of functions that hold the mesh themselves, with an edge of each carrier.
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

// needCore skips a test of functions in Python that hold the mesh where there is no native core.
func needCore(t *testing.T) {
	need(t, "python3", "Python 3.9 or newer")
	need(t, "gcc", "gcc, for the native core")
}

// holdsMesh checks that a slot's function has memory that it shares with another.
func holdsMesh(t *testing.T, st control.PipelineStatus, slot string) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", slotOf(t, st, slot).FuncPID))
	if err != nil || !strings.Contains(string(maps), "weft-ring") {
		t.Errorf("%s is reached through its proxy: %v", slot, err)
	}
}

// TestDirect: functions that hold the mesh in their own processes speak over memory and over QUIC, each link as
// its edge wants, and go on when one of them dies.
func TestDirect(t *testing.T) {
	t.Run("go", func(t *testing.T) { testDirect(t, direct) })
	t.Run("python", func(t *testing.T) {
		needCore(t)
		testDirect(t, strings.ReplaceAll(direct, "pass.go", "pass.py"))
	})
	t.Run("both", func(t *testing.T) {
		needCore(t)
		testDirect(t, strings.Replace(direct, "name: b, function: {source: pass.go}", "name: b, function: {source: pass.py}", 1))
	})
}

func testDirect(t *testing.T, spec string) {
	f := feed(t, spec, nil)
	st := f.running()
	holdsMesh(t, st, "b[0]")
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
	for _, c := range []struct{ writer, reader string }{{"go", "go"}, {"go", "py"}, {"py", "go"}, {"py", "py"}} {
		t.Run(c.writer+" "+c.reader, func(t *testing.T) {
			if c.writer != "go" || c.reader != "go" {
				needCore(t)
			}
			testDirectInPlace(t, strings.NewReplacer("writer.go", "writer."+c.writer, "reader.go", "reader."+c.reader).Replace(readWhere))
		})
	}
}

const writerPython = `import zlib
import weft

def main(event):
    n = str(event["n"]).encode()
    out = weft.alloc(40000)
    text = (n * 40000)[:40000 - 66]
    head = b'{"n":%b,"sum":"%08x","text":"' % (n, zlib.crc32(text))
    out[:64] = head.ljust(64)
    out[64:-2] = text
    out[-2:] = b'"}'
    return out
`

const readerPython = `import json, zlib

def main(event: memoryview):
    told = json.loads(bytes(event[:64]).rstrip() + b'"}')
    got = zlib.crc32(event[64:-2])
    if "%08x" % got != told["sum"] or len(event) != 40000:
        raise ValueError(f"event {told['n']} has other bytes than were sent: {got:08x}, not {told['sum']}")
    return {"n": told["n"]}
`

func testDirectInPlace(t *testing.T, spec string) {
	f := feed(t, spec, files{"writer.go": writerGo, "reader.go": readerGo, "writer.py": writerPython, "reader.py": readerPython})
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
