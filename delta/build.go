package delta

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
)

// A Signer makes the entries of one lane.
type Signer struct {
	Space clock.Hash
	Lane  clock.LaneID
	Key   ed25519.PrivateKey
}

// Build makes and signs the entry that follows head. The deps may come in any
// order. The entry is what a reader of its bytes will see.
func (s *Signer) Build(head clock.Head, t clock.Timestamp, body Body) (*Entry, error) {
	body.Deps = slices.Clone(body.Deps)
	slices.SortFunc(body.Deps, func(a, b Dep) int { return a.Lane.Compare(b.Lane) })
	raw := AppendBody(nil, s.Lane, &body)
	h := Header{
		Space: s.Space, Lane: s.Lane, Seq: head.Seq + 1, Prev: head.Hash,
		Time: t, Body: sha256.Sum256(raw),
	}
	if len(raw)+headerBytes > MaxEntryBytes {
		return nil, fmt.Errorf("entry of %d bytes, at most %d are allowed", len(raw)+headerBytes, MaxEntryBytes)
	}
	return &Entry{Header: h, Hash: HashHeader(&h), Sig: Sign(s.Key, &h), Raw: raw, Body: body}, nil
}

// headerBytes is the most that a header block takes.
const headerBytes = 192
