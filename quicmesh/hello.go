package quicmesh

import (
	"encoding/json"
	"fmt"

	"github.com/weft-stream/weft/quicmesh/frame"
)

// version of what links speak: frame layout, hello and welcome.
const version = 2

// hello is the payload of a Hello: who opens a link on which edge, to whom.
type hello struct {
	Version int    `json:"version"`
	Edge    uint16 `json:"edge"`
	From    holder `json:"from"`
	To      holder `json:"to"`
	// Joins: the sender's place is one of a version to come, beside that of an older incarnation.
	Joins bool `json:"joins,omitempty"`
	// Life counts the sender's processes within its incarnation, where one goes on with what another has
	// begun: see Config.Progress.
	Life uint64 `json:"life,omitempty"`
}

// holder is a slot and its incarnation.
type holder struct {
	Slot
	Incarnation uint64 `json:"incarnation"`
}

// hail is the payload of a Welcome: the receiver's window, what it has granted and what it has taken, in
// bytes since the link began, and the number up to which frames need not be kept. Received, the point to
// resume from, is the frame's sequence number.
type hail struct {
	Window   uint64 `json:"window"`
	Credit   uint64 `json:"credit"`
	Taken    uint64 `json:"taken"`
	Done     uint64 `json:"done"`
	Received uint64 `json:"-"`
	// Borrows: memory can be lent over this stream. Held are the events up to Received whose payloads it still reads
	// where the sender has written them: all others are released.
	Borrows bool     `json:"borrows,omitempty"`
	Held    []uint64 `json:"held,omitempty"`
}

// parseHello reads the first frame of a dialler.
func parseHello(f frame.Frame) (hello, error) {
	var h hello
	if f.Type != frame.Hello {
		return h, fmt.Errorf("%w: type %d instead of a hello", errFrame, f.Type)
	}
	if err := json.Unmarshal(f.Payload, &h); err != nil {
		return h, fmt.Errorf("read the hello: %w", err)
	}
	return h, nil
}

// appendWelcome encodes the answer to a hello.
func appendWelcome(w hail, edge uint16) ([]byte, error) {
	payload, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	f := frame.Frame{Header: frame.Header{Type: frame.Welcome, Edge: edge, Seq: w.Received}, Payload: payload}
	return f.Append(nil), nil
}
