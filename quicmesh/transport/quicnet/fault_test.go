package quicnet_test

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/weft-stream/weft/quicmesh/transport/quicnet"
)

// cable is a network that can be pulled out.
type cable struct {
	simnet.PerfectRouter
	out     atomic.Bool
	packets atomic.Int64
}

func (c *cable) SendPacket(p simnet.Packet) error {
	if c.packets.Add(1)%50 == 0 || c.out.Load() { // a little loss always
		return nil
	}
	return c.PerfectRouter.SendPacket(p)
}

// pair is two transports with a cable between them.
func pair(t *testing.T) (wire *cable, from, to *quicnet.Transport) {
	wire = &cable{}
	network := &simnet.Simnet{Router: wire}
	socket := func(ip string) net.PacketConn {
		return network.NewEndpoint(&net.UDPAddr{IP: net.ParseIP(ip), Port: 9000},
			simnet.NodeBiDiLinkSettings{Latency: 5 * time.Millisecond})
	}
	left, right := socket("10.0.0.1"), socket("10.0.0.2")
	if err := network.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = network.Close() })
	ca := newCA(t, "guest", "words")
	from = listen(t, quicnet.Config{PacketConn: left}, ca, split)
	t.Cleanup(func() { _ = from.Close() })
	to = listen(t, quicnet.Config{PacketConn: right}, ca, count)
	t.Cleanup(func() { _ = to.Close() })
	return wire, from, to
}

// TestSpareConnectionIsClosed: a connection without a link is silent after a while, and the next link has a new one.
func TestSpareConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire, from, to := pair(t)
		for range 2 {
			near, err := from.Dial(t.Context(), to.Addr(), count)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := near.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			near.Close()
			far, err := to.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(far); err != nil || string(got) != "hello" {
				t.Fatalf("%q, %v", got, err)
			}
			far.Close()
			time.Sleep(time.Minute)
			before := wire.packets.Load()
			time.Sleep(10 * time.Minute)
			if n := wire.packets.Load() - before; n != 0 {
				t.Fatalf("%d packets in ten minutes without a link", n)
			}
		}
	})
}

// TestCutIsNoticed runs real QUIC over simulated packets in simulated time.
func TestCutIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire, from, to := pair(t)
		near, err := from.Dial(t.Context(), to.Addr(), count)
		if err != nil {
			t.Fatal(err)
		}
		near.Write([]byte("hello"))
		far, err := to.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		far.Read(make([]byte, 5))
		time.Sleep(10 * time.Minute) // simulated: an idle link is kept
		if _, err := near.Write([]byte("still here")); err != nil {
			t.Fatalf("after idle minutes: %v", err)
		}
		far.Read(make([]byte, 10))

		wire.out.Store(true)
		cut := time.Now()
		if _, err := far.Read(make([]byte, 1)); err == nil {
			t.Error("read over a cut cable")
		}
		if _, err := near.Read(make([]byte, 1)); err == nil {
			t.Error("read over a cut cable")
		}
		if took := time.Since(cut); took > time.Second {
			t.Errorf("the cut was noticed after %v of simulated time", took)
		}
		begin := time.Now()
		if _, err := from.Dial(t.Context(), to.Addr(), count); err == nil {
			t.Error("dial over a cut cable")
		}
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("the dial was given up after %v of simulated time", took)
		}
		wire.out.Store(false)
		if _, err := from.Dial(t.Context(), to.Addr(), count); err != nil {
			t.Errorf("after the cable is back: %v", err)
		}
	})
}
