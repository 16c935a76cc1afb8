package quicmesh_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/frame"
	"github.com/weft-stream/weft/quicmesh/route"
)

// A receiver that takes nothing for a minute: what it holds stays within its window and one event, senders wait,
// and when it goes on nothing is lost and the senders are no slower than before.
func TestReceiverThatStops(t *testing.T) {
	for _, size := range []int{100, 20 << 10, 100 << 10} { // the window is 64 KiB
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := pair(t, 1)
				g.tune = func(c *quicmesh.Config) { c.Window = 64 << 10 }
				defer g.close()
				g.startAll()
				a, b := g.node("a", 0), g.node("b", 0)
				const most = 3000
				var sent atomic.Int64
				senders := sync.WaitGroup{}
				senders.Go(func() {
					payload := make([]byte, size)
					for i := range most {
						copy(payload, fmt.Sprintf("%08d", i))
						if err := a.Send(t.Context(), 0, &quicmesh.Event{Payload: payload}); err != nil {
							t.Error(err)
							return
						}
						sent.Add(1)
					}
				})
				received := 0
				receive := func(least int) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					for received < least {
						items, err := b.Receive(ctx, nil)
						if err != nil {
							t.Fatalf("after %d events: %v", received, err)
						}
						for i := range items {
							if got := string(items[i].Frame.Payload[:8]); got != fmt.Sprintf("%08d", received) {
								t.Fatalf("event %q instead of %d", got, received)
							}
							items[i].Release()
							received++
						}
					}
				}
				receive(1)
				time.Sleep(time.Minute) // the bubble's
				synctest.Wait()
				held := (int(sent.Load()) - received) * size
				if bound := max(64<<10, size); held == 0 || held > bound {
					t.Errorf("%d bytes were taken while nobody read, want at most %d", held, bound)
				}
				receive(most)
				senders.Wait()
			})
		})
	}
}

// A peer that claims an event of a gigabyte and sends little of it costs little.
func TestHeaderThatClaims(t *testing.T) {
	g := pair(t, 0)
	g.replicas["a"] = 2
	g.edges[0].routing = route.Balance
	g.tune = func(c *quicmesh.Config) { c.MaxPayload = frame.MaxPayload }
	defer g.close()
	b := g.start("b", 0, 1)
	b.Accept()
	self := slotIdentity(quicmesh.Slot{Stage: "a"}, 1)
	d := g.dial(t, self, b)
	defer d.close()
	d.write(helloFrame(helloOf(self, 0, b)), event(1, "first"))
	g.expect(b, "first")
	before := anonymous(t)
	f := event(2, "")
	head := f.Append(nil)
	binary.LittleEndian.PutUint32(head[4:], frame.MaxPayload)
	if _, err := d.Write(append(head, make([]byte, 5<<20)...)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Receive(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("received %v", err)
	}
	if used := anonymous(t) - before; used > 100<<20 {
		t.Errorf("%d MiB for an event of which 5 have come", used>>20)
	}
}

// anonymous is the process's memory in bytes, without files.
func anonymous(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "RssAnon:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
