package direct_test

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weft-stream/weft/internal/shm"
	"github.com/weft-stream/weft/internal/wire"
	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/direct"
	"github.com/weft-stream/weft/quicmesh/outlet"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// What a proxy still says when the function closes has no effect: nothing is begun that nobody ends, and no descriptor
// that comes is kept.
func TestMessagesBeforeAndAfterClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	page, file, err := direct.NewPage()
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	defer file.Close()
	self := transport.Identity{Namespace: "guest", Pipeline: "p", Stage: "f", Incarnation: 1}
	begin := direct.Begin{Self: self, Attempt: 1, Edges: []outlet.Edge{{ID: 1, To: "out"}}, Stage: json.RawMessage("{}"),
		Out: []direct.OutEdge{{ID: 1, To: "out", Routing: route.Forward, Replicas: 1}},
		In:  []quicmesh.InEdge{{ID: 0, From: "in", Routing: route.Forward, Replicas: 1}}}
	for range 5 {
		var proxy sync.WaitGroup
		proxy.Go(func() {
			nc, err := listener.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			conn := wire.NewConn(nc, func(_ *wire.Message, _ bool, reply func(wire.Answer)) { reply(wire.Answer{}) })
			_ = conn.SendFiles(direct.TypeBegin, begin, []*os.File{file})
			for i := 0; i < 30 && conn.Err() == nil; i++ {
				proxy.Go(func() { _, _ = conn.Call(t.Context(), direct.TypeLinks, nil, nil, nil) })
				near, far, err := shm.Pair()
				if err != nil {
					t.Error(err)
					break
				}
				_ = conn.SendFiles(direct.TypeStream, direct.Stream{Peer: self}, []*os.File{far})
				_ = far.Close()
				ours, err := shm.Conn(near)
				if err != nil {
					t.Error(err)
					break
				}
				_ = ours.SetReadDeadline(time.Now().Add(30 * time.Second))
				proxy.Go(func() {
					if _, err := ours.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error("the function has kept a stream that came when it closed")
					}
					_ = ours.Close()
				})
			}
			<-conn.Done()
		})
		f, err := direct.Open(path, func() {}, false)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		proxy.Wait()
	}
}
