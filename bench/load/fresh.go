package load

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// sumSize is what a fresh event has behind its header: the sum of what follows.
const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Fill writes event n anew, but for its header; the bytes are others than those of the events before it.
func Fill(b []byte, n uint64) {
	rest := b[HeaderSize+sumSize:]
	x := n*0x9E3779B97F4A7C15 | 1
	for ; len(rest) >= 8; rest = rest[8:] {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(rest, x)
	}
	binary.LittleEndian.PutUint32(b[HeaderSize:], crc32.Checksum(b[HeaderSize+sumSize:], castagnoli))
}

// Check sums up what Fill has written.
func Check(b []byte) error {
	if len(b) < HeaderSize+sumSize {
		return fmt.Errorf("a fresh event of %d bytes", len(b))
	}
	if want, got := binary.LittleEndian.Uint32(b[HeaderSize:]), crc32.Checksum(b[HeaderSize+sumSize:], castagnoli); got != want {
		return fmt.Errorf("the %d bytes of an event have sum %08x, not %08x", len(b), got, want)
	}
	return nil
}
