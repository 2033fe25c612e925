// Package digest sums sets of hashes so that the sum can be kept up to date
// one member at a time.
//
// A Sum is the sum, modulo 2^256, of the SHA-256 hashes of the members, each
// read as a little-endian integer (AdHash; Bellare and Micciancio, "A New
// Paradigm for Collision-Free Hashing", EUROCRYPT 1997, section 5). The order
// of additions does not matter and a member can be taken out again. Equal sets
// have equal sums. Unequal sets have unequal sums unless somebody who may
// choose members searches for a collision, which at 256 bits is within reach
// of Wagner's generalised birthday attack: a Sum is an alarm, not a proof.
package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
)

// Size is the length of an encoded Sum in bytes.
const Size = 32

// A Sum is the sum of a set of hashes. The zero Sum is that of the empty set.
type Sum [4]uint64

// Of returns the Sum of the single member b.
func Of(b []byte) Sum { return FromBytes(sha256.Sum256(b)) }

// FromBytes reads the form that Bytes writes.
func FromBytes(b [Size]byte) Sum {
	return Sum{
		binary.LittleEndian.Uint64(b[0:]),
		binary.LittleEndian.Uint64(b[8:]),
		binary.LittleEndian.Uint64(b[16:]),
		binary.LittleEndian.Uint64(b[24:]),
	}
}

// Bytes returns the fixed-width form of s.
func (s Sum) Bytes() (b [Size]byte) {
	for i, w := range s {
		binary.LittleEndian.PutUint64(b[8*i:], w)
	}
	return b
}

// Plus returns the Sum of the union of two disjoint sets.
func (s Sum) Plus(o Sum) (r Sum) {
	var c uint64
	for i := range s {
		r[i], c = bits.Add64(s[i], o[i], c)
	}
	return r
}

// Minus returns the Sum of s without the members of o, a subset of it.
func (s Sum) Minus(o Sum) (r Sum) {
	var c uint64
	for i := range s {
		r[i], c = bits.Sub64(s[i], o[i], c)
	}
	return r
}

// String returns the sum in hexadecimal.
func (s Sum) String() string {
	b := s.Bytes()
	return hex.EncodeToString(b[:])
}

// MarshalText returns what String returns.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Sum) UnmarshalText(t []byte) error {
	var b [Size]byte
	if len(t) != hex.EncodedLen(Size) {
		return fmt.Errorf("digest: %d characters, want %d", len(t), hex.EncodedLen(Size))
	}
	if _, err := hex.Decode(b[:], t); err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	*s = FromBytes(b)
	return nil
}
