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

// How a gossip message begins, and each record of a plain one.
const (
	publishedEntry  = 1 // records follow, this is the first
	publishedPacked = 2 // records follow, compressed with zstd
)

// publishedHead is what a published entry takes at most beside its body: a kind,
// lane key, seq, prev, time, signature and the body's length.
const publishedHead = 1 + 32 + 16 + 32 + delta.SigSize + 3*binary.MaxVarintLen64

// AppendPublished appends an entry to a gossip message:
//
//	1 | author (32) | incarnation (16) | seq | prev (32), but for seq 1 | time | signature (64) | body (its length, bytes)
//
// What the receiver can compute of the header is left out.
func AppendPublished(b []byte, key delta.LaneKey, e *delta.Entry) []byte {
	b = append(slices.Grow(b, len(e.Raw)+publishedHead), publishedEntry)
	b = append(append(b, key.Author[:]...), key.Incarnation[:]...)
	b = binary.AppendUvarint(b, e.Seq)
	if e.Seq > 1 {
		b = append(b, e.Prev[:]...)
	}
	b = append(binary.AppendUvarint(b, uint64(e.Time)), e.Sig...)
	return append(binary.AppendUvarint(b, uint64(len(e.Raw))), e.Raw...)
}

// packFrom is from how many bytes on a message is compressed.
const packFrom = 512

// PackPublished makes one gossip message of several, as AppendPublished makes
// them. What many of its records have in common, as their lane keys, it has once.
func PackPublished(messages ...[]byte) []byte {
	b := messages[0]
	if len(messages) > 1 {
		b = slices.Concat(messages...)
	}
	if len(b) >= packFrom {
		if packed := encoder().EncodeAll(b, []byte{publishedPacked}); len(packed) < len(b) {
			return packed
		}
	}
	return b
}

// batchFrom is from how many entries on the signatures of a message are verified
// together: BenchmarkBatch of package delta shows where that begins to pay.
const batchFrom = 16

// ParsePublished reads a gossip message and verifies every signature in it:
// what it returns is what the lanes' authors signed, for this space. It is
// safe for concurrent use, and what it refuses is the sender's fault.
func ParsePublished(space clock.Hash, b []byte) ([]Published, error) {
	if len(b) > 0 && b[0] == publishedPacked {
		plain, err := Decompress(b[1:], maxPublishedPlain)
		if err != nil {
			return nil, fmt.Errorf("gossip message: %w", err)
		}
		b = plain
	}
	r := reader{b: b}
	var out []Published
	for len(r.b) > 0 && r.err == nil {
		p, err := r.published(space)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if r.err == nil && len(out) == 0 {
		r.fail("empty message")
	}
	if r.err != nil {
		return nil, r.err
	}
	return out, verifyPublished(out)
}

// published reads one record, not its signature.
func (r *reader) published(space clock.Hash) (p Published, err error) {
	if r.take(1)[0] != publishedEntry {
		r.fail("kind of record")
	}
	copy(p.Key.Author[:], r.take(32))
	copy(p.Key.Incarnation[:], r.take(16))
	h := delta.Header{Space: space, Lane: p.Key.ID(space), Seq: r.uint()}
	if h.Seq > 1 {
		copy(h.Prev[:], r.take(32))
	}
	h.Time = clock.Timestamp(r.uint())
	sig := r.take(delta.SigSize)
	raw := r.bytes()
	if r.err != nil {
		return p, r.err
	}
	if h.Seq == 0 || h.Seq > clock.MaxSeq || h.Time > clock.MaxTimestamp {
		return p, fmt.Errorf("%w: entry %v at %d", delta.ErrMalformed, h.ID(), h.Time)
	}
	h.Body = hashBody(raw)
	body, err := delta.ParseBody(raw, h.ID())
	if err != nil {
		return p, fmt.Errorf("entry %v: %w", h.ID(), err)
	}
	p.Entry = &delta.Entry{Header: h, Hash: delta.HashHeader(&h), Sig: sig, Raw: raw, Body: body}
	return p, nil
}

// verifyPublished verifies the signatures of entries.
func verifyPublished(ps []Published) error {
	if len(ps) < batchFrom {
		for i := range ps {
			if err := delta.Verify(ps[i].Key, &ps[i].Entry.Header, ps[i].Entry.Sig); err != nil {
				return err
			}
		}
		return nil
	}
	var batch delta.Batch
	for i := range ps {
		batch.Add(ps[i].Key, &ps[i].Entry.Header, ps[i].Entry.Sig)
	}
	for _, err := range batch.Verify() {
		if err != nil {
			return err
		}
	}
	return nil
}
