package invokerhook_test

import (
	"encoding/binary"
	"net"
	"sync/atomic"
	"testing"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/invokerhook"
)

// endTxn is the Kafka request that commits a transaction.
const endTxn = 26

// losing breaks a connection once it has passed on so many requests of a kind: whether they were carried
// out, who asked never hears.
type losing struct {
	net.Conn
	left *atomic.Int32
}

func (l losing) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	if len(b) >= 6 && binary.BigEndian.Uint16(b[4:]) == endTxn && l.left.Add(-1) >= 0 {
		_ = l.Conn.Close()
	}
	return n, err
}

// TestUnknownOutcome: the answers to commits are lost. The owner writes again with a new producer, keeps its
// pipeline, and what is in the registry is what it last decided.
func TestUnknownOutcome(t *testing.T) { onBoth(t, testUnknownOutcome) }

func testUnknownOutcome(t *testing.T, newSite siteMaker) {
	var left atomic.Int32
	s := newSite(t, func(c *invokerhook.Config) {
		dial := c.Access.Dial
		c.Access.Dial = func(network, address string) (net.Conn, error) {
			conn, err := dial(network, address)
			if err != nil {
				return nil, err
			}
			return losing{conn, &left}, nil
		}
	})
	p := s.staff(60_000)
	left.Store(20) // more than one producer tries
	for range 3 {
		p["in"].send(control.TypeRestarted, p["in"].state())
	}
	s.logged("with a new producer")
	await(t, "all is decided", func() bool { return s.status().Restarts == 3 })
	_ = s.hook.Close()
	s.open()
	for stage, w := range p {
		if r := w.comeBack(s.addr); !r.Keep {
			t.Fatalf("%s was sent away: %s", stage, r.Reason)
		}
	}
	s.until("as decided", func(st control.PipelineStatus) bool {
		return st.Restarts == 3 && st.Term == 2 && st.Phase == control.Running
	})
}
