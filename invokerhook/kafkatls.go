package invokerhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// TLSFiles say how the brokers' certificates are verified, and what this hook shows of itself. Paths are
// of PEM files.
type TLSFiles struct {
	// CA has the authorities that may have signed the brokers' certificates. "": the system's.
	CA string
	// Cert and Key are this hook's own, where the brokers ask for a client's.
	Cert, Key string
	// Name is what the brokers' certificates are for, instead of the address dialled. With it, a certificate
	// that has only a common name, as those that OpenWhisk's roles make ("openwhisk-kafka"), is good too.
	Name string
	// Fingerprints of the brokers' own certificates, SHA-256 in hex. With any, one of them must be shown;
	// who signed it, and for which name, is checked only if CA or Name says so.
	Fingerprints []string
}

// KafkaTLS makes a configuration of TLS files. There is none that verifies nothing.
func KafkaTLS(f TLSFiles) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("read the authorities of Kafka's certificates: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate in PEM: of a Java key store, make one with keytool -exportcert -rfc", f.CA)
		}
	}
	if f.Cert != "" || f.Key != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("read the hook's certificate for Kafka: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	pins, err := readPins(f.Fingerprints)
	if err != nil {
		return nil, err
	}
	if f.Name == "" && len(pins) == 0 {
		return c, nil // Go's own check, of the address dialled
	}
	c.ServerName = f.Name
	v := verifier{roots: c.RootCAs, name: f.Name, pins: pins, chain: f.CA != "" || f.Name != ""}
	c.InsecureSkipVerify, c.VerifyConnection = true, v.verify // v does all of it
	return c, nil
}

func readPins(texts []string) ([][]byte, error) {
	var out [][]byte
	for _, text := range texts {
		pin, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
		if err != nil || len(pin) != sha256.Size {
			return nil, fmt.Errorf("fingerprint %q is not a SHA-256 in hex: openssl x509 -noout -fingerprint -sha256 -in CERT prints it", text)
		}
		out = append(out, pin)
	}
	return out, nil
}

// verifier replaces Go's check, which refuses certificates that have no more than a common name.
type verifier struct {
	roots *x509.CertPool
	name  string
	pins  [][]byte
	chain bool
}

func (v *verifier) verify(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the broker shows no certificate")
	}
	leaf := s.PeerCertificates[0]
	if len(v.pins) > 0 && !v.pinned(leaf) {
		return fmt.Errorf("the broker's certificate (SHA-256 %x) has none of the fingerprints given", sha256.Sum256(leaf.Raw))
	}
	if !v.chain {
		return nil
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: v.roots, Intermediates: between}); err != nil {
		return fmt.Errorf("verify the broker's certificate: %w", err)
	}
	if v.name == "" {
		return nil // pinned, and signed by the authority
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.URIs)+len(leaf.EmailAddresses) > 0 {
		return leaf.VerifyHostname(v.name)
	}
	if !strings.EqualFold(leaf.Subject.CommonName, v.name) {
		return fmt.Errorf("the broker's certificate is for %q, want %q", leaf.Subject.CommonName, v.name)
	}
	return nil
}

func (v *verifier) pinned(leaf *x509.Certificate) bool {
	sum := sha256.Sum256(leaf.Raw)
	for _, pin := range v.pins {
		if subtle.ConstantTimeCompare(pin, sum[:]) == 1 {
			return true
		}
	}
	return false
}
