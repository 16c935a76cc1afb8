package worker

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"

	"github.com/weft-stream/weft/quicmesh/transport"
	"github.com/weft-stream/weft/quicmesh/transport/quicnet"
)

// quicEndpoint is a UDP socket that will speak QUIC.
type quicEndpoint struct{ socket net.PacketConn }

func listenQUIC(ip string) (Endpoint, error) {
	if ip == "" {
		ip = ownIP()
	}
	socket, err := net.ListenPacket("udp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return nil, fmt.Errorf("open the mesh's address: %w", err)
	}
	return quicEndpoint{socket}, nil
}

// ownIP is the address a container has in its network.
func ownIP() string {
	addrs, _ := net.InterfaceAddrs() // none known is as good as none there
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}

func (e quicEndpoint) Addr() string { return e.socket.LocalAddr().String() }
func (e quicEndpoint) Close() error { return e.socket.Close() }

func (e quicEndpoint) Transport(self transport.Identity, cert tls.Certificate, ca *x509.CertPool) (transport.Transport, error) {
	return quicnet.New(quicnet.Config{Self: self, Cert: cert, CA: ca, PacketConn: e.socket})
}
