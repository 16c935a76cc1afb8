package quicmesh_test

import (
	"context"
	"fmt"

	"github.com/weft-stream/weft/quicmesh"
	"github.com/weft-stream/weft/quicmesh/route"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/memnet"
)

// Two slots with one edge between them, on a network in memory.
func Example() {
	ctx := context.Background()
	network := memnet.New(memnet.Config{})
	split := transport.Identity{Namespace: "guest", Pipeline: "words", Stage: "split", Incarnation: 1}
	count := transport.Identity{Namespace: "guest", Pipeline: "words", Stage: "count", Incarnation: 1}

	sender, err := quicmesh.New(quicmesh.Config{
		Self: split, Transport: network.Listen(split, "A"),
		Out: []quicmesh.OutEdge{{ID: 0, To: "count", Routing: route.Key, Replicas: 1}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	receiver, err := quicmesh.New(quicmesh.Config{
		Self: count, Transport: network.Listen(count, "B"),
		In: []quicmesh.InEdge{{ID: 0, From: "split", Routing: route.Key, Replicas: 1}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range []*quicmesh.Mesh{sender, receiver} {
		if err := m.Open(ctx); err != nil {
			fmt.Println(err)
			return
		}
		defer m.Close()
	}
	receiver.Accept() // its function is ready
	sender.SetPeers([]quicmesh.Peer{{Stage: "count", Index: 0, Incarnation: 1, Addr: "B"}})

	go func() {
		for _, word := range []string{"warp", "weft"} {
			ev := quicmesh.Event{ID: []byte(word), Key: []byte(word), HasKey: true, Payload: []byte(word)}
			if err := sender.Send(ctx, 0, &ev); err != nil {
				fmt.Println(err)
			}
		}
		if err := sender.End(ctx); err != nil {
			fmt.Println(err)
		}
	}()
	var items []quicmesh.Item
	for {
		if items, err = receiver.Receive(ctx, items); err != nil {
			fmt.Println(err)
			return
		}
		for i := range items {
			if items[i].Kind == quicmesh.KindEnd {
				fmt.Println("end")
				return
			}
			fmt.Printf("%s from %v\n", items[i].Frame.Payload, items[i].From)
			items[i].Release()
		}
	}
	// Output:
	// warp from split[0]
	// weft from split[0]
	// end
}
