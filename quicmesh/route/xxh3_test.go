package route_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"
	"pgregory.net/rapid"

	"github.com/weft-stream/weft/quicmesh/route"
)

// bytesOf gives n bytes that nobody has chosen.
func bytesOf(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// The hash of a key is XXH3's: SDKs in other languages and old releases have the same.
func TestKeyHashIsXXH3(t *testing.T) {
	all := bytesOf(2048, 1)
	for n := 0; n <= len(all); n++ {
		for _, seed := range []uint64{0, 1, 42, 1 << 63, ^uint64(0)} {
			if got, want := route.KeyHash(all[:n], seed), xxh3.HashSeed(all[:n], seed); got != want {
				t.Fatalf("%d bytes, seed %d: %x, want %x", n, seed, got, want)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		b := bytesOf(rapid.IntRange(0, 8192).Draw(t, "bytes"), rapid.Uint64().Draw(t, "contents"))
		seed := rapid.Uint64().Draw(t, "seed")
		if got, want := route.KeyHash(b, seed), xxh3.HashSeed(b, seed); got != want {
			t.Fatalf("%d bytes, seed %d: %x, want %x", len(b), seed, got, want)
		}
	})
}

func BenchmarkKeyHash(b *testing.B) {
	for _, n := range []int{8, 16, 64, 200, 1024} {
		key := bytesOf(n, 1)
		for name, hash := range map[string]func([]byte, uint64) uint64{"ours": route.KeyHash, "zeebo": xxh3.HashSeed} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				sum := uint64(0)
				for b.Loop() {
					sum += hash(key, 42)
				}
				_ = sum
			})
		}
	}
}
