package merge

import (
	"encoding/binary"
	"errors"

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
		for i := range n {
			v, k := binary.Uvarint(b)
			if k <= 0 {
				return nil, ErrRow
			}
			n[i], b = v, b[k:]
		}
		lane, ok := lanes.Lane(uint32(n[0]))
		if !ok || len(b) == 0 {
			return nil, ErrRow
		}
		s := Survivor{
			Dot: clock.Dot{Lane: lane, Seq: n[1], Index: uint32(n[2])},
			Txn: uint32(n[3]), Time: clock.Timestamp(n[4]), Verb: delta.Verb(b[0]),
		}
		b = b[1:]
		for i := range 2 {
			l, k := binary.Uvarint(b)
			if k <= 0 || l > uint64(len(b)-k) {
				return nil, ErrRow
			}
			v := b[k : k+int(l)]
			b = b[k+int(l):]
			if i == 0 {
				s.Creator = string(v)
			} else {
				s.Value = delta.Value(v)
			}
		}
		row = append(row, s)
	}
	return row, nil
}
