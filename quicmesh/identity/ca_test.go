package identity_test

import (
	"bytes"
	"crypto/x509"
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/transport"
)

var id = transport.Identity{Namespace: "guest", Pipeline: "words", Stage: "count", Index: 2, Incarnation: 9}

func newCA(t *testing.T) *identity.CA {
	t.Helper()
	ca, err := identity.NewCA("guest", "words", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestCertificatesVerifyAfterMarshal(t *testing.T) {
	ca := newCA(t)
	cert, key, err := ca.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	restored, err := identity.UnmarshalCA(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	leaf, err := certify(restored, id, now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := identity.Pool(ca.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at time.Duration
		ok bool
	}{{-6 * time.Minute, false}, {-4 * time.Minute, true}, {0, true}, {59 * time.Minute, true}, {61 * time.Minute, false}} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: identity.ServerName, CurrentTime: now.Add(c.at)})
		if (err == nil) != c.ok {
			t.Errorf("%v from the certificate's begin: %v", c.at, err)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: newCA(t).Pool()}); err == nil {
		t.Error("another authority of the same name verifies it")
	}
}

func TestSignRefuses(t *testing.T) {
	ca, now := newCA(t), time.Now()
	for name, change := range map[string]func(*transport.Identity){
		"other pipeline":  func(i *transport.Identity) { i.Pipeline = "other" },
		"other namespace": func(i *transport.Identity) { i.Namespace = "other" },
		"no stage":        func(i *transport.Identity) { i.Stage = "" },
		"negative index":  func(i *transport.Identity) { i.Index = -1 },
	} {
		bad := id
		change(&bad)
		if _, err := certify(ca, bad, now, now.Add(time.Hour)); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(key.Request())
	broken[len(broken)-1] ^= 1 // of the signature: the sender need not have the key
	for name, request := range map[string][]byte{"empty": nil, "broken": broken} {
		if _, err := ca.Sign(request, id, now, now.Add(time.Hour)); err == nil {
			t.Errorf("%s request: signed", name)
		}
	}
}

func TestThingsThatDoNotBelongTogether(t *testing.T) {
	a, b := newCA(t), newCA(t)
	_, keyOfA, err := a.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identity.UnmarshalCA(b.Certificate(), keyOfA); err == nil {
		t.Error("an authority with another's key")
	}
	mine, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	yours, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Sign(yours.Request(), id, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mine.Certificate(der); err == nil {
		t.Error("a certificate for another key")
	}
	if _, err := identity.NewCA("", "p", time.Now()); err == nil {
		t.Error("an authority of no namespace")
	}
}
