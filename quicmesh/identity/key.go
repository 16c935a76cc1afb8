package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Key is a worker's private key. It stays in the process that made it.
type Key struct {
	private *ecdsa.PrivateKey
	request []byte
}

// NewKey makes a key (ECDSA P-256) and the request for its certificate.
func NewKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("identity: make a key: %w", err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, private)
	if err != nil {
		return nil, fmt.Errorf("identity: make a certificate request: %w", err)
	}
	return &Key{private: private, request: request}, nil
}

// Request is what CA.Sign wants: a PKCS #10 request, DER.
func (k *Key) Request() []byte { return k.request }

// Certificate joins the key with the certificate, DER, that was signed for it.
func (k *Key) Certificate(der []byte) (tls.Certificate, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("identity: read the signed certificate: %w", err)
	}
	if !k.private.PublicKey.Equal(leaf.PublicKey) {
		return tls.Certificate{}, errors.New("identity: the signed certificate is for another key")
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k.private, Leaf: leaf}, nil
}

// Pool holds the authority whose certificate, DER, is given, and nothing else.
func Pool(ca []byte) (*x509.CertPool, error) {
	cert, err := x509.ParseCertificate(ca)
	if err != nil {
		return nil, fmt.Errorf("identity: read the authority's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool, nil
}
