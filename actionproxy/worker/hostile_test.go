package worker_test

import (
	"os"
	"strings"
	"testing"

	"github.com/weft-stream/weft/internal/control"
)

// hostile is a function that says it holds the mesh, and does as it likes with its proxy.
func hostile(t *testing.T, how string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a Go program")
	}
	code, err := os.ReadFile("testdata/hostile.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(code), `"HOW"`, `"`+how+`"`, 1)
}

// Whatever a function says of its links, the hook hears of those it has, and nothing of any length.
func TestHostileStats(t *testing.T) {
	h := newTestHook(t, chain(nil))
	h.open = true
	r := start(t, h, hostile(t, "stats"))
	h.heard(control.TypeReady, slotOf("f"))
	var got control.Stats
	h.until("the function's word", func() bool {
		for _, s := range h.said {
			if s.typ == control.TypeStats && s.slot == slotOf("f") && len(s.stats.Links) > 0 {
				got = s.stats
			}
		}
		return len(got.Links) > 0
	})
	if len(got.Links) != 2 { // of two versions, perhaps
		t.Errorf("%d links", len(got.Links))
	}
	for _, l := range got.Links {
		if l.Edge != 1 || l.To != slotOf("out") || l.Events != 5 || len(l.Reason) > 500 || len(l.Carrier) > 500 {
			t.Errorf("link %d to %v, %d events, a reason of %d bytes, a carrier of %d", l.Edge, l.To, l.Events, len(l.Reason), len(l.Carrier))
		}
	}
	if len(got.HopUS) != 1 || got.HopUS[0].Count != 7 {
		t.Errorf("hops %v", got.HopUS)
	}
	r.terminate()
}

// A function that doesn't read what it is told is ended for that. Nobody waits for it meanwhile.
func TestDeafFunction(t *testing.T) {
	h := newTestHook(t, chain(nil))
	h.open = true
	r := start(t, h, hostile(t, "deaf"))
	h.heard(control.TypeReady, slotOf("f"))
	for range 5000 {
		h.tellPeers()
	}
	if got := h.heard(control.TypeRestarted, slotOf("f")).state.Reason; !strings.Contains(got, "it does not read what its proxy tells it") {
		t.Errorf("the reason of the restart is %q", got)
	}
	r.terminate()
}
