package shmring_test

import (
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/shmring/ringtest"
	"github.com/weft-stream/weft/quicmesh/transport/transporttest"
)

const patience = 30 * time.Second

func TestConformance(t *testing.T) {
	for name, thread := range map[string]bool{"": false, "thread": true} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Factory {
				board := ringtest.NewBoard(t)
				board.Thread = thread
				return func(self transport.Identity) transport.Transport { return board.Listen(self) }
			})
		})
	}
}
