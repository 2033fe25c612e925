package delta

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/rhizome-p2p/rhizome/clock"
)

// A Batch verifies many signed headers at once, by the rule of Verify. It pays
// from some dozens on, as BenchmarkBatch shows; a batch with a bad signature
// costs more than its members alone. The zero Batch is empty and ready.
//
// Batch verification needs coefficients that no signer could foresee. They are
// drawn from a hash of everything in the batch, so the same batch always gives
// the same answer and no source of randomness is needed.
type Batch struct {
	v     *voi.BatchVerifier
	seed  hash.Hash
	items []batchItem
}

type batchItem struct {
	id clock.EntryID
	// err says why the item was not even given to v.
	err error
}

// Len returns the number of headers added.
func (b *Batch) Len() int { return len(b.items) }

// Add puts a signed header in the batch.
func (b *Batch) Add(k LaneKey, h *Header, sig []byte) {
	if b.v == nil {
		b.v, b.seed = voi.NewBatchVerifier(), sha256.New()
	}
	item := batchItem{id: h.ID(), err: checkSigner(k, h, sig)}
	b.items = append(b.items, item)
	if item.err != nil {
		return
	}
	msg := AppendHeader(make([]byte, 0, headerBytes), h)
	b.seed.Write(k.Author[:])
	b.seed.Write(msg)
	b.seed.Write(sig)
	b.v.AddWithOptions(k.Author[:], msg, sig, zip215)
}

// Verify returns nil where every header is signed by its lane's author, else
// one error for each Add, nil for the good ones. It empties the batch.
func (b *Batch) Verify() []error {
	if len(b.items) == 0 {
		return nil
	}
	_, valid := b.v.Verify(bytes.NewReader(b.seed.Sum(nil)))
	errs, bad := make([]error, len(b.items)), false
	for i, item := range b.items {
		errs[i] = item.err
		if item.err == nil {
			if !valid[0] {
				errs[i] = fmt.Errorf("entry %v: %w", item.id, ErrSignature)
			}
			valid = valid[1:]
		}
		bad = bad || errs[i] != nil
	}
	b.v.Reset()
	b.seed.Reset()
	b.items = b.items[:0]
	if !bad {
		return nil
	}
	return errs
}
