package oplog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A Wreck is a log that does not open any more, of which rows are found here and
// there: old ones, deleted ones, in any order. Each is judged by itself. First
// come the rows of lanes, since entries go by their numbers.
type Wreck struct {
	s     Store // for its keys; it knows no lanes
	lanes map[uint32]WreckLane
	// guesses are lanes whose rows may be lost, and tries counts the entries of a
	// number to which none of them fitted.
	guesses []delta.LaneKey
	tries   map[uint32]int
}

// maxTries bounds the entries of one number that are held against the guesses.
const maxTries = 8

// A WreckLane is a lane whose row was found.
type WreckLane struct {
	Number uint32
	ID     clock.LaneID
	Key    delta.LaneKey
	// Seq is the highest head that a row names: so much of the lane was there.
	Seq uint64
}

// NewWreck returns a wreck of which nothing has been found.
func NewWreck(prefix []byte, space clock.Hash) *Wreck {
	return &Wreck{s: Store{prefix: prefix, space: space}, lanes: make(map[uint32]WreckLane), tries: make(map[uint32]int)}
}

// LaneRange returns where the rows of lanes stand.
func (w *Wreck) LaneRange() (lo, hi []byte) {
	return w.s.laneKey(kindLane, 0), storage.PrefixEnd(w.s.key(kindLane))
}

// EntryRange returns where entries stand.
func (w *Wreck) EntryRange() (lo, hi []byte) {
	return w.s.entryKey(kindEntry, 0, 0), storage.PrefixEnd(w.s.key(kindEntry))
}

// EntryKey returns the key of an entry of a lane.
func (w *Wreck) EntryKey(l WreckLane, seq uint64) []byte {
	return w.s.entryKey(kindEntry, l.Number, seq)
}

// AddLane takes in a row of LaneRange; one that is none is ErrCorrupt. Rows of
// one lane differ in where its head stood.
func (w *Wreck) AddLane(key, value []byte) error {
	lo, _ := w.LaneRange()
	l := WreckLane{}
	r := rowReader{b: value}
	r.fixed(l.Key.Author[:])
	r.fixed(l.Key.Incarnation[:])
	_ = r.uvarint() // closed
	l.Seq = r.uvarint()
	if len(key) != len(lo) || r.bad || l.Seq > clock.MaxSeq {
		return fmt.Errorf("lane row %x: %w", key, storage.ErrCorrupt)
	}
	l.Number, l.ID = binary.BigEndian.Uint32(key[len(key)-4:]), l.Key.ID(w.s.space)
	if old, ok := w.lanes[l.Number]; ok {
		if old.Key != l.Key {
			return fmt.Errorf("lane row %x: two lanes of one number: %w", key, storage.ErrCorrupt)
		}
		l.Seq = max(l.Seq, old.Seq)
	}
	w.lanes[l.Number] = l
	return nil
}

// Guess names lanes that may have been there, for entries whose lane's row is
// lost: rows of lanes are few, and one bad block can hold all of them. A
// signature tells whether a guess is right.
func (w *Wreck) Guess(keys []delta.LaneKey) { w.guesses = append(w.guesses, keys...) }

// guess finds the lane of a number by one of its entries.
func (w *Wreck) guess(number uint32, seq uint64, value []byte) (WreckLane, bool) {
	if w.tries[number] >= maxTries {
		return WreckLane{}, false
	}
	w.tries[number]++
	for _, k := range w.guesses {
		l := WreckLane{Number: number, ID: k.ID(w.s.space), Key: k}
		rec, err := w.s.parseRecord(clock.EntryID{Lane: l.ID, Seq: seq}, value)
		if err == nil && delta.Verify(k, &rec.Header, rec.Sig) == nil {
			w.lanes[number] = l
			return l, true
		}
	}
	return WreckLane{}, false
}

// Lanes returns the lanes that were found, by their numbers.
func (w *Wreck) Lanes() []WreckLane {
	return slices.SortedFunc(maps.Values(w.lanes), func(a, b WreckLane) int { return int(a.Number) - int(b.Number) })
}

// Entry reads a row of EntryRange. What it returns without an error its author
// signed: an entry for which only a later signature vouches is ErrCorrupt, as is
// one of a lane that was not found.
func (w *Wreck) Entry(key, value []byte) (WreckLane, *delta.Entry, error) {
	lo, _ := w.EntryRange()
	if len(key) != len(lo) {
		return WreckLane{}, nil, fmt.Errorf("entry key %x: %w", key, storage.ErrCorrupt)
	}
	number, seq := binary.BigEndian.Uint32(key[len(key)-12:]), binary.BigEndian.Uint64(key[len(key)-8:])
	l, ok := w.lanes[number]
	if !ok {
		if l, ok = w.guess(number, seq, value); !ok {
			return l, nil, fmt.Errorf("entry key %x: of an unknown lane: %w", key, storage.ErrCorrupt)
		}
	}
	rec, err := w.s.parseRecord(clock.EntryID{Lane: l.ID, Seq: seq}, value)
	if err != nil {
		return l, nil, err
	}
	if err := delta.Verify(l.Key, &rec.Header, rec.Sig); err != nil {
		return l, nil, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	rec.Raw, rec.Sig = bytes.Clone(rec.Raw), bytes.Clone(rec.Sig)
	e, err := rec.Entry()
	if err != nil {
		return l, nil, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	if seq > l.Seq {
		l.Seq = seq
		w.lanes[number] = l
	}
	return l, e, nil
}

// Disown takes from a row, whose key stands without the space's prefix, that the
// entry in it was written by this replica, for a copy of the log that another
// author goes on with: the one who wrote it writes it again after a fork, and
// nobody else must. The value is changed in place.
func Disown(key, value []byte) {
	if len(key) == 13 && (key[0] == kindEntry || key[0] == kindKept) && len(value) > 0 {
		value[0] &^= flagLocal
	}
}
