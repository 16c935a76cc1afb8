package frame

import "encoding/binary"

// AppendHeader encodes one event header (for instance W3C "traceparent") at the end of b:
// nameLen u16, valueLen u16, name, value. Name and value are at most 65535 bytes each.
func AppendHeader(b []byte, name, value string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, name...)
	return append(b, value...)
}

// EachHeader calls f for every header in b, in order, until f returns false. It returns ErrBounds
// when the bytes are not whole headers.
func EachHeader(b []byte, f func(name, value []byte) bool) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return ErrBounds
		}
		n := int(binary.LittleEndian.Uint16(b))
		end := 4 + n + int(binary.LittleEndian.Uint16(b[2:]))
		if len(b) < end {
			return ErrBounds
		}
		if !f(b[4:4+n], b[4+n:end]) {
			return nil
		}
		b = b[end:]
	}
	return nil
}
