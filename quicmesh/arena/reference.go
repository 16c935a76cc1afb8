package arena

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ReferenceSize is the bytes of an encoded reference.
const ReferenceSize = 24

// ErrReference is one that leads nowhere: its sender breaks the rules.
var ErrReference = errors.New("arena: bad reference")

// Reference says where a payload lies: a file's number, a place in it, a length; in bytes 4, 4 (zero), 8, 8,
// little-endian.
type Reference struct {
	File       uint32
	At, Length uint64
}

// Refer gives the reference to p, which lies in r.
func (r *Region) Refer(p []byte) Reference {
	at, ok := within(r.b, p)
	if !ok || r.file == nil {
		panic("arena: a payload outside of its region")
	}
	return Reference{File: r.file.Number, At: uint64(r.at + at), Length: uint64(len(p))}
}

// Append encodes the reference.
func (x Reference) Append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, x.File)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, x.At)
	return le.AppendUint64(b, x.Length)
}

// ParseReference decodes what Append has written.
func ParseReference(b []byte) (Reference, error) {
	le := binary.LittleEndian
	if len(b) != ReferenceSize || le.Uint32(b[4:]) != 0 {
		return Reference{}, fmt.Errorf("%w: %d bytes, or not of this version", ErrReference, len(b))
	}
	return Reference{File: le.Uint32(b), At: le.Uint64(b[8:]), Length: le.Uint64(b[16:])}, nil
}
