package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-stream/weft/bench/stage"
)

// QUIC is raw quic-go: one connection and one long-lived stream a link, as Weft has, and nothing else.
func QUIC() stage.Chain {
	return stage.Chain{Peer: "quic", Link: func(int) (stage.Link, error) { return loopbackUDP() }}
}

var quicConfig = &quic.Config{
	InitialStreamReceiveWindow: 4 << 20, MaxStreamReceiveWindow: 16 << 20,
	InitialConnectionReceiveWindow: 8 << 20, MaxConnectionReceiveWindow: 32 << 20,
	KeepAlivePeriod: time.Second, MaxIdleTimeout: 30 * time.Second,
}

const quicProtocol = "weft-bench"

func overQUIC(ctx context.Context, c *stage.Config) (in stage.In, out stage.Out, err error) {
	if c.Index < c.Stages-1 {
		conn, err := quic.DialAddr(ctx, c.OutName(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{quicProtocol}}, quicConfig)
		if err != nil {
			return nil, nil, err
		}
		s, err := conn.OpenStreamSync(ctx)
		if err != nil {
			return nil, nil, err
		}
		if _, err := s.Write([]byte{1}); err != nil { // or the other side would not see it yet
			return nil, nil, err
		}
		out = newBuffered(s)
	}
	if c.In > 0 {
		if in, err = acceptQUIC(ctx, c); err != nil {
			return nil, nil, err
		}
	}
	return in, out, nil
}

func acceptQUIC(ctx context.Context, c *stage.Config) (stage.In, error) {
	pc, err := net.FilePacketConn(c.InFile(0))
	if err != nil {
		return nil, err
	}
	cert, err := selfSigned()
	if err != nil {
		return nil, err
	}
	l, err := quic.Listen(pc, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{quicProtocol}}, quicConfig)
	if err != nil {
		return nil, err
	}
	conn, err := l.Accept(ctx)
	if err != nil {
		return nil, err
	}
	s, err := conn.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.Read(make([]byte, 1)); err != nil {
		return nil, err
	}
	return newFixed(s, c.Plan.Payload), nil
}

// selfSigned makes a certificate that nobody checks: the comparison is of bytes, not of trust.
func selfSigned() (tls.Certificate, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, public, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
