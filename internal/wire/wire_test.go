package wire_test

import (
	"context"
	"net"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/internal/wire"
)

// pair connects two sides over a Unix socket.
func pair(t *testing.T, a, b wire.Handler) (*wire.Conn, *wire.Conn) {
	t.Helper()
	fa, fb, err := shm.Pair()
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, f := range []*os.File{fa, fb} {
		if conns[i], err = shm.Conn(f); err != nil {
			t.Fatal(err)
		}
	}
	ca, cb := wire.NewConn(conns[0], a), wire.NewConn(conns[1], b)
	t.Cleanup(func() { _ = ca.Close(); _ = cb.Close(); <-ca.Done(); <-cb.Done() })
	return ca, cb
}

func open(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Descriptors of an answer that comes when its call has been given up are closed, whenever that was.
func TestFilesOfLateAnswers(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would close them some time
	file, err := shm.Create("test", 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	none := func(*wire.Message, bool, func(wire.Answer)) {}
	giveUp := make(chan context.CancelFunc, 1)
	answers := 0
	caller, _ := pair(t, none, func(_ *wire.Message, _ bool, reply func(wire.Answer)) {
		reply(wire.Answer{Files: []*os.File{file, file}})
		answers++
		for range answers % 512 * 16 { // at another moment each time
		}
		(<-giveUp)()
	})
	before := open(t)
	for range 40_000 {
		ctx, cancel := context.WithCancel(t.Context())
		giveUp <- cancel
		files, err := caller.CallFiles(ctx, "files", nil, nil)
		if err == nil && len(files) != 2 {
			t.Fatalf("%d files", len(files))
		}
		shm.CloseAll(files)
	}
	giveUp <- func() {}
	// The last answer may be on its way.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := caller.Call(ctx, "files", nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	if after := open(t); after != before {
		t.Errorf("%d descriptors were open before, %d are now", before, after)
	}
}
