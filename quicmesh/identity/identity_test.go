package identity_test

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// certify runs a worker's whole way to a certificate.
func certify(ca *identity.CA, id transport.Identity, from, to time.Time) (*x509.Certificate, error) {
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	der, err := ca.Sign(key.Request(), id, from, to)
	if err != nil {
		return nil, err
	}
	cert, err := key.Certificate(der)
	return cert.Leaf, err
}

func TestAnyNameSurvivesACertificate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(
			rapid.StringMatching(`[A-Za-z0-9._@/ =%:-]{1,12}`),
			rapid.StringN(1, 12, 40),
			rapid.SampledFrom([]string{"_", "whisk.system", "anna@example.com", "..", "a..b", "=41", "%2F", "[::1]"}),
		)
		want := transport.Identity{
			Namespace:   name.Draw(t, "namespace"),
			Pipeline:    name.Draw(t, "pipeline"),
			Stage:       name.Draw(t, "stage"),
			Index:       rapid.IntRange(0, 1<<30).Draw(t, "index"),
			Incarnation: rapid.Uint64().Draw(t, "incarnation"),
		}
		now := time.Now()
		ca, err := identity.NewCA(want.Namespace, want.Pipeline, now)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := certify(ca, want, now, now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		got, err := identity.Of(cert)
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestParseTakesOneTextForOneIdentity(t *testing.T) {
	if _, err := identity.Parse("weft://guest/p/s/0/1"); err != nil {
		t.Error(err)
	}
	for _, s := range []string{
		"", "weft://", "weft:////0/0", "http://guest/p/s/0/1", "weft://guest/p/s/0", "weft://guest/p/s/0/1/",
		"weft://guest/p/s/00/1", "weft://guest/p/s/-1/1", "weft://guest/p/s/+1/1", "weft://guest/p/s/0/01",
		"weft://guest/p/s/0/18446744073709551616", "weft://gu=65st/p/s/0/1", "weft://g=2fx/p/s/0/1",
		"weft://guest/p//0/1", "WEFT://guest/p/s/0/1", "weft://guest/p/s%41/0/1", "weft://guest/p/s/0/1?x",
	} {
		if id, err := identity.Parse(s); !errors.Is(err, identity.ErrName) {
			t.Errorf("%q: %v, %v", s, id, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("weft://guest/p/s/0/1")
	f.Add("weft://a=40b/p=2F/=/7/18446744073709551615")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := identity.Parse(s)
		if err == nil && (id.Namespace == "" || id.Pipeline == "" || id.Stage == "" || id.Index < 0) {
			t.Errorf("%q gave %+v", s, id)
		}
	})
}
