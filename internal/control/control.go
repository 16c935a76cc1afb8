// Package control is what proxies, the weft command and the hook say to each other, over the connection of
// internal/wire. The first message of whoever dials is Hello, which carries Version.
package control

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/weft-stream/weft/internal/wire"
)

// Version of the messages. A hook refuses another one with both numbers in the text.
const Version = 1

// MaxMessage bounds JSON part plus blob, in bytes.
const MaxMessage = wire.MaxMessage

// A connection to or from a hook; see internal/wire.
type (
	Conn        = wire.Conn
	Message     = wire.Message
	Answer      = wire.Answer
	Handler     = wire.Handler
	Shared      = wire.Shared
	RemoteError = wire.RemoteError
)

// Errors of a connection; see internal/wire.
var (
	ErrClosed = wire.ErrClosed
	ErrFiles  = wire.ErrFiles
)

// Share makes a body that several connections may send; see wire.Share.
func Share(v any) *Shared { return wire.Share(v) }

// NewConn starts reading from nc; see wire.NewConn.
func NewConn(nc net.Conn, h Handler) *Conn { return wire.NewConn(nc, h) }

// Address splits "unix:PATH" and "tcp:HOST:PORT" into what net.Dial takes.
func Address(s string) (network, address string, err error) {
	network, address, ok := strings.Cut(s, ":")
	if !ok || address == "" || network != "unix" && network != "tcp" {
		return "", "", fmt.Errorf("hook address %q: want unix:PATH or tcp:HOST:PORT", s)
	}
	return network, address, nil
}

// DefaultAddress is where the hook is unless WEFT_HOOK or --hook says otherwise.
const DefaultAddress = "unix:/run/weft/hook.sock"

// Dial connects to a hook at "unix:PATH" or "tcp:HOST:PORT". Hello is the caller's to send.
func Dial(ctx context.Context, addr string, h Handler) (*Conn, error) {
	network, address, err := Address(addr)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("connect to the hook: %w", err)
	}
	return NewConn(nc, h), nil
}
