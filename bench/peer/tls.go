package peer

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/weft-stream/weft/bench/stage"
)

// TLS is a chain over TLS 1.3 on loopback connections: what QUIC's bandwidth is compared with.
func TLS() stage.Chain {
	return stage.Chain{Peer: "tls", Link: func(int) (stage.Link, error) { return loopback() }}
}

func overTLS(ctx context.Context, c *stage.Config) (in stage.In, out stage.Out, err error) {
	if c.Index < c.Stages-1 {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}}
		conn, err := d.DialContext(ctx, "tcp4", c.OutName())
		if err != nil {
			return nil, nil, err
		}
		out = newBuffered(conn)
	}
	if c.In > 0 {
		l, err := net.FileListener(c.InFile(0))
		if err != nil {
			return nil, nil, err
		}
		defer l.Close()
		cert, err := selfSigned()
		if err != nil {
			return nil, nil, err
		}
		conn, err := l.Accept()
		if err != nil {
			return nil, nil, err
		}
		server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
		if err := server.HandshakeContext(ctx); err != nil {
			return nil, nil, err
		}
		in = newFixed(server, c.Plan.Payload)
	}
	return in, out, nil
}
