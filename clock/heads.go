package clock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// ErrMalformed reports bytes that AppendHeads did not write.
var ErrMalformed = errors.New("malformed vector")

// AppendHeads appends the column encoding of heads, at most MaxHeads in lane
// order, to b:
//
//	count (uvarint) | lanes (16 each) | seqs (uvarint each) | hashes (32 each)
//
// A lane with seq 0 is one that goes; its hash is written as zeros. Uvarints
// are those of encoding/binary in their shortest form.
func AppendHeads(b []byte, heads []LaneHead) []byte {
	b = slices.Grow(b, 4+len(heads)*(16+3+32))
	b = binary.AppendUvarint(b, uint64(len(heads)))
	for i := range heads {
		b = append(b, heads[i].Lane[:]...)
	}
	for i := range heads {
		b = binary.AppendUvarint(b, heads[i].Head.Seq)
	}
	for i := range heads {
		h := heads[i].Head.Hash
		if heads[i].Head.Seq == 0 {
			h = Hash{}
		}
		b = append(b, h[:]...)
	}
	return b
}

// ParseHeads reads what AppendHeads wrote and returns what follows it. Every
// list of heads has one encoding, and no other bytes are accepted.
func ParseHeads(b []byte) (heads []LaneHead, rest []byte, err error) {
	n, b, ok := cutUvarint(b)
	if !ok || n > MaxHeads {
		return nil, nil, fmt.Errorf("%w: bad count", ErrMalformed)
	}
	const leastBytes = 16 + 1 + 32
	if uint64(len(b)) < n*leastBytes {
		return nil, nil, fmt.Errorf("%w: %d lanes in %d bytes", ErrMalformed, n, len(b))
	}
	heads = make([]LaneHead, n)
	for i := range heads {
		b = b[copy(heads[i].Lane[:], b):]
		if i > 0 && heads[i-1].Lane.Compare(heads[i].Lane) >= 0 {
			return nil, nil, fmt.Errorf("%w: lanes out of order", ErrMalformed)
		}
	}
	for i := range heads {
		if heads[i].Head.Seq, b, ok = cutUvarint(b); !ok || heads[i].Head.Seq > MaxSeq {
			return nil, nil, fmt.Errorf("%w: bad seq", ErrMalformed)
		}
	}
	if len(b) < 32*len(heads) {
		return nil, nil, fmt.Errorf("%w: truncated hashes", ErrMalformed)
	}
	for i := range heads {
		b = b[copy(heads[i].Head.Hash[:], b):]
		if heads[i].Head.Seq == 0 && heads[i].Head.Hash != (Hash{}) {
			return nil, nil, fmt.Errorf("%w: hash of a lane that goes", ErrMalformed)
		}
	}
	return heads, b, nil
}

// cutUvarint reads a uvarint in its shortest form, the one without a last byte
// of zero.
func cutUvarint(b []byte) (n uint64, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || k > 1 && b[k-1] == 0 {
		return 0, nil, false
	}
	return n, b[k:], true
}
