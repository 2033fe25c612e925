// Package oplog keeps the entries that this replica has accepted.
//
// An entry is admitted once its prev, its deps and every entry that its kills
// name are admitted; until then it waits in a bounded pending set that is not
// durable. What is admitted is written through the caller's batch, so that
// entry, state, lane head and digest commit together, and Flush adds what
// belongs to the batch as a whole. The log looks at nothing in a delta but the
// entries that its kills name.
//
// # Keys
//
// All keys stand behind the space's prefix; n is a lane's number (4 bytes,
// big-endian), which never leaves the node.
//
//	'e' | n | seq (8)     ->  entry (see appendRecord)
//	'l' | n               ->  lane: key, close, head, newest signed head
//	'o' | ordinal (8)     ->  runs, in the order of application
//	'p' | n               ->  fork proof of a closed lane
//	't'                   ->  ordinal, entries, tips
//	'x' | n | seq (8)     ->  entry that a closing took out of the state
//
// # Forks
//
// A lane whose author signed two entries under one seq s is closed at s by a
// Proof: its entries from s on leave the log's order and are kept under 'x',
// its head goes back to s − 1, and deps and kills that name it at or above s
// count as met once it is applied up to s − 1.
//
// A Log has one owner; a Store, for reading, has none and is safe to share.
package oplog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/storage"
)

const kindTips = 't'

// A Log is the mutable half: what has been admitted, and what waits.
type Log struct {
	*Store
	db storage.DB

	// vector covers exactly the admitted entries. A lane in it goes back only
	// when it is closed.
	vector clock.Vector
	lanes  map[clock.LaneID]*laneState

	// closings is the sum over the closed lanes, a part of Root.
	closings digest.Sum
	closed   int

	// tips are the admitted entries that no admitted entry names: at most one a
	// lane, its head. After a closing some may be superfluous, none is missing.
	tips map[clock.LaneID]clock.Head

	ordinal uint64 // of the newest admitted entry
	entries uint64 // raw entries held

	Pending Pending

	// What Flush has yet to write.
	dirty      map[clock.LaneID]bool
	runs       []byte
	firstOfRun uint64
	open       openRun
}

// openRun is the run that the next entry may extend.
type openRun struct {
	number       uint32
	first, count uint64
}

type laneState struct {
	number uint32
	closed uint64 // the seq from which the lane is closed, 0 for an open one
	// closedBy are the hashes that the two branches name as their prev: they
	// vouch for the entry before the fork.
	closedBy [2]clock.Hash
	signed   delta.SignedHead
}

// Open reads the log of a space from a store.
func Open(db storage.DB, prefix []byte, space clock.Hash) (*Log, error) {
	l := &Log{
		Store: &Store{prefix: bytes.Clone(prefix), space: space, Lanes: new(Lanes)},
		db:    db,
		lanes: make(map[clock.LaneID]*laneState),
		tips:  make(map[clock.LaneID]clock.Head),
		dirty: make(map[clock.LaneID]bool),
	}
	if err := l.readLanes(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if err := l.readTips(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return l, nil
}

func (l *Log) readLanes() error {
	lo := l.key(kindLane)
	for kv, err := range l.db.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return err
		}
		number := binary.BigEndian.Uint32(kv.Key[len(lo):])
		if err := l.readLane(number, kv.Value); err != nil {
			return fmt.Errorf("lane %d: %w", number, err)
		}
	}
	for id, s := range l.lanes {
		if s.closed > 0 {
			p, err := l.Proof(id)
			if err != nil {
				return err
			}
			l.noteClosed(id, s, p)
		}
	}
	return nil
}

// The stored form of a lane: author (32) | incarnation (16) | closed, head seq
// (uvarints) | head hash (32) | signed head: seq (uvarint), prev (32), hlc
// (uvarint), body hash (32), signature (64). The signed seq is 0 where there
// is no signed head.
func (l *Log) appendLane(b []byte, id clock.LaneID, s *laneState) []byte {
	key, _ := l.Lanes.Key(id)
	head := l.vector.Head(id)
	b = append(b, key.Author[:]...)
	b = append(b, key.Incarnation[:]...)
	b = binary.AppendUvarint(b, s.closed)
	b = binary.AppendUvarint(b, head.Seq)
	b = append(b, head.Hash[:]...)
	b = binary.AppendUvarint(b, s.signed.Seq)
	if s.signed.Seq == 0 {
		return b
	}
	b = append(b, s.signed.Prev[:]...)
	b = binary.AppendUvarint(b, uint64(s.signed.Time))
	b = append(b, s.signed.Body[:]...)
	return append(b, s.signed.Sig...)
}

func (l *Log) readLane(number uint32, b []byte) error {
	var key delta.LaneKey
	if len(b) < len(key.Author)+len(key.Incarnation) {
		return storage.ErrCorrupt
	}
	b = b[copy(key.Author[:], b):]
	b = b[copy(key.Incarnation[:], b):]
	id := key.ID(l.space)
	if l.Lanes.add(id, key) != number {
		return fmt.Errorf("numbers are not consecutive: %w", storage.ErrCorrupt)
	}
	s := &laneState{number: number}
	l.lanes[id] = s
	var head clock.Head
	var ok1, ok2, ok3 bool
	s.closed, b, ok1 = cutUvarint(b)
	head.Seq, b, ok2 = cutUvarint(b)
	if !ok1 || !ok2 || len(b) < len(head.Hash) {
		return storage.ErrCorrupt
	}
	b = b[copy(head.Hash[:], b):]
	if head.Seq > 0 {
		l.vector.Set(id, head)
	}
	h := delta.Header{Space: l.space, Lane: id}
	if h.Seq, b, ok3 = cutUvarint(b); !ok3 || h.Seq == 0 {
		return nil
	}
	if len(b) < len(h.Prev) {
		return storage.ErrCorrupt
	}
	b = b[copy(h.Prev[:], b):]
	t, b, ok := cutUvarint(b)
	if !ok || len(b) != len(h.Body)+delta.SigSize {
		return storage.ErrCorrupt
	}
	h.Time = clock.Timestamp(t)
	b = b[copy(h.Body[:], b):]
	s.signed = delta.SignedHead{Header: h, Sig: bytes.Clone(b)}
	return nil
}

func (l *Log) readTips() error {
	b, err := l.db.Get(l.key(kindTips))
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var n uint64
	var ok bool
	for _, p := range []*uint64{&l.ordinal, &l.entries, &n} {
		if *p, b, ok = cutUvarint(b); !ok {
			return storage.ErrCorrupt
		}
	}
	for ; n > 0; n-- {
		var number, seq uint64
		if number, b, ok = cutUvarint(b); !ok {
			return storage.ErrCorrupt
		}
		if seq, b, ok = cutUvarint(b); !ok || len(b) < 32 {
			return storage.ErrCorrupt
		}
		id, ok := l.Lanes.Lane(uint32(number))
		if !ok {
			return storage.ErrCorrupt
		}
		l.tips[id] = clock.Head{Seq: seq, Hash: clock.Hash(b[:32])}
		b = b[32:]
	}
	return nil
}

func (l *Log) appendTips(b []byte) []byte {
	b = binary.AppendUvarint(b, l.ordinal)
	b = binary.AppendUvarint(b, l.entries)
	b = binary.AppendUvarint(b, uint64(len(l.tips)))
	for _, t := range l.Tips() {
		b = binary.AppendUvarint(b, uint64(l.Lanes.Number(t.Lane)))
		b = binary.AppendUvarint(b, t.Head.Seq)
		b = append(b, t.Head.Hash[:]...)
	}
	return b
}

// Vector returns what is admitted. It is the log's own: read it, do not keep it.
func (l *Log) Vector() *clock.Vector { return &l.vector }

// Root returns a digest of the vector and of the closed lanes: two logs with
// equal roots hold the same.
func (l *Log) Root() digest.Sum { return l.vector.Root().Plus(l.closings) }

// Ordinal returns the ordinal of the newest admitted entry, 0 for an empty log.
func (l *Log) Ordinal() uint64 { return l.ordinal }

// Entries returns how many raw entries the log holds.
func (l *Log) Entries() uint64 { return l.entries }

// Tips returns the tips in lane order.
func (l *Log) Tips() []clock.LaneHead {
	out := make([]clock.LaneHead, 0, len(l.tips))
	for id, h := range l.tips {
		out = append(out, clock.LaneHead{Lane: id, Head: h})
	}
	slices.SortFunc(out, func(a, b clock.LaneHead) int { return a.Lane.Compare(b.Lane) })
	return out
}

// Deps returns the deps of an entry that the lane's author writes now: the
// tips of the other lanes.
func (l *Log) Deps(own clock.LaneID) []delta.Dep {
	var deps []delta.Dep
	for _, t := range l.Tips() {
		if t.Lane == own {
			continue
		}
		d := delta.Dep{EntryID: clock.EntryID{Lane: t.Lane, Seq: t.Head.Seq}}
		copy(d.Hash[:], t.Head.Hash[:])
		deps = append(deps, d)
	}
	return deps
}

// AddLane makes a lane known. It is written with the next Flush that concerns
// the lane.
func (l *Log) AddLane(key delta.LaneKey) clock.LaneID {
	id := key.ID(l.space)
	if _, ok := l.lanes[id]; !ok {
		l.lanes[id] = &laneState{number: l.Lanes.add(id, key)}
		l.dirty[id] = true // numbers must be consecutive on disk
	}
	return id
}

// SignedHead returns the newest verified signed head of a lane.
func (l *Log) SignedHead(id clock.LaneID) (delta.SignedHead, bool) {
	s, ok := l.lanes[id]
	if !ok || s.signed.Seq == 0 {
		return delta.SignedHead{}, false
	}
	return s.signed, true
}

// HashAt returns the hash of an entry that is held: the head's, or what its
// successor names.
func (l *Log) HashAt(id clock.EntryID) (clock.Hash, error) {
	switch head := l.vector.Head(id.Lane); {
	case id.Seq == 0:
		return clock.Hash{}, nil
	case id.Seq == head.Seq:
		return head.Hash, nil
	case id.Seq > head.Seq:
		return clock.Hash{}, fmt.Errorf("%v: %w", id, ErrNotFound)
	}
	next, err := l.Record(l.db, clock.EntryID{Lane: id.Lane, Seq: id.Seq + 1})
	return next.Prev, err
}

// met reports whether an entry counts as applied for those that name it.
func (l *Log) met(id clock.EntryID) bool {
	held := l.vector.Seq(id.Lane)
	if id.Seq <= held {
		return true
	}
	s := l.lanes[id.Lane]
	return s != nil && s.closed > 0 && id.Seq >= s.closed && held >= s.closed-1
}

// Append admits an entry that Check called Ready and writes it to the batch.
func (l *Log) Append(b storage.Batch, e *delta.Entry) error {
	s := l.lanes[e.Lane]
	if s == nil || !l.vector.Advance(e.Lane, clock.Head{Seq: e.Seq, Hash: e.Hash}) {
		return fmt.Errorf("append %v after %d: not the next of its lane", e.ID(), l.vector.Seq(e.Lane))
	}
	if len(e.Sig) > 0 {
		s.signed = delta.SignedHead{Header: e.Header, Sig: e.Sig}
	}
	l.dirty[e.Lane] = true
	l.ordinal++
	l.entries++
	l.extendRun(s.number, e.Seq)
	for i := range e.Body.Deps {
		if d := e.Body.Deps[i].EntryID; l.tips[d.Lane].Seq <= d.Seq {
			delete(l.tips, d.Lane)
		}
	}
	l.tips[e.Lane] = clock.Head{Seq: e.Seq, Hash: e.Hash}
	b.Set(l.entryKey(kindEntry, s.number, e.Seq), appendRecord(nil, e, l.ordinal))
	return nil
}

func (l *Log) extendRun(number uint32, seq uint64) {
	if l.open.count > 0 && l.open.number == number && l.open.first+l.open.count == seq {
		l.open.count++
		return
	}
	if l.open.count == 0 {
		l.firstOfRun = l.ordinal
	}
	l.closeRun()
	l.open = openRun{number, seq, 1}
}

func (l *Log) closeRun() {
	if l.open.count > 0 {
		l.runs = binary.AppendUvarint(l.runs, uint64(l.open.number))
		l.runs = binary.AppendUvarint(l.runs, l.open.first)
		l.runs = binary.AppendUvarint(l.runs, l.open.count)
		l.open = openRun{}
	}
}

// Flush writes what belongs to the batch as a whole: the order of its entries,
// the lanes that moved, the tips.
func (l *Log) Flush(b storage.Batch) {
	l.closeRun()
	if len(l.runs) > 0 {
		b.Set(l.orderKey(l.firstOfRun), l.runs)
		l.runs = nil
	}
	if len(l.dirty) == 0 {
		return
	}
	for _, id := range slices.SortedFunc(maps.Keys(l.dirty), clock.LaneID.Compare) {
		s := l.lanes[id]
		b.Set(l.laneKey(kindLane, s.number), l.appendLane(nil, id, s))
	}
	clear(l.dirty)
	b.Set(l.key(kindTips), l.appendTips(nil))
}
