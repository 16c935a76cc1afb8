package transporttest

import (
	"context"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
)

func testPeer(t *testing.T, b *bench) {
	near, far := b.pair()
	if near.Peer() != slot("count", 1) {
		t.Errorf("the dialler's peer is %v", near.Peer())
	}
	if far.Peer() != slot("split", 0) {
		t.Errorf("the acceptor's peer is %v", far.Peer())
	}
}

func testWrongIdentity(t *testing.T, b *bench) {
	from, to := b.listen(slot("split", 0)), b.listen(slot("count", 1))
	wrong := []func(*transport.Identity){
		func(i *transport.Identity) { i.Namespace = "other" },
		func(i *transport.Identity) { i.Pipeline = "other" },
		func(i *transport.Identity) { i.Stage = "other" },
		func(i *transport.Identity) { i.Index = 0 },
		func(i *transport.Identity) { i.Incarnation-- },
	}
	for _, change := range wrong {
		want := slot("count", 1)
		change(&want)
		_, err := from.Dial(b.ctx, to.Addr(), want)
		b.wantErr(want.String(), err, transport.ErrRefused)
	}
	b.dial(from, to, slot("count", 1))
	b.accept(to)
}

func testNobodyThere(t *testing.T, b *bench) {
	from, gone := b.listen(slot("split", 0)), b.listen(slot("count", 1))
	gone.Close()
	ctx, cancel := context.WithTimeout(b.ctx, 100*time.Millisecond)
	defer cancel()
	_, err := from.Dial(ctx, gone.Addr(), slot("count", 1))
	b.wantErr("dial", err, context.DeadlineExceeded)
}

// testSameAddressAgain has a dialler whose peer goes away: its next dial must not use what is left of
// the old connection.
func testSameAddressAgain(t *testing.T, b *bench) {
	from, to := b.listen(slot("split", 0)), b.listen(slot("count", 1))
	near := b.dial(from, to, slot("count", 1))
	b.accept(to)
	to.Close()
	if _, err := near.Read(make([]byte, 1)); err == nil {
		t.Error("read from a closed transport worked")
	}
	again := b.listen(slot("count", 1))
	b.dial(from, again, slot("count", 1))
	b.accept(again)
}
