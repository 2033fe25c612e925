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

// laneDomain keeps the hash of a lane key apart from other hashes.
const laneDomain = "rhizome lane 1\n"

// ID returns the id of the lane in a space: the first 16 bytes of the SHA-256
// of laneDomain, space, author and incarnation.
func (k LaneKey) ID(space clock.Hash) clock.LaneID {
	var buf [len(laneDomain) + 32 + 32 + 16]byte
	b := append(buf[:0], laneDomain...)
	b = append(append(append(b, space[:]...), k.Author[:]...), k.Incarnation[:]...)
	sum := sha256.Sum256(b)
	return clock.LaneID(sum[:16])
}

// SigSize is the length of a signature in bytes.
const SigSize = ed25519.SignatureSize

// Sign signs a header.
func Sign(key ed25519.PrivateKey, h *Header) []byte {
	// The bytes are those of crypto/ed25519, in half the time.
	return voi.Sign(voi.PrivateKey(key), AppendHeader(make([]byte, 0, headerBytes), h))
}

// ErrSignature reports a header that its lane's author did not sign.
var ErrSignature = fmt.Errorf("%w: bad signature", ErrMalformed)

// zip215 is the one rule of verification, single and in batches.
var zip215 = &voi.Options{Verify: voi.VerifyOptionsZIP_215}

// Verify checks that the lane belongs to the key's author and that the author
// signed the header.
func Verify(k LaneKey, h *Header, sig []byte) error {
	if err := checkSigner(k, h, sig); err != nil {
		return err
	}
	var buf [headerBytes]byte
	if !voi.VerifyWithOptions(k.Author[:], AppendHeader(buf[:0], h), sig, zip215) {
		return fmt.Errorf("entry %v: %w", h.ID(), ErrSignature)
	}
	return nil
}

// checkSigner makes the checks that need no curve.
func checkSigner(k LaneKey, h *Header, sig []byte) error {
	if k.ID(h.Space) != h.Lane {
		return malformed("lane %v is not of author %v", h.Lane, k.Author)
	}
	if len(sig) != SigSize {
		return fmt.Errorf("entry %v: %w: %d bytes, want %d", h.ID(), ErrSignature, len(sig), SigSize)
	}
	return nil
}

// A Verifier does what Verify does.
type Verifier func(k LaneKey, h *Header, sig []byte) error

// A SignedHead is a lane's header with its signature: small, and proof of the
// head's hash to anybody.
type SignedHead struct {
	Header
	Sig []byte
}
