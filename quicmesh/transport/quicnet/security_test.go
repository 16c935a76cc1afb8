package quicnet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/quicnet"
)

var (
	split = transport.Identity{Namespace: "guest", Pipeline: "words", Stage: "split", Incarnation: 1}
	count = transport.Identity{Namespace: "guest", Pipeline: "words", Stage: "count", Incarnation: 1}
)

// forged is a certificate with any content, signed by a pipeline's true authority: the worst that an
// owner with a bug could issue.
func forged(t *testing.T, ca *identity.CA, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	der, keyDER, err := ca.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	parent, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		t.Fatal(err)
	}
	uri, _ := url.Parse("weft://guest/words/split/0/1")
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		URIs:         []*url.URL{uri},
		DNSNames:     []string{identity.ServerName},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	change(c)
	signed, err := x509.CreateCertificate(rand.Reader, c, parent, key.(*ecdsa.PrivateKey).Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}
}

func named(uris ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.URIs = nil
		for _, s := range uris {
			u, err := url.Parse(s)
			if err != nil {
				panic(err)
			}
			c.URIs = append(c.URIs, u)
		}
	}
}

// badCertificates are those that must be refused by whoever meets them. The good one is the control.
func badCertificates(t *testing.T, ca *identity.CA) map[string]tls.Certificate {
	same := func(*x509.Certificate) {}
	return map[string]tls.Certificate{
		"":                                 forged(t, ca, same),
		"other authority":                  forged(t, newCA(t, "guest", "words"), same),
		"other pipeline's authority":       forged(t, newCA(t, "guest", "other"), named("weft://guest/other/split/0/1")),
		"right authority, other pipeline":  forged(t, ca, named("weft://guest/other/split/0/1")),
		"right authority, other namespace": forged(t, ca, named("weft://other/words/split/0/1")),
		"no name":                          forged(t, ca, named()),
		"two names":                        forged(t, ca, named("weft://guest/words/split/0/1", "weft://guest/words/split/1/1")),
		"name not canonical":               forged(t, ca, named("weft://guest/words/split/00/1")),
		"not a slot's name":                forged(t, ca, named("https://guest/words/split/0/1")),
		"expired": forged(t, ca, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Second)
		}),
		"not valid yet": forged(t, ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }),
		"for another use": forged(t, ca, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		}),
		"none": {},
	}
}

// hostile speaks QUIC to weft's transports without any check of its own.
func hostile(certificate tls.Certificate) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"weft/1"}, ClientAuth: tls.RequestClientCert}
	if len(certificate.Certificate) > 0 {
		c.Certificates = []tls.Certificate{certificate}
	}
	return c
}

// knock dials addr as a hostile peer and gives the error with which the connection ends, or nil when
// it is admitted.
func knock(ctx context.Context, addr string, config *tls.Config) error {
	conn, err := quic.DialAddr(ctx, addr, config, nil)
	if err != nil {
		return err
	}
	defer conn.CloseWithError(0, "")
	_, err = conn.AcceptUniStream(ctx)
	return err
}

func TestAcceptorRefuses(t *testing.T) {
	ca := newCA(t, "guest", "words")
	tr := listen(t, quicnet.Config{}, ca, count)
	defer tr.Close()
	for name, certificate := range badCertificates(t, ca) {
		err := knock(t.Context(), tr.Addr(), hostile(certificate))
		var refused *quic.TransportError
		switch {
		case name == "" && err != nil:
			t.Errorf("a good certificate: %v", err)
		case name != "" && !(errors.As(err, &refused) && refused.Remote && refused.ErrorCode.IsCryptoError()):
			t.Errorf("%s: got %v, want to be refused", name, err)
		}
	}
}

func TestDiallerRefuses(t *testing.T) {
	ca := newCA(t, "guest", "words")
	tr := listen(t, quicnet.Config{}, ca, count)
	defer tr.Close()
	for name, certificate := range badCertificates(t, ca) {
		if name == "none" {
			continue // a TLS server cannot be without
		}
		server, err := quic.ListenAddr("127.0.0.1:0", hostile(certificate), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			conn, err := server.Accept(ctx)
			if err == nil && name == "" {
				s, _ := conn.OpenUniStream()
				s.Close()
			}
		}()
		s, err := tr.Dial(ctx, server.Addr().String(), split)
		switch {
		case name == "" && err != nil:
			t.Errorf("a good certificate: %v", err)
		case name != "" && !errors.Is(err, transport.ErrRefused):
			t.Errorf("%s: got %v, %v, want to refuse", name, s, err)
		}
		cancel()
		server.Close()
	}
}

func TestDialReachesAnotherSlot(t *testing.T) {
	ca := newCA(t, "guest", "words")
	from, to := listen(t, quicnet.Config{}, ca, split), listen(t, quicnet.Config{}, ca, count)
	defer from.Close()
	defer to.Close()
	for name, change := range map[string]func(*transport.Identity){
		"other stage":     func(i *transport.Identity) { i.Stage = "sum" },
		"other index":     func(i *transport.Identity) { i.Index = 1 },
		"old incarnation": func(i *transport.Identity) { i.Incarnation = 0 },
	} {
		want := count
		change(&want)
		if _, err := from.Dial(t.Context(), to.Addr(), want); !errors.Is(err, transport.ErrRefused) {
			t.Errorf("%s: got %v, want to refuse", name, err)
		}
	}
}

func TestAuthorizeRefuses(t *testing.T) {
	ca := newCA(t, "guest", "words")
	to := listen(t, quicnet.Config{Authorize: func(peer transport.Identity) error {
		if peer != split {
			return errors.New("not upstream")
		}
		return nil
	}}, ca, count)
	defer to.Close()
	stranger := split
	stranger.Stage = "stranger"
	for _, self := range []transport.Identity{split, stranger} {
		from := listen(t, quicnet.Config{}, ca, self)
		_, err := from.Dial(t.Context(), to.Addr(), count)
		if allowed := self == split; allowed && err != nil || !allowed && !errors.Is(err, transport.ErrRefused) {
			t.Errorf("%v: %v", self, err)
		}
		from.Close()
	}
}

// tickets counts what a server offers for resumption.
type tickets struct {
	tls.ClientSessionCache
	offered chan struct{}
}

func (c tickets) Put(key string, state *tls.ClientSessionState) {
	if state != nil {
		c.offered <- struct{}{}
	}
	c.ClientSessionCache.Put(key, state)
}

// TestNoResumption has a hostile peer that was admitted by one pipeline try to get into another, and
// into the same one again, by resuming its session.
func TestNoResumption(t *testing.T) {
	ca := newCA(t, "guest", "words")
	first := listen(t, quicnet.Config{}, ca, count)
	defer first.Close()
	otherCount := count
	otherCount.Pipeline = "other"
	second := listen(t, quicnet.Config{}, newCA(t, "guest", "other"), otherCount)
	defer second.Close()

	cache := tickets{tls.NewLRUClientSessionCache(8), make(chan struct{}, 8)}
	config := hostile(forged(t, ca, func(*x509.Certificate) {}))
	config.ClientSessionCache = cache
	config.ServerName = identity.ServerName
	if err := knock(t.Context(), first.Addr(), config); err != nil {
		t.Fatalf("the own pipeline: %v", err)
	}
	if len(cache.offered) != 0 {
		t.Error("the server gave a session ticket")
	}
	if err := knock(t.Context(), second.Addr(), config); err == nil {
		t.Error("the other pipeline admitted a session of the first")
	}
	config.Certificates = nil
	if err := knock(t.Context(), first.Addr(), config); err == nil {
		t.Error("a second session was admitted without a certificate")
	}
}

// TestForeignTicket gives a hostile peer a ticket that the server itself could have made: even then a
// session is not resumed.
func TestForeignTicket(t *testing.T) {
	ca := newCA(t, "guest", "words")
	good := forged(t, ca, func(*x509.Certificate) {})
	issuer, err := quic.ListenAddr("127.0.0.1:0", hostile(good), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer issuer.Close()
	cache := tickets{tls.NewLRUClientSessionCache(8), make(chan struct{}, 8)}
	config := hostile(good)
	config.ClientSessionCache = cache
	config.ServerName = identity.ServerName
	conn, err := quic.DialAddr(t.Context(), issuer.Addr().String(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	<-cache.offered

	tr := listen(t, quicnet.Config{}, ca, count)
	defer tr.Close()
	config.Certificates = nil
	if err := knock(t.Context(), tr.Addr(), config); err == nil {
		t.Error("a ticket took the place of a certificate")
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	ca := newCA(t, "guest", "words")
	good := forged(t, ca, func(*x509.Certificate) {})
	for name, c := range map[string]quicnet.Config{
		"no authority":    {Self: split, Cert: good},
		"no certificate":  {Self: split, CA: ca.Pool()},
		"another's":       {Self: count, CA: ca.Pool(), Cert: good},
		"other authority": {Self: split, CA: newCA(t, "guest", "words").Pool(), Cert: good},
		"expired": {Self: split, CA: ca.Pool(), Cert: good,
			Now: func() time.Time { return time.Now().Add(2 * time.Hour) }},
		"no such address": {Self: split, CA: ca.Pool(), Cert: good, ListenIP: "192.0.2.1"},
	} {
		if tr, err := quicnet.New(c); err == nil {
			t.Errorf("%s: accepted", name)
			tr.Close()
		}
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := quicnet.New(quicnet.Config{Self: split, CA: ca.Pool(), Cert: good, PacketConn: socket})
	if err != nil {
		t.Fatal(err)
	}
	if tr.Addr() != socket.LocalAddr().String() {
		t.Errorf("listens at %s, given %s", tr.Addr(), socket.LocalAddr())
	}
	tr.Close()
}
