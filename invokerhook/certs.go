package invokerhook

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/identity"
	"github.com/weft-stream/weft/quicmesh/transport"
)

// authority is a pipeline's certificate authority as the secrets keep it.
type authority struct {
	Cert []byte `json:"cert"` // DER
	Key  []byte `json:"key"`  // PKCS #8
}

func newAuthority(namespace, pipeline string, now time.Time) (*identity.CA, []byte, error) {
	ca, err := identity.NewCA(namespace, pipeline, now)
	if err != nil {
		return nil, nil, fmt.Errorf("make the certificate authority of %s/%s: %w", namespace, pipeline, err)
	}
	cert, key, err := ca.Marshal()
	if err != nil {
		return nil, nil, fmt.Errorf("write the certificate authority of %s/%s: %w", namespace, pipeline, err)
	}
	b, err := json.Marshal(authority{cert, key})
	return ca, b, err
}

func loadAuthority(b []byte) (*identity.CA, error) {
	var a authority
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("decode a certificate authority: %w", err)
	}
	return identity.UnmarshalCA(a.Cert, a.Key)
}

// certificate signs the request of the container that has been given the slot.
func (o *owner) certificate(csr []byte, slot pipeline.Slot, incarnation uint64) ([]byte, error) {
	now := o.hook.cfg.Now()
	return o.ca.Sign(csr, transport.Identity{Namespace: o.namespace, Pipeline: o.pipeline, Stage: slot.Stage,
		Index: slot.Index, Incarnation: incarnation}, now, now.Add(o.hook.cfg.CertLifetime))
}

// checkRequest finds out whether a certificate can be made of the request, before a slot is given away.
func checkRequest(csr []byte) error {
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return fmt.Errorf("read the certificate request: %w", err)
	}
	if err := r.CheckSignature(); err != nil {
		return fmt.Errorf("check the certificate request: %w", err)
	}
	return nil
}
