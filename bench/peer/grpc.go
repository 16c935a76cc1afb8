package peer

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/weft-stream/weft/bench/stage"
)

// GRPC is a chain of bidirectional streams, one a link; messages are bytes, without a second encoding.
func GRPC() stage.Chain {
	return stage.Chain{Peer: "grpc", Link: func(int) (stage.Link, error) { return loopback() }}
}

const (
	grpcMethod = "/weft.bench.Chain/Events"
	grpcLimit  = 80 << 20
)

// rawCodec passes bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is no bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is no bytes", v)
	}
	*b = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = rawCodec{}

func overGRPC(ctx context.Context, c *stage.Config) (in stage.In, out stage.Out, err error) {
	if c.Index < c.Stages-1 {
		conn, err := grpc.NewClient(c.OutName(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallSendMsgSize(grpcLimit)))
		if err != nil {
			return nil, nil, err
		}
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, grpcMethod, grpc.WaitForReady(true))
		if err != nil {
			return nil, nil, err
		}
		out = grpcOut{s}
	}
	if c.In > 0 {
		if in, err = serveGRPC(c); err != nil {
			return nil, nil, err
		}
	}
	return in, out, nil
}

type grpcOut struct{ s grpc.ClientStream }

func (o grpcOut) Send(b []byte) error {
	own := append([]byte(nil), b...) // the stream keeps what it is given
	return o.s.SendMsg(&own)
}
func (o grpcOut) Flush() error { return nil }

type grpcIn struct{ s grpc.ServerStream }

func (i grpcIn) Next() ([]byte, error) {
	var b []byte
	err := i.s.RecvMsg(&b)
	return b, err
}
func (i grpcIn) More() bool { return false }

func serveGRPC(c *stage.Config) (stage.In, error) {
	l, err := net.FileListener(c.InFile(0))
	if err != nil {
		return nil, err
	}
	streams := make(chan grpc.ServerStream, 1)
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.MaxRecvMsgSize(grpcLimit))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "weft.bench.Chain", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Events", ClientStreams: true, ServerStreams: true,
			Handler: func(_ any, s grpc.ServerStream) error {
				streams <- s
				<-s.Context().Done()
				return nil
			}}}}, struct{}{})
	go func() { _ = server.Serve(l) }() // ends with the process
	return grpcIn{<-streams}, nil
}
