package delta

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"

	"github.com/rhizome-p2p/rhizome/clock"
)

// A Signer makes the entries of one lane.
type Signer struct {
	Space clock.Hash
	Lane  clock.LaneID
	Key   ed25519.PrivateKey
}

// Build makes and signs the entry that follows head. It takes the body over
// and puts it in canonical form; see Body.Canonicalize. The entry's body is
// read back from its bytes, so that it is what every reader will see, and so
// that nothing is signed that others would refuse: that would end the lane.
func (s *Signer) Build(head clock.Head, t clock.Timestamp, body Body) (*Entry, error) {
	h := Header{Space: s.Space, Lane: s.Lane, Seq: head.Seq + 1, Prev: head.Hash, Time: t}
	if h.Seq == 1 {
		h.Prev = clock.Hash{}
	}
	if head.Seq >= clock.MaxSeq || t > clock.MaxTimestamp {
		return nil, fmt.Errorf("entry after %v at %d: the lane or the clock is at its end", head.Seq, t)
	}
	body.Canonicalize()
	raw := AppendBody(make([]byte, 0, body.sizeBound()), s.Lane, &body)
	if len(raw) > MaxBodyBytes {
		return nil, fmt.Errorf("entry body of %d bytes, at most %d are allowed", len(raw), MaxBodyBytes)
	}
	parsed, err := parseBody(raw, h.ID(), &body)
	if err != nil {
		return nil, fmt.Errorf("build entry %v: %w", h.ID(), err)
	}
	h.Body = sha256.Sum256(raw)
	return &Entry{Header: h, Hash: HashHeader(&h), Sig: Sign(s.Key, &h), Raw: raw, Body: parsed}, nil
}

// sizeBound returns what a body takes at most.
func (b *Body) sizeBound() int {
	n := 64 + len(b.Deps)*(17+32)
	for i := range b.Txns {
		x := &b.Txns[i]
		n += 16 + len(x.Creator)
		for j := range x.Deltas {
			n += x.Deltas[j].SizeBound()
		}
	}
	return n
}

// SizeBound returns what a delta takes in a body at most, with the lanes that it
// adds to the body's table.
func (d *Delta) SizeBound() int {
	n := 24 + len(d.Entity) + len(d.Path) + len(d.Value)
	for i := range d.Kills {
		k := &d.Kills[i]
		n += 24 + len(k.Path) + len(k.Tag) + (len(k.Dots)+len(k.Bounds))*(9+9+5+17)
	}
	return n
}
