package memnet_test

import (
	"fmt"
	"testing"

	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/memnet"
	"github.com/weft-stream/weft/quicmesh/transport/transporttest"
)

func TestConformance(t *testing.T) {
	for _, seed := range []uint64{0, 1} {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			transporttest.Run(t, func(*testing.T) transporttest.Factory {
				n := memnet.New(memnet.Config{Seed: seed})
				made := 0
				return func(self transport.Identity) transport.Transport {
					made++
					return n.Listen(self, fmt.Sprint("mem-", made))
				}
			})
		})
	}
}
