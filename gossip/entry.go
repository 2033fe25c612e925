package gossip

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

func hashBody(b []byte) clock.Hash { return sha256.Sum256(b) }

// A Published is one entry of a gossip message, signed and with its lane key,
// so that it can be checked by itself.
type Published struct {
	Key   delta.LaneKey
	Entry *delta.Entry
}

// publishedHead is what a published entry takes at most beside its body: lane key,
// header, signature and three lengths.
const publishedHead = 32 + 16 + 153 + delta.SigSize + 3*binary.MaxVarintLen32

// AppendPublished appends an entry to a gossip message:
//
//	author (32) | incarnation (16) | header, signature, body (each with its length)
func AppendPublished(b []byte, key delta.LaneKey, e *delta.Entry) []byte {
	b = slices.Grow(b, len(e.Raw)+publishedHead)
	b = append(append(b, key.Author[:]...), key.Incarnation[:]...)
	h := delta.AppendHeader(nil, &e.Header)
	b = append(binary.AppendUvarint(b, uint64(len(h))), h...)
	b = append(binary.AppendUvarint(b, uint64(len(e.Sig))), e.Sig...)
	return append(binary.AppendUvarint(b, uint64(len(e.Raw))), e.Raw...)
}

// ParsePublished reads a gossip message and verifies every signature in it:
// what it returns is what the lanes' authors signed, for this space. It is
// safe for concurrent use, and what it refuses is the sender's fault.
func ParsePublished(space clock.Hash, b []byte) ([]Published, error) {
	r := reader{b: b}
	var out []Published
	for len(r.b) > 0 && r.err == nil {
		var p Published
		copy(p.Key.Author[:], r.take(32))
		copy(p.Key.Incarnation[:], r.take(16))
		block, sig, raw := r.bytes(), r.bytes(), r.bytes()
		if r.err != nil {
			break
		}
		h, err := delta.ParseHeader(block)
		if err != nil {
			return nil, err
		}
		if h.Space != space {
			return nil, fmt.Errorf("%w: entry %v of another space", delta.ErrMalformed, h.ID())
		}
		if err := delta.Verify(p.Key, &h, sig); err != nil {
			return nil, err
		}
		if p.Entry, err = delta.ParseEntry(h, raw, sig); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if r.err == nil && len(out) == 0 {
		r.fail("empty message")
	}
	return out, r.err
}
