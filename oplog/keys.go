package oplog

import (
	"encoding/binary"

	"github.com/rhizome-p2p/rhizome/clock"
)

// The kinds of keys that the log owns, after the space's prefix. Package node
// owns 'c', 'd', 'g', 'h', 'k', 'm', 'r' and 's'; docs/format.md lists all.
const (
	kindMark  = 'a'
	kindEntry = 'e'
	kindFloor = 'f'
	kindLane  = 'l'
	kindOrder = 'o'
	kindProof = 'p'
	kindKept  = 'x'
)

func (s *Store) key(kind byte) []byte {
	return append(append(make([]byte, 0, len(s.prefix)+16), s.prefix...), kind)
}

func (s *Store) laneKey(kind byte, number uint32) []byte {
	return binary.BigEndian.AppendUint32(s.key(kind), number)
}

func (s *Store) entryKey(kind byte, number uint32, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(s.laneKey(kind, number), seq)
}

func (s *Store) orderKey(ordinal uint64) []byte {
	return binary.BigEndian.AppendUint64(s.key(kindOrder), ordinal)
}

// numbered returns the entry key of a lane that is known.
func (s *Store) numbered(kind byte, id clock.EntryID) ([]byte, bool) {
	n, ok := s.Lanes.lookup(id.Lane)
	if !ok {
		return nil, false
	}
	return s.entryKey(kind, n, id.Seq), true
}

// Prefix returns the prefix of the space's keys.
func (s *Store) Prefix() []byte { return s.prefix }
