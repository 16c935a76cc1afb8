package route

import (
	"encoding/binary"
	"math/bits"
)

// XXH3 with a 64-bit result and a seed, as the specification of xxHash has it. It is written out here
// because functions are built, offline, from what this room imports: the standard library alone.

const (
	prime32x1 = 0x9e3779b1
	prime32x2 = 0x85ebca77
	prime32x3 = 0xc2b2ae3d
	prime64x1 = 0x9e3779b185ebca87
	prime64x2 = 0xc2b2ae3d27d4eb4f
	prime64x3 = 0x165667b19e3779f9
	prime64x4 = 0x85ebca77c2b2ae63
	prime64x5 = 0x27d4eb2f165667c5
	primeMix1 = 0x165667919e3779f9
	primeMix2 = 0x9fb21c651e98df25

	stripe        = 64                          // bytes taken at a time of a long input
	stripesABlock = (len(secretBytes) - 64) / 8 // between two scrambles
	secretBytes   = "\xb8\xfe\x6c\x39\x23\xa4\x4b\xbe\x7c\x01\x81\x2c\xf7\x21\xad\x1c\xde\xd4\x6d\xe9\x83\x90\x97\xdb" +
		"\x72\x40\xa4\xa4\xb7\xb3\x67\x1f\xcb\x79\xe6\x4e\xcc\xc0\xe5\x78\x82\x5a\xd0\x7d\xcc\xff\x72\x21" +
		"\xb8\x08\x46\x74\xf7\x43\x24\x8e\xe0\x35\x90\xe6\x81\x3a\x26\x4c\x3c\x28\x52\xbb\x91\xc3\x00\xcb" +
		"\x88\xd0\x65\x8b\x1b\x53\x2e\xa3\x71\x64\x48\x97\xa2\x0d\xf9\x4e\x38\x19\xef\x46\xa9\xde\xac\xd8" +
		"\xa8\xfa\x76\x3f\xe3\x9c\x34\x3f\xf9\xdc\xbb\xc7\xc7\x0b\x4f\x1d\x8a\x51\xe0\x4b\xcd\xb4\x59\x31" +
		"\xc8\x9f\x7e\xc9\xd9\x78\x73\x64\xea\xc5\xac\x83\x34\xd3\xeb\xc3\xc5\x81\xa0\xff\xfa\x13\x63\xeb" +
		"\x17\x0d\xdd\x51\xb7\xf0\xda\x49\xd3\x16\x55\x26\x29\xd4\x68\x9e\x2b\x16\xbe\x58\x7d\x47\xa1\xfc" +
		"\x8f\xf8\xb8\xd1\x7a\xd0\x31\xce\x45\xcb\x3a\x8f\x95\x16\x04\x28\xaf\xd7\xfb\xca\xbb\x4b\x40\x7e"
)

// secret is the specification's default one.
var secret = [len(secretBytes)]byte([]byte(secretBytes))

func u32(b []byte) uint64 { return uint64(binary.LittleEndian.Uint32(b)) }
func u64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// xxh3 hashes b.
func xxh3(b []byte, seed uint64) uint64 {
	switch n := len(b); {
	case n <= 16:
		return xxh3Short(b, seed)
	case n <= 128:
		return xxh3Middle(b, seed)
	case n <= 240:
		return xxh3Longer(b, seed)
	}
	return xxh3Long(b, seed)
}

// xxh3Short hashes up to 16 bytes.
func xxh3Short(b []byte, seed uint64) uint64 {
	n := uint64(len(b))
	switch {
	case n > 8:
		low := u64(b) ^ (u64(secret[24:]) ^ u64(secret[32:]) + seed)
		high := u64(b[n-8:]) ^ (u64(secret[40:]) ^ u64(secret[48:]) - seed)
		return avalanche(n + bits.ReverseBytes64(low) + high + fold(low, high))
	case n >= 4:
		seed ^= uint64(bits.ReverseBytes32(uint32(seed))) << 32
		h := u32(b[n-4:]) + u32(b)<<32
		h ^= u64(secret[8:]) ^ u64(secret[16:]) - seed
		h ^= bits.RotateLeft64(h, 49) ^ bits.RotateLeft64(h, 24)
		h *= primeMix2
		h ^= h>>35 + n
		h *= primeMix2
		return h ^ h>>28
	case n > 0:
		h := uint64(b[0])<<16 | uint64(b[n/2])<<24 | uint64(b[n-1]) | n<<8
		return avalanche64(h ^ (u32(secret[0:]) ^ u32(secret[4:]) + seed))
	}
	return avalanche64(seed ^ u64(secret[56:]) ^ u64(secret[64:]))
}

// xxh3Middle hashes 17 to 128 bytes, from both ends to the middle.
func xxh3Middle(b []byte, seed uint64) uint64 {
	h := uint64(len(b)) * prime64x1
	for i := (len(b) - 1) / 32; i >= 0; i-- {
		h += mix16(b[16*i:], secret[32*i:], seed)
		h += mix16(b[len(b)-16*(i+1):], secret[32*i+16:], seed)
	}
	return avalanche(h)
}

// xxh3Longer hashes 129 to 240 bytes.
func xxh3Longer(b []byte, seed uint64) uint64 {
	h := uint64(len(b)) * prime64x1
	for i := range 8 {
		h += mix16(b[16*i:], secret[16*i:], seed)
	}
	h = avalanche(h)
	for i := 8; i < len(b)/16; i++ {
		h += mix16(b[16*i:], secret[16*(i-8)+3:], seed)
	}
	return avalanche(h + mix16(b[len(b)-16:], secret[136-17:], seed))
}

// xxh3Long hashes more than 240 bytes, in eight lanes, with a secret made from the seed.
func xxh3Long(b []byte, seed uint64) uint64 {
	own := secret
	for i := 0; seed != 0 && i < len(own); i += 16 {
		binary.LittleEndian.PutUint64(own[i:], u64(secret[i:])+seed)
		binary.LittleEndian.PutUint64(own[i+8:], u64(secret[i+8:])-seed)
	}
	lanes := [8]uint64{prime32x3, prime64x1, prime64x2, prime64x3, prime64x4, prime32x2, prime64x5, prime32x1}
	rest := b
	for len(rest) > stripe*stripesABlock {
		for i := range stripesABlock {
			accumulate(&lanes, rest[stripe*i:], own[8*i:])
		}
		scramble(&lanes, own[len(own)-stripe:])
		rest = rest[stripe*stripesABlock:]
	}
	for i := range (len(rest) - 1) / stripe {
		accumulate(&lanes, rest[stripe*i:], own[8*i:])
	}
	accumulate(&lanes, b[len(b)-stripe:], own[len(own)-stripe-7:])
	h := uint64(len(b)) * prime64x1
	for i := 0; i < 8; i += 2 {
		h += fold(lanes[i]^u64(own[11+8*i:]), lanes[i+1]^u64(own[19+8*i:]))
	}
	return avalanche(h)
}

// accumulate takes a stripe in.
func accumulate(lanes *[8]uint64, b, secret []byte) {
	b, secret = b[:stripe], secret[:stripe]
	for i := range lanes {
		v := u64(b[8*i:])
		key := v ^ u64(secret[8*i:])
		lanes[i^1] += v
		lanes[i] += key & 0xffffffff * (key >> 32)
	}
}

// scramble keeps what stripes of one block have brought from cancelling out that of the next.
func scramble(lanes *[8]uint64, secret []byte) {
	secret = secret[:stripe]
	for i := range lanes {
		lanes[i] = (lanes[i] ^ lanes[i]>>47 ^ u64(secret[8*i:])) * prime32x1
	}
}

func mix16(b, secret []byte, seed uint64) uint64 {
	return fold(u64(b)^(u64(secret)+seed), u64(b[8:])^(u64(secret[8:])-seed))
}

// fold is the product's upper half on its lower one.
func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

func avalanche(h uint64) uint64 {
	h = (h ^ h>>37) * primeMix1
	return h ^ h>>32
}

// avalanche64 is XXH64's.
func avalanche64(h uint64) uint64 {
	h = (h ^ h>>33) * prime64x2
	h = (h ^ h>>29) * prime64x3
	return h ^ h>>32
}
