package tests

import (
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
