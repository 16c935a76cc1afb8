package transporttest

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
)

func testCloseDelivers(t *testing.T, b *bench) {
	near, far := b.pair()
	data := noise(4, 100_000)
	if _, err := near.Write(data); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := near.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	_, err := near.Write([]byte("x"))
	b.wantErr("write after close", err, transport.ErrClosed)
	_, err = near.Read(make([]byte, 1))
	b.wantErr("read after close", err, transport.ErrClosed)
	if err := expect(far, data); err != nil {
		t.Error(err)
	}
	if n, err := far.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the peer's last read: %d, %v, want EOF", n, err)
	}
}

func testCloseEndsPeer(t *testing.T, b *bench) {
	near, far := b.pair()
	failed := make(chan error, 1)
	go func() {
		for {
			if _, err := far.Write(make([]byte, 1000)); err != nil {
				failed <- err
				return
			}
		}
	}()
	if _, err := io.ReadFull(near, make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	near.Close()
	within(b, "the peer's failing write", failed)
}

func testCloseUnblocks(t *testing.T, b *bench) {
	near, _ := b.pair()
	results := make(chan error, 2)
	started := make(chan struct{}, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		results <- err
	}()
	go func() {
		for {
			_, err := near.Write(make([]byte, 1<<20))
			if err != nil {
				results <- err
				return
			}
			select {
			case started <- struct{}{}:
			default:
			}
		}
	}()
	select { // a transport that buffers less has its writer blocked at once
	case <-started:
	case <-time.After(100 * time.Millisecond):
	}
	near.Close()
	for range 2 {
		b.wantErr("blocked when closed", within(b, "unblocking", results), transport.ErrClosed)
	}
}

func testClosedTransport(t *testing.T, b *bench) {
	from, to := b.listen(slot("split", 0)), b.listen(slot("count", 1))
	near := b.dial(from, to, slot("count", 1))
	far := b.accept(to)
	results := make(chan error, 1)
	go func() {
		_, err := far.Read(make([]byte, 1))
		results <- err
	}()
	for range 2 {
		if err := from.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if err := within(b, "the peer's read", results); err == nil {
		t.Error("the peer read something")
	}
	if _, err := far.Write([]byte("x")); err == nil {
		t.Error("the peer's write worked")
	}
	_, err := near.Read(make([]byte, 1))
	b.wantErr("read", err, transport.ErrClosed)
	_, err = near.Write([]byte("x"))
	b.wantErr("write", err, transport.ErrClosed)
	_, err = from.Accept(b.ctx)
	b.wantErr("accept", err, transport.ErrClosed)
	_, err = from.Dial(b.ctx, to.Addr(), slot("count", 1))
	b.wantErr("dial", err, transport.ErrClosed)
}

func testClosingUnblocks(t *testing.T, b *bench) {
	gone := b.listen(slot("gone", 0))
	gone.Close()
	from := b.listen(slot("split", 0))
	ctx, cancel := context.WithCancel(b.ctx)
	canceled := make(chan error, 1)
	go func() {
		_, err := from.Accept(ctx)
		canceled <- err
	}()
	cancel()
	b.wantErr("accept, canceled", within(b, "accept", canceled), context.Canceled)

	results := make(chan error, 2)
	go func() {
		_, err := from.Accept(b.ctx)
		results <- err
	}()
	go func() {
		_, err := from.Dial(b.ctx, gone.Addr(), slot("gone", 0))
		results <- err
	}()
	from.Close()
	for range 2 {
		b.wantErr("blocked when the transport closes", within(b, "unblocking", results), transport.ErrClosed)
	}
}
