package delta

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/rhizome-p2p/rhizome/clock"
)

// An Author is an Ed25519 public key.
type Author [ed25519.PublicKeySize]byte

// String returns the key in hexadecimal.
func (a Author) String() string { return hex.EncodeToString(a[:]) }

// MarshalText returns what String returns.
func (a Author) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// A LaneKey says who writes a lane. It proves itself: the lane's id is its
// hash.
type LaneKey struct {
	Author      Author
	Incarnation [16]byte
}

// ID returns the id of the lane in a space.
func (k LaneKey) ID(space clock.Hash) (l clock.LaneID) {
	h := sha256.New()
	h.Write([]byte("rhizome lane 1\n"))
	h.Write(space[:])
	h.Write(k.Author[:])
	h.Write(k.Incarnation[:])
	copy(l[:], h.Sum(nil))
	return l
}

// SigSize is the length of a signature in bytes.
const SigSize = ed25519.SignatureSize

// Sign signs a header.
func Sign(key ed25519.PrivateKey, h *Header) []byte {
	return ed25519.Sign(key, AppendHeader(nil, h))
}

// ErrSignature reports a header that its lane's author did not sign.
var ErrSignature = fmt.Errorf("%w: bad signature", ErrMalformed)

// zip215 is the one rule of verification, single and in batches.
var zip215 = &voi.Options{Verify: voi.VerifyOptionsZIP_215}

// Verify checks that the lane belongs to the key's author and that the author
// signed the header.
func Verify(k LaneKey, h *Header, sig []byte) error {
	if k.ID(h.Space) != h.Lane {
		return malformed("lane %v is not of author %v", h.Lane, k.Author)
	}
	var buf [192]byte
	if len(sig) != SigSize || !voi.VerifyWithOptions(k.Author[:], AppendHeader(buf[:0], h), sig, zip215) {
		return fmt.Errorf("entry %v: %w", h.ID(), ErrSignature)
	}
	return nil
}

// A SignedHead is a lane's header with its signature: small, and proof of the
// head's hash to anybody.
type SignedHead struct {
	Header
	Sig []byte
}
