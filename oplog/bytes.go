package oplog

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/digest"
)

func hashOf(b []byte) clock.Hash { return sha256.Sum256(b) }

func appendUvarint(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

// cutUvarint takes a number off b. A number has one encoding, the shortest.
func cutUvarint(b []byte) (n uint64, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || k > 1 && b[k-1] == 0 {
		return 0, nil, false
	}
	return n, b[k:], true
}

// cutBytes takes a length and that many bytes off b.
func cutBytes(b []byte) (v, rest []byte, ok bool) {
	n, b, ok := cutUvarint(b)
	if !ok || n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

func sortIDs(ids []clock.EntryID) {
	slices.SortFunc(ids, compareIDs)
}

func compareIDs(a, b clock.EntryID) int {
	return cmp.Or(a.Lane.Compare(b.Lane), cmp.Compare(a.Seq, b.Seq))
}

// closing is a closed lane's part of the root.
func closing(id clock.LaneID, at uint64) digest.Sum {
	return digest.Of(binary.BigEndian.AppendUint64(append([]byte("closed\n"), id[:]...), at))
}
