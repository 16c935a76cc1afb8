package sdk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/weft-stream/weft/quicmesh/frame"
)

func TestAsyncEventsAreInWorkTogether(t *testing.T) {
	p := start(t, languages["python"](t, "gather"))
	p.stream()
	p.send(data(1, `{"n":1}`), data(2, `{"n":2}`), data(3, `{"n":3}`), endOfInput)
	if got := p.until(0); len(got) != 3 {
		t.Fatalf("got %s", got)
	}
	check(t, p.exit())
}

func TestAsyncRollbackCancels(t *testing.T) {
	p := start(t, languages["python"](t, "forever"))
	p.stream()
	p.send(data(1, `{}`))
	p.start(frame.MakeAttempt(1, 1))
	p.send(endOfInput)
	equal(t, p.until(0))
	check(t, p.exit())
}

func TestAsyncGeneratorInOrder(t *testing.T) {
	p := start(t, languages["python"](t, "asplit"))
	p.stream()
	p.send(data(1, `{"line":"a b"}`), data(2, `{"line":7}`), data(3, `{"line":"c"}`), endOfInput)
	got := p.until(0)
	if len(got) != 4 {
		t.Fatalf("got %s", got)
	}
	equal(t, append(got[:2:2], got[3]), `1 {"word":"a"}`, `1 {"word":"b"}`, `3 {"word":"c"}`)
	p.conn.Close()
	if got := p.activate(`{"line":"a b"}`); got != `[{"word":"a"},{"word":"b"}]` {
		t.Fatalf("an activation gives %s", got)
	}
}

func TestAnInstanceIsForgottenToo(t *testing.T) {
	p := start(t, languages["python"](t, "tally"))
	p.stream()
	p.send(data(1, `{}`), data(2, `{}`), endOfInput)
	equal(t, p.until(0), `0 {"count":2}`)
	p.start(frame.MakeAttempt(1, 1))
	p.send(data(1, `{}`), endOfInput)
	equal(t, p.until(0), `0 {"count":1}`)
}

// TestFirstOutputWaitsForNoOther has a second event whose function blocks until the first output is here.
func TestFirstOutputWaitsForNoOther(t *testing.T) {
	for _, name := range []string{"gate", "agate"} {
		t.Run(name, func(t *testing.T) {
			p := start(t, languages["python"](t, name))
			fifo := filepath.Join(t.TempDir(), "gate")
			check(t, syscall.Mkfifo(fifo, 0o600))
			p.stream()
			p.send(data(1, `{}`), data(2, fmt.Sprintf(`{"gate":%q}`, fifo)))
			equal(t, p.until(1), `1 {}`)
			open, err := os.OpenFile(fifo, os.O_WRONLY, 0)
			check(t, err)
			open.Close()
			if got := p.until(2); len(got) != 1 {
				t.Fatalf("got %s", got)
			}
		})
	}
}
