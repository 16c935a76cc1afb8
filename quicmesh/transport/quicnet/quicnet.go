// Package quicnet is the transport over QUIC, and the only importer of quic-go.
//
// A slot has one UDP socket. Every link to a peer is one long-lived bidirectional stream, on a connection of its own
// as long as there are few: what is large on one link delays what is small on another less, and several cores can work
// at them. A connection is dialled by the side that sends: two slots
// that send to each other have two. Both sides prove their identity with a certificate of their
// pipeline's authority (package identity); nothing else is accepted, and nothing is resumed.
package quicnet

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// protocol is the ALPN name. The number is raised when frames or links change incompatibly.
const protocol = "weft/1"

// Limits of a connection.
const (
	maxLinks        = 64        // streams one peer may have open to us
	mostConns       = 4         // connections that we dial to one peer; further links share them
	streamWindow    = 512 << 10 // bytes, at first
	maxStreamWindow = 6 << 20
	connWindow      = 1 << 20 // bytes, at first
	maxConnWindow   = 16 << 20
)

// Times of a connection. Silence of idleTimeout behind a keep-alive breaks it, or of thrice the time that an answer
// takes if that is longer: a cut link is noticed within 900 ms, and a process that gets no processor for half a second
// is not a dead one. An idle connection says four times a second that it is there, see BenchmarkIdle.
const (
	handshakeTimeout = 2500 * time.Millisecond // without a packet; twice that in all
	keepAlive        = 250 * time.Millisecond
	idleTimeout      = 650 * time.Millisecond
	spareTime        = 5 * time.Second // a connection without a link is kept
)

// Config of a slot's transport.
type Config struct {
	// Self is who this slot is; Cert says the same.
	Self transport.Identity
	// Cert is the slot's certificate and key.
	Cert tls.Certificate
	// CA holds the authority of the slot's pipeline, and only that.
	CA *x509.CertPool
	// PacketConn carries the packets and is closed by the transport. nil: a UDP socket on ListenIP.
	PacketConn net.PacketConn
	// ListenIP is the address to listen on, at any free port, without a PacketConn.
	// Default 127.0.0.1.
	ListenIP string
	// Authorize may refuse a peer of the same pipeline that opens a connection to us. nil: none is.
	// It must not block.
	Authorize func(peer transport.Identity) error
	// Now is the time certificates are checked against. Default time.Now.
	Now func() time.Time
}

// check fills in defaults and finds out whether peers can accept this configuration.
func (c *Config) check() error {
	if c.ListenIP == "" {
		c.ListenIP = "127.0.0.1"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.CA == nil {
		return errors.New("no authority given: without one every certificate of the system's would do")
	}
	if len(c.Cert.Certificate) == 0 {
		return errors.New("no certificate given")
	}
	leaf, err := x509.ParseCertificate(c.Cert.Certificate[0])
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	id, err := identity.Of(leaf)
	if err != nil {
		return err
	}
	if id != c.Self {
		return fmt.Errorf("the certificate is of %v", id)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: c.CA, DNSName: identity.ServerName, CurrentTime: c.Now()})
	if err != nil {
		return fmt.Errorf("verify the own certificate: %w", err)
	}
	return nil
}

// server gives the TLS side of accepting: the peer must be of this pipeline and allowed.
func (c *Config) server() *tls.Config {
	t := c.tls()
	t.ClientAuth = tls.RequireAndVerifyClientCert
	t.ClientCAs = c.CA
	t.VerifyConnection = func(state tls.ConnectionState) error {
		peer, err := c.peer(state)
		if err != nil || c.Authorize == nil {
			return err
		}
		return c.Authorize(peer)
	}
	return t
}

// client gives the TLS side of dialling: the peer must be exactly the wanted one.
func (c *Config) client(want transport.Identity) *tls.Config {
	t := c.tls()
	t.RootCAs = c.CA
	t.ServerName = identity.ServerName
	t.VerifyConnection = func(state tls.ConnectionState) error {
		peer, err := c.peer(state)
		if err == nil && peer != want {
			err = fmt.Errorf("wanted %v, found %v", want, peer)
		}
		return err
	}
	return t
}

func (c *Config) tls() *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{c.Cert},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{protocol},
		SessionTicketsDisabled: true,
		Time:                   c.Now,
	}
}

// peer is the verified other side of a handshake.
func (c *Config) peer(state tls.ConnectionState) (transport.Identity, error) {
	if state.DidResume || len(state.VerifiedChains) == 0 {
		return transport.Identity{}, errors.New("no certificate was verified")
	}
	peer, err := identity.Of(state.PeerCertificates[0])
	if err != nil {
		return transport.Identity{}, err
	}
	if peer.Namespace != c.Self.Namespace || peer.Pipeline != c.Self.Pipeline {
		return transport.Identity{}, fmt.Errorf("%v is not of the pipeline of %v", peer, c.Self)
	}
	return peer, nil
}

// quicConfig is the same for both sides but for the streams the peer may open: a dialler accepts one
// unidirectional stream, by which the acceptor admits it; an acceptor accepts links.
func quicConfig(links, admissions int64) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           handshakeTimeout,
		MaxIdleTimeout:                 idleTimeout,
		KeepAlivePeriod:                keepAlive,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         maxStreamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     maxConnWindow,
		MaxIncomingStreams:             links,
		MaxIncomingUniStreams:          admissions,
	}
}
