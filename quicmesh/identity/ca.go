package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// slack is how far certificates reach back, for hosts whose clocks are behind.
const slack = 5 * time.Minute

// caLife is how long an authority is valid: longer than any pipeline runs.
const caLife = 10 * 365 * 24 * time.Hour

// CA is one pipeline's certificate authority. It is not changed after it was made.
type CA struct {
	namespace string
	pipeline  string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

// NewCA makes the authority of a pipeline, valid from now on.
func NewCA(namespace, pipeline string, now time.Time) (*CA, error) {
	if namespace == "" || pipeline == "" {
		return nil, errors.New("identity: make an authority: namespace and pipeline must not be empty")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("identity: make an authority's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "weft authority", Organization: []string{namespace + "/" + pipeline}},
		URIs:                  []*url.URL{{Scheme: "weft", Host: escape(namespace), Path: "/" + escape(pipeline)}},
		NotBefore:             now.Add(-slack),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("identity: sign an authority: %w", err)
	}
	return newCA(der, key)
}

// UnmarshalCA restores an authority from what Marshal gave.
func UnmarshalCA(cert, key []byte) (*CA, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("identity: read an authority's key: %w", err)
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("identity: read an authority's key: it is a %T, want ECDSA", parsed)
	}
	return newCA(cert, private)
}

func newCA(der []byte, key *ecdsa.PrivateKey) (*CA, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("identity: read an authority's certificate: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("identity: read an authority: key and certificate do not belong together")
	}
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != "weft" || !cert.IsCA {
		return nil, errors.New("identity: read an authority: the certificate is not of a pipeline's authority")
	}
	return &CA{
		namespace: unescape(cert.URIs[0].Host),
		pipeline:  unescape(strings.TrimPrefix(cert.URIs[0].Path, "/")),
		cert:      cert,
		key:       key,
	}, nil
}

// Marshal gives the certificate, which is public, and the private key as PKCS #8. The caller encrypts
// the key before it stores it.
func (c *CA) Marshal() (cert, key []byte, err error) {
	key, err = x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return nil, nil, fmt.Errorf("identity: write an authority's key: %w", err)
	}
	return c.cert.Raw, key, nil
}

// Certificate is the authority's own certificate, DER. See Pool.
func (c *CA) Certificate() []byte { return c.cert.Raw }

// Pool holds the authority and nothing else.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// Sign gives the certificate, DER, that the holder of the request's key is the slot id, valid in the
// given time and a few minutes before it. Nothing but the key is taken from the request.
func (c *CA) Sign(request []byte, id transport.Identity, notBefore, notAfter time.Time) ([]byte, error) {
	r, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, fmt.Errorf("identity: read the request for %v: %w", id, err)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("identity: check the request for %v: %w", id, err)
	}
	if id.Namespace != c.namespace || id.Pipeline != c.pipeline {
		return nil, fmt.Errorf("identity: sign %v: it is not of pipeline %s/%s", id, c.namespace, c.pipeline)
	}
	if _, err := Parse(uri(id).String()); err != nil {
		return nil, fmt.Errorf("identity: sign %v: %w", id, err)
	}
	return c.issue(r.PublicKey, id, notBefore, notAfter)
}

func (c *CA) issue(public crypto.PublicKey, id transport.Identity, notBefore, notAfter time.Time) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: serial(),
		URIs:         []*url.URL{uri(id)},
		DNSNames:     []string{ServerName},
		NotBefore:    notBefore.Add(-slack),
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, public, c.key)
	if err != nil {
		return nil, fmt.Errorf("identity: sign %v: %w", id, err)
	}
	return der, nil
}

// serial is a random 127-bit number.
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // does not fail
	b[0] &= 0x7F
	return new(big.Int).SetBytes(b)
}
