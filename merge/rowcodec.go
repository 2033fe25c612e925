package merge

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// Lanes gives lanes short numbers, which never leave the node.
type Lanes interface {
	Number(clock.LaneID) uint32
	Lane(uint32) (clock.LaneID, bool)
}

// AppendRow appends the stored form of a row, survivor after survivor:
//
//	lane number, seq, index, txn, time (uvarints) | verb (1)
//	creator, value (each: length as uvarint, bytes)
func AppendRow(b []byte, row []Survivor, lanes Lanes) []byte {
	for i := range row {
		s := &row[i]
		b = binary.AppendUvarint(b, uint64(lanes.Number(s.Dot.Lane)))
		b = binary.AppendUvarint(b, s.Dot.Seq)
		b = binary.AppendUvarint(b, uint64(s.Dot.Index))
		b = binary.AppendUvarint(b, uint64(s.Txn))
		b = binary.AppendUvarint(b, uint64(s.Time))
		b = append(b, byte(s.Verb))
		b = binary.AppendUvarint(b, uint64(len(s.Creator)))
		b = append(b, s.Creator...)
		b = binary.AppendUvarint(b, uint64(len(s.Value)))
		b = append(b, s.Value...)
	}
	return b
}

// ErrRow reports a stored row that cannot be read.
var ErrRow = errors.New("merge: malformed row")

// ParseRow reads what AppendRow wrote. Values share memory with b.
func ParseRow(b []byte, lanes Lanes) ([]Survivor, error) {
	var row []Survivor
	for len(b) > 0 {
		var n [5]uint64
		var ok bool
		for i := range n {
			if n[i], b, ok = cutUvarint(b); !ok {
				return nil, ErrRow
			}
		}
		if max(n[0], n[2], n[3]) > math.MaxUint32 || len(b) == 0 || !delta.Verb(b[0]).Survives() {
			return nil, ErrRow
		}
		lane, known := lanes.Lane(uint32(n[0]))
		if !known {
			return nil, ErrRow
		}
		s := Survivor{
			Dot: clock.Dot{Lane: lane, Seq: n[1], Index: uint32(n[2])},
			Txn: uint32(n[3]), Time: clock.Timestamp(n[4]), Verb: delta.Verb(b[0]),
		}
		b = b[1:]
		var creator, value []byte
		if creator, b, ok = cutBytes(b); !ok {
			return nil, ErrRow
		}
		if value, b, ok = cutBytes(b); !ok {
			return nil, ErrRow
		}
		s.Creator, s.Value = string(creator), value
		row = append(row, s)
	}
	return row, nil
}

// cutUvarint reads a uvarint in its shortest form, the only one that AppendRow
// writes.
func cutUvarint(b []byte) (n uint64, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || k > 1 && b[k-1] == 0 {
		return 0, nil, false
	}
	return n, b[k:], true
}

func cutBytes(b []byte) (v, rest []byte, ok bool) {
	n, b, ok := cutUvarint(b)
	if !ok || n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
