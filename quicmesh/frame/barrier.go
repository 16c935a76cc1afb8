package frame

import "encoding/binary"

// AppendBarrier encodes the payload of a Barrier frame at the end of b: its number, 8 bytes, and the
// version of the assignment that is valid behind it, 8 bytes more unless it is 0.
func AppendBarrier(b []byte, n, version uint64) []byte {
	b = binary.LittleEndian.AppendUint64(b, n)
	if version == 0 {
		return b
	}
	return binary.LittleEndian.AppendUint64(b, version)
}

// Barrier decodes the payload of a Barrier frame. It returns ErrBounds when that has another length.
func (f *Frame) Barrier() (n, version uint64, err error) {
	switch len(f.Payload) {
	case 8:
	case 16:
		version = binary.LittleEndian.Uint64(f.Payload[8:])
	default:
		return 0, 0, ErrBounds
	}
	return binary.LittleEndian.Uint64(f.Payload), version, nil
}
