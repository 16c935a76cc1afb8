package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// carried is a chain whose first edge says what carries it.
const carried = `apiVersion: weft/v1
kind: Pipeline
metadata: {name: carried}
spec:
  vertices:
    - {name: in, source: {generator: {rate: 1000, count: %d, size: 64}}}
    - {name: work, function: {source: work.py}%s}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: work, transport: %s}
    - {from: work, to: out}
`

// over waits until the links from in and from work go over these carriers.
func (r *reading) over(in, work string) (st control.PipelineStatus) {
	r.t.Helper()
	r.eventually("links over "+in+" and "+work, func() bool {
		st, _ = r.status()
		got := map[string]string{}
		for _, s := range st.Slots {
			for _, l := range s.Links {
				if l.Up {
					got[s.Slot.Stage] = l.Carrier
				}
			}
		}
		return got["in"] == in && got["work"] == work
	})
	return st
}

// deploys deploys what the pipeline is to be from now on, and gives what weft says.
func (r *reading) deploys(spec string) string {
	r.t.Helper()
	write(r.t, r.dir, "p.yaml", spec)
	host, key, _ := r.api()
	d := weftIn(r.t, r.dir, "deploy", "p.yaml", "--apihost", host, "--auth", key)
	if code := d.wait(2 * time.Minute); code != 0 {
		r.t.Fatalf("weft deploy: exit code %d\n%s", code, d.stderr)
	}
	return d.stdout.String()
}

// TestLinksMove: a deployment that changes what carries an edge moves the links of the running pipeline, under
// load, and nothing is lost, repeated or comes out of order. A hook that takes over knows of it, and what else
// is changed waits for the next start.
func TestLinksMove(t *testing.T) {
	const count = 30_000
	w := flowing(t, fmt.Sprintf(carried, count, "", "auto"))
	over := func(carrier string) control.PipelineStatus {
		t.Helper()
		return w.over(carrier, "shm")
	}
	deploy := func(transport string) string {
		t.Helper()
		return w.deploys(fmt.Sprintf(carried, count, "", transport))
	}
	over("shm")
	for i, c := range []struct{ transport, carrier string }{{"quic", "quic"}, {"shm", "shm"}, {"quic", "quic"}, {"auto", "shm"}} {
		if said := deploy(c.transport); !strings.Contains(said, "it runs: links in → work go over to transport "+c.transport) {
			t.Errorf("weft deploy says %s", said)
		}
		over(c.carrier)
		if i == 0 {
			kill(t, w.hookPID())
			w.explained("hook took over", "term 2")
			over(c.carrier)
		}
	}
	if said := deploy("auto"); strings.Contains(said, "it runs") {
		t.Errorf("the same again: %s", said)
	}
	w.explained("links move", "", "in → work from quic to auto")
	if said := w.deploys(fmt.Sprintf(carried, count, ", retries: 3", "quic")); !strings.Contains(said, "counts from its next start on, for vertex work has changed") {
		t.Errorf("weft deploy says %s", said)
	}
	last := over("shm")
	if code := w.wait(2 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.exactly(count, last)
	for i, n := range w.numbers {
		if n != i {
			t.Fatalf("event %d came after %d", n, i-1)
		}
	}
	if last.Moves > 0 {
		t.Errorf("%d slots have other containers", last.Moves)
	}
}

// TestMemoryForOneLink: the hook's memory is for one link of a pipeline; the other goes over QUIC, and says why. Another
// worker finds no memory while the one it replaces has it; when that is free, a link moves up.
func TestMemoryForOneLink(t *testing.T) {
	const count = 20_000
	w := flowing(t, fmt.Sprintf(carried, count, "", "auto"), "--ring-memory", "5Mi")
	one := func(incarnation uint64) (st control.PipelineStatus) {
		t.Helper()
		w.eventually("a link over shared memory, and one that has none", func() bool {
			st, _ = w.status()
			var over []string
			for _, s := range st.Slots {
				for _, l := range s.Links {
					if l.Up {
						over = append(over, l.Carrier)
					}
				}
			}
			slices.Sort(over)
			return len(over) == 2 && over[1] == "shm" && strings.HasPrefix(over[0], "quic: the hook has no memory left for it: 1 rings are in use") &&
				slotOf(t, st, "work[0]").Incarnation == incarnation
		})
		return st
	}
	one(1)
	w.must("restart", "carried", "work")
	last := one(2)
	if code := w.wait(2 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.exactly(count, last)
}

// TestMemoryOfALinkThatMoves: the hook's memory is for one link of a pipeline; when that one goes over to QUIC, the other
// has it.
func TestMemoryOfALinkThatMoves(t *testing.T) {
	const count = 20_000
	spec := func(in, out string) string {
		return strings.Replace(fmt.Sprintf(carried, count, "", in), "to: out", "to: out, transport: "+out, 1)
	}
	w := flowing(t, spec("auto", "quic"), "--ring-memory", "5Mi")
	w.over("shm", "quic")
	w.deploys(spec("quic", "auto"))
	last := w.over("quic", "shm")
	if code := w.wait(2 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.exactly(count, last)
}

// handOnGo hands its events on.
const handOnGo = `package main

import (
	"context"

	weft "github.com/weft-stream/weft/sdk/go"
)

type event struct {
	N int ` + "`json:\"n\"`" + `
}

func pass(_ context.Context, e event, emit func(event)) error { emit(e); return nil }

func main() { weft.FlatMap(pass) }
`

// TestLinksOfFunctionsMove: two functions of Go hold their meshes themselves, and the link between them moves all the
// same; so does the one of a worker that has come after that.
func TestLinksOfFunctionsMove(t *testing.T) {
	const count = 30_000
	spec := func(transport string) string {
		return fmt.Sprintf(`apiVersion: weft/v1
kind: Pipeline
metadata: {name: direct}
spec:
  vertices:
    - {name: in, source: {generator: {rate: 1000, count: %d, size: 64}}}
    - {name: a, function: {source: pass.go}}
    - {name: b, function: {source: pass.go}}
    - {name: out, sink: {stdout: {}}}
  edges:
    - {from: in, to: a}
    - {from: a, to: b, transport: %s}
    - {from: b, to: out}
`, count, transport)
	}
	dir := t.TempDir()
	write(t, dir, "pass.go", handOnGo)
	write(t, dir, "p.yaml", spec("auto"))
	w := weftReading(t, dir, "run", "p.yaml")
	over := func(want string) (st control.PipelineStatus) {
		t.Helper()
		w.eventually("a link over "+want, func() bool {
			st, _ = w.status()
			for _, s := range st.Slots {
				for _, l := range s.Links {
					if s.Slot.Stage == "a" && l.Up && l.Carrier == want {
						return true
					}
				}
			}
			return false
		})
		return st
	}
	over("shm")
	for _, c := range []struct{ transport, carrier string }{{"quic", "quic"}, {"shm", "shm"}, {"quic", "quic"}} {
		write(t, dir, "p.yaml", spec(c.transport))
		w.must("deploy", "p.yaml")
		over(c.carrier)
	}
	w.must("restart", "direct", "a")
	last := over("quic")
	write(t, dir, "p.yaml", spec("auto"))
	w.must("deploy", "p.yaml")
	over("shm")
	if code := w.wait(2 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	w.exactly(count, last)
}
