// Package frame is the one binary format that events and control messages have on every segment of
// their way: between a function process and its proxy, and between proxies over any transport.
//
// A frame is a fixed little-endian header followed by id, key, headers and payload. Nobody on the way
// parses, re-encodes or changes a payload. FRAME.md beside this file is the specification; the golden
// frames in testdata are read by every SDK.
//
//	off size field
//	  0    1 type
//	  1    1 flags
//	  2    2 edge        number of the edge in the pipeline; AllEdges between function and proxy
//	  4    4 length      bytes after the header: id + key + headers + payload
//	  8    8 attempt     term<<32 | n
//	 16    8 seq         per link, from 1; between function and proxy the event's ordinal
//	 24    8 keyHash     seeded xxh3 of the key, 0 without a key
//	 32    8 eventTime   microseconds since the epoch, UTC; 0 when unknown
//	 40    8 sent        microseconds since the epoch when the sender wrote it; 0 when not stamped
//	 48    2 idLen
//	 50    2 keyLen
//	 52    4 headersLen
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// HeaderSize is the length of the fixed header in bytes.
const HeaderSize = 56

// Bounds of a frame, in bytes.
const (
	// MaxPayload bounds a payload. What an edge takes is its own to say, and usually less.
	MaxPayload = 1 << 30
	// MaxBody bounds what follows the header: the largest payload, and room for id, key and headers.
	MaxBody = MaxPayload + 1<<20
)

// ahead is for how much of a frame a reader makes room at once.
const ahead = 2 << 20

// Room is the size of the buffer for a frame of size bytes when have of them fill the one before it: of a
// large frame at most twice that, since a header may claim what never comes.
func Room(size, have int) int { return min(size, max(2*have, ahead)) }

// AllEdges is the edge number of an output that goes to every edge of its stage.
const AllEdges = 0xFFFF

// Type tells what a frame is.
type Type uint8

// The types. Those up to Release travel on links; those from Start on between a function and its proxy,
// which also use Data, Error and End.
const (
	Data    Type = 1  // an event
	Barrier Type = 2  // cuts the stream; payload: number, 8 bytes
	End     Type = 3  // no more events in this attempt
	Ack     Type = 4  // seq: up to it, without a gap, the receiver needs nothing again
	Credit  Type = 5  // seq: bytes granted since the link began
	Hello   Type = 6  // first frame of a dialler; payload: JSON
	Welcome Type = 7  // its answer; seq: the highest sequence number received; payload: JSON
	Bye     Type = 8  // refusal or orderly close; payload: a reason, text
	Mapped  Type = 9  // seq: number of a file of lent memory that can be referred to from now on
	Release Type = 10 // payload: sequence numbers of events whose payloads were read, 8 bytes each
	Start   Type = 16 // proxy to function: what it is part of; payload: JSON
	Ready   Type = 17 // function to proxy: initialised
	Done    Type = 18 // function to proxy: the event with this ordinal is finished, its outputs precede
	Error   Type = 19 // function to proxy: the event failed; payload: JSON {"error": …}
	Failed  Type = 20 // function to proxy: an event between two fused stages failed; key: JSON {"error": …}
	At      Type = 21 // function to proxy: a fused stage gets the event with this id
)

// Flags of a frame.
const (
	// Cumulative on Done: all ordinals up to seq are finished.
	Cumulative uint8 = 1 << 0
	// Bypass on Data, on links: no function sees this event, each stage passes it on.
	Bypass uint8 = 1 << 1
	// Refers on Data, on links: the payload says where the event's own lies, in memory that its sender has lent.
	Refers uint8 = 1 << 2
)

// Attempt is a rollback's number (term, n), packed as term<<32 | n. A higher attempt is a later one.
type Attempt uint64

// MakeAttempt packs a term and a number within it.
func MakeAttempt(term, n uint32) Attempt { return Attempt(term)<<32 | Attempt(n) }

// Term is the owner's term the attempt was begun in.
func (a Attempt) Term() uint32 { return uint32(a >> 32) }

// N is the attempt's number within its term.
func (a Attempt) N() uint32 { return uint32(a) }

func (a Attempt) String() string { return fmt.Sprintf("%d.%d", a.Term(), a.N()) }

// Header is a frame's fixed part, decoded.
type Header struct {
	Type       Type
	Flags      uint8
	Edge       uint16
	Length     uint32 // bytes after the header
	Attempt    Attempt
	Seq        uint64
	KeyHash    uint64
	EventTime  int64 // microseconds since the epoch
	Sent       int64 // microseconds since the epoch
	IDLen      uint16
	KeyLen     uint16
	HeadersLen uint32
}

// Frame is a header with views of its body. The slices share the buffer they were parsed from.
type Frame struct {
	Header
	ID      []byte
	Key     []byte
	Headers []byte // encoded; see EachHeader
	Payload []byte
}

// Errors of a reader. They mean a broken or hostile peer; the link or process is given up.
var (
	ErrShort  = errors.New("frame: fewer bytes than a frame")
	ErrBounds = errors.New("frame: lengths do not fit")
)

// ParseHeader decodes the fixed header in b, which must hold HeaderSize bytes, and checks its lengths
// against each other and MaxBody. It copies: b may be shared memory that changes under the reader.
func ParseHeader(b []byte) (h Header, err error) {
	if err := h.Parse(b); err != nil {
		return Header{}, err
	}
	return h, nil
}

// Parse is ParseHeader in place. After an error what it has decoded counts for nothing.
func (h *Header) Parse(b []byte) error {
	if len(b) < HeaderSize {
		return ErrShort
	}
	le := binary.LittleEndian
	b = b[:HeaderSize]
	h.Type = Type(b[0])
	h.Flags = b[1]
	h.Edge = le.Uint16(b[2:])
	h.Length = le.Uint32(b[4:])
	h.Attempt = Attempt(le.Uint64(b[8:]))
	h.Seq = le.Uint64(b[16:])
	h.KeyHash = le.Uint64(b[24:])
	h.EventTime = int64(le.Uint64(b[32:]))
	h.Sent = int64(le.Uint64(b[40:]))
	h.IDLen = le.Uint16(b[48:])
	h.KeyLen = le.Uint16(b[50:])
	h.HeadersLen = le.Uint32(b[52:])
	if h.Length > MaxBody || uint64(h.IDLen)+uint64(h.KeyLen)+uint64(h.HeadersLen) > uint64(h.Length) {
		return ErrBounds
	}
	return nil
}

// Parse decodes the first frame in b and returns the bytes it takes. It returns ErrShort, and no
// bytes, when b holds less than one frame.
func Parse(b []byte) (Frame, int, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Frame{}, 0, err
	}
	end := HeaderSize + int(h.Length)
	if len(b) < end {
		return Frame{}, 0, ErrShort
	}
	return h.WithBody(b[HeaderSize:end:end]), end, nil
}

// PayloadLen is the number of bytes of the payload.
func (h *Header) PayloadLen() int {
	return int(h.Length) - int(h.IDLen) - int(h.KeyLen) - int(h.HeadersLen)
}

// WithBody gives the frame whose body is the h.Length bytes of body.
func (h Header) WithBody(body []byte) Frame {
	f := Frame{Header: h}
	f.SetBody(body)
	return f
}

// SetBody is WithBody in place.
func (f *Frame) SetBody(body []byte) {
	id, key := int(f.IDLen), int(f.KeyLen)
	head := id + key + int(f.HeadersLen)
	f.ID = body[:id:id]
	f.Key = body[id : id+key : id+key]
	f.Headers = body[id+key : head : head]
	f.Payload = body[head:]
}

// Size is the number of bytes Append writes for f.
func (f *Frame) Size() int {
	return HeaderSize + len(f.ID) + len(f.Key) + len(f.Headers) + len(f.Payload)
}

// Check returns ErrBounds when f has an id, key, headers or payload that no frame can hold.
func (f *Frame) Check() error {
	if len(f.ID) > math.MaxUint16 || len(f.Key) > math.MaxUint16 || f.Size()-HeaderSize > MaxBody {
		return ErrBounds
	}
	return nil
}

// Append encodes f, which Check accepts, at the end of b. The lengths come from the slices, not from the header's fields.
func (f *Frame) Append(b []byte) []byte { return append(f.AppendHead(b), f.Payload...) }

// AppendReferring encodes the Data frame that AppendHead has encoded as head, with a reference for its payload.
func AppendReferring(b, head, reference []byte) []byte {
	at := len(b)
	b = append(append(b, head...), reference...)
	b[at+1] |= Refers
	binary.LittleEndian.PutUint32(b[at+4:], uint32(len(b)-at-HeaderSize))
	return b
}

// AppendHead is Append without the payload, which is to follow.
func (f *Frame) AppendHead(b []byte) []byte {
	le := binary.LittleEndian
	at := len(b)
	b = slices.Grow(b, HeaderSize)[:at+HeaderSize]
	h := b[at : at+HeaderSize]
	h[0], h[1] = byte(f.Type), f.Flags
	le.PutUint16(h[2:], f.Edge)
	le.PutUint32(h[4:], uint32(f.Size()-HeaderSize))
	le.PutUint64(h[8:], uint64(f.Attempt))
	le.PutUint64(h[16:], f.Seq)
	le.PutUint64(h[24:], f.KeyHash)
	le.PutUint64(h[32:], uint64(f.EventTime))
	le.PutUint64(h[40:], uint64(f.Sent))
	le.PutUint16(h[48:], uint16(len(f.ID)))
	le.PutUint16(h[50:], uint16(len(f.Key)))
	le.PutUint32(h[52:], uint32(len(f.Headers)))
	b = append(b, f.ID...)
	b = append(b, f.Key...)
	return append(b, f.Headers...)
}
