package worker_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weft-stream/weft/actionproxy/worker"
	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/memnet"
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

// silence is a network on which nobody answers.
type silence struct{ memory }

func (n silence) Transport(self transport.Identity, cert tls.Certificate, ca *x509.CertPool) (transport.Transport, error) {
	inner, err := n.memory.Transport(self, cert, ca)
	return silenceTransport{inner, n.addr}, err
}

type silenceTransport struct {
	transport.Transport
	addr string
}

func (n silenceTransport) Dial(_ context.Context, addr string, peer transport.Identity) (transport.Stream, error) {
	if !strings.HasPrefix(addr, "m") || addr == n.addr {
		return nil, fmt.Errorf("%v is not at %s", peer, addr)
	}
	end, _ := net.Pipe()
	return silentStream{end, peer}, nil
}

type silentStream struct {
	net.Conn
	peer transport.Identity
}

func (s silentStream) Peer() transport.Identity { return s.peer }

// A function dials through its proxy the slots that its edges lead to, and has no more streams than their links need.
func TestHostileDials(t *testing.T) {
	network := memnet.New(memnet.Config{})
	var number atomic.Int32
	h := newTestHook(t, chain(nil))
	h.listens = append(h.listens, func() (worker.Endpoint, error) {
		return silence{memory{network, fmt.Sprint("m", number.Add(1))}}, nil
	})
	h.open = true
	r := start(t, h, hostile(t, "dial"))
	h.until("the answers", func() bool { return h.answered("answer to ") >= 206 })
	h.mu.Lock()
	dialled, refused, full := h.answered("{}"), h.answered("no edge leads to"), h.answered("streams already")
	h.mu.Unlock()
	if dialled != 128 || full != 72 || refused != 6 {
		t.Errorf("%d streams, %d refused for their peer, %d for their number", dialled, refused, full)
	}
	r.terminate()
}

// Dead letters that wait until they are written take bounded memory.
func TestHostileLetters(t *testing.T) {
	h := newTestHook(t, chain(nil))
	h.open, h.unread = true, true
	r := start(t, h, hostile(t, "letters"))
	h.until("the refusals", func() bool {
		return h.answered("a dead letter of 8388609 bytes is over 8388608") == 1 && h.answered("more than 16777216 bytes of dead letters wait") == 2
	})
	r.terminate()
}

// answered counts the lines that f's answers have brought. The caller holds mu.
func (h *testHook) answered(words string) (n int) {
	for _, s := range h.said {
		for _, l := range s.log.Lines {
			if strings.Contains(l.Text, words) {
				n++
			}
		}
	}
	return n
}
