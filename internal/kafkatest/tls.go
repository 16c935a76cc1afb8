package kafkatest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// TLS is a certificate authority and what it has signed, all PEM.
type TLS struct {
	CA                []byte // the authority's certificate
	Server, ServerKey []byte
	Client, ClientKey []byte
	RequireClient     bool // on the TLS listener
	ServerName        string
	ServerDER         []byte // the server's certificate, for who pins it
}

// NewTLS makes an authority, a server's certificate and a client's. Without hosts the server's has a
// common name only, as those that OpenWhisk's Ansible roles make: name is "openwhisk-kafka" there.
func NewTLS(name string, hosts ...net.IP) (*TLS, error) {
	caKey, err := newKey()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kafkatest authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	t := &TLS{CA: block("CERTIFICATE", caDER), ServerName: name}
	sign := func(serial int64, name string, hosts []net.IP) (cert, key []byte, _ error) {
		k, err := newKey()
		if err != nil {
			return nil, nil, err
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IPAddresses: hosts,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			NotBefore: ca.NotBefore, NotAfter: ca.NotAfter}
		der, err := x509.CreateCertificate(rand.Reader, c, ca, k.Public(), caKey)
		if err != nil {
			return nil, nil, err
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(k)
		return block("CERTIFICATE", der), block("PRIVATE KEY", keyDER), err
	}
	if t.Server, t.ServerKey, err = sign(2, name, hosts); err != nil {
		return nil, err
	}
	if t.Client, t.ClientKey, err = sign(3, "hook", nil); err != nil {
		return nil, err
	}
	b, _ := pem.Decode(t.Server)
	t.ServerDER = b.Bytes
	return t, nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func block(typ string, der []byte) []byte {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: typ, Bytes: der}) // to memory
	return b.Bytes()
}

func (b *Broker) secure(p map[string]string) {
	t := b.cluster.cfg.TLS
	p["ssl.keystore.type"], p["ssl.truststore.type"] = "PEM", "PEM"
	p["ssl.keystore.certificate.chain"] = string(t.Server)
	p["ssl.keystore.key"] = string(t.ServerKey)
	p["ssl.truststore.certificates"] = string(t.CA)
	p["ssl.client.auth"] = "none"
	if t.RequireClient {
		p["listener.name.tls.ssl.client.auth"] = "required"
	}
}
