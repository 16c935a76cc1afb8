package quicnet_test

import (
	"testing"
	"time"

	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/quicnet"
	"github.com/weft-stream/weft/quicmesh/transport/transporttest"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Factory {
		ca := newCA(t, "guest", "words")
		return func(self transport.Identity) transport.Transport {
			return listen(t, quicnet.Config{}, ca, self)
		}
	})
}

func newCA(t testing.TB, namespace, pipeline string) *identity.CA {
	t.Helper()
	ca, err := identity.NewCA(namespace, pipeline, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// listen completes c with a certificate for self and makes the transport.
func listen(t testing.TB, c quicnet.Config, ca *identity.CA, self transport.Identity) *quicnet.Transport {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := ca.Sign(key.Request(), self, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if c.Cert, err = key.Certificate(der); err != nil {
		t.Fatal(err)
	}
	c.Self, c.CA = self, ca.Pool()
	tr, err := quicnet.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}
