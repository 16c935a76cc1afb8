// Package identity proves which slot a peer is: it writes a slot's identity into X.509 certificates
// and reads it back, and has the certificate authority of a pipeline and a worker's key.
//
// Every pipeline has an authority of its own; nothing signs for two. A worker makes its key and a
// request itself, so that no private key travels; the owner of the pipeline signs the identity it has
// given to the worker, whatever the request says.
package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/weft-stream/weft/quicmesh/transport"
)

// ServerName is the DNS name in every slot's certificate. It says nothing: who a slot is stands in the
// URI. It lets crypto/tls do the whole of its ordinary verification.
const ServerName = "slot.weft"

// ErrName is the cause when a certificate or text does not name a slot.
var ErrName = errors.New("identity: not the name of a slot")

// Of gives the slot that a certificate names in its one URI. It does not verify the certificate.
func Of(cert *x509.Certificate) (transport.Identity, error) {
	if len(cert.URIs) != 1 {
		return transport.Identity{}, fmt.Errorf("%w: %d URIs in the certificate, want 1", ErrName, len(cert.URIs))
	}
	return Parse(cert.URIs[0].String())
}

// Parse reads weft://NAMESPACE/PIPELINE/STAGE/INDEX/INCARNATION as URI writes it, and nothing else:
// one identity has one text.
func Parse(s string) (transport.Identity, error) {
	rest, ok := strings.CutPrefix(s, "weft://")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 5 {
		return transport.Identity{}, fmt.Errorf("%w: %q", ErrName, s)
	}
	index, errIndex := strconv.Atoi(parts[3])
	incarnation, errIncarnation := strconv.ParseUint(parts[4], 10, 64)
	id := transport.Identity{
		Namespace:   unescape(parts[0]),
		Pipeline:    unescape(parts[1]),
		Stage:       unescape(parts[2]),
		Index:       index,
		Incarnation: incarnation,
	}
	named := id.Namespace != "" && id.Pipeline != "" && id.Stage != ""
	if errIndex != nil || errIncarnation != nil || !named || index < 0 || uri(id).String() != s {
		return transport.Identity{}, fmt.Errorf("%w: %q", ErrName, s)
	}
	return id, nil
}

// uri is the name of a slot in its certificate.
func uri(id transport.Identity) *url.URL {
	return &url.URL{
		Scheme: "weft",
		Host:   escape(id.Namespace),
		Path: "/" + strings.Join([]string{
			escape(id.Pipeline), escape(id.Stage), strconv.Itoa(id.Index), strconv.FormatUint(id.Incarnation, 10),
		}, "/"),
	}
}

// escape writes all but letters, digits, "-" and "_" as =HH. OpenWhisk's namespaces can be mail
// addresses, and a URI's host cannot hold every percent escape.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// unescape turns escape's output back. What escape does not write comes out as anything: Parse
// compares.
func unescape(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		c, size := s[0], 1
		if c == '=' && len(s) >= 3 {
			if v, err := strconv.ParseUint(s[1:3], 16, 8); err == nil {
				c, size = byte(v), 3
			}
		}
		b.WriteByte(c)
		s = s[size:]
	}
	return b.String()
}
