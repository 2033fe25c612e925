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
//	'a' | ordinal (8)     ->  mark: when that was applied, and bytes up to there
//	'e' | n | seq (8)     ->  entry (see appendRecord)
//	'f' | n               ->  floor of a lane that has one
//	'l' | n               ->  lane: key, close, head, newest signed head
//	'o' | ordinal (8)     ->  runs, in the order of application
//	'p' | n               ->  fork proof of a closed lane
//	't'                   ->  ordinal, entries, tips, where the history begins
//	'x' | n | seq (8)     ->  entry that a closing keeps out of the state
//
// # Forks
//
// A lane whose author signed two entries under one seq s is closed at s by a
// Proof: its entries from s on leave the log's order and are kept under 'x',
// its head goes back to s − 1, and deps and kills that name it at or above s
// count as met once it is applied up to s − 1.
//
// # Floors
//
// Raw entries may be dropped from the start of each lane up to its floor. The
// lane's head and its signature stay, and so does the vector: what is dropped
// stays applied. A state that is adopted from a peer raises floors likewise.
//
// A Log has one owner; a Store, for reading, has none and is safe to share.
package oplog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
	"github.com/rhizome-p2p/rhizome/internal/plant"
	"github.com/rhizome-p2p/rhizome/storage"
)

const kindTips = 't'

// A Log is the mutable half: what has been admitted, and what waits. A batch
// that was given to Flush must be applied before the log is used again, and
// after an error of Append or Close, or of the store, the log must be opened
// anew: memory and disk may disagree.
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
	// split are the closed lanes that forked further down than anybody can prove.
	split []clock.LaneID

	// tips are the admitted entries that no admitted entry names: at most one a
	// lane. After a closing some may be superfluous, none is missing: every
	// admitted entry is in the past of a tip, where a dep on a closed lane
	// stands for the lane's last entry.
	tips map[clock.LaneID]clock.Head

	ordinal uint64 // of the newest admitted entry, or of an adoption
	entries uint64 // raw entries held

	// history is the ordinal up to which the order of application has gaps.
	history uint64
	// bytes counts those of all raw entries since the log began, and dropped
	// those of them that went; marks are places in between, all above history.
	bytes, dropped uint64
	marks          []Mark
	lastTime       int64 // of the newest flush with entries

	Pending Pending

	// Verifier verifies signatures; nil is delta.Verify.
	Verifier delta.Verifier

	// What Flush has yet to write.
	dirty      map[clock.LaneID]bool
	tipsDirty  bool
	runs       []byte
	firstOfRun uint64 // the ordinal of the first entry in runs or open
	open       openRun

	scratch []byte // a row on its way into a batch, which copies it
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
	// forkedBelow says that these differ: the lane forked further down.
	forkedBelow bool
	signed      delta.SignedHead // its Sig is the log's own memory
	// floor, horizon and local are seqs: see floor.go. floor <= horizon, and
	// floor <= the head's seq.
	floor, horizon, local uint64
	keptTo                clock.Head // the last entry that Keep has set aside
	// fresh are the entries appended since the last Flush, which no reader of
	// the store can see yet. They end at the head.
	fresh []freshEntry
}

type freshEntry struct {
	*delta.Entry
	ordinal uint64
}

// at returns the fresh entry with a seq, or nil.
func (s *laneState) at(seq uint64) *delta.Entry {
	if len(s.fresh) == 0 || seq < s.fresh[0].Seq || seq-s.fresh[0].Seq >= uint64(len(s.fresh)) {
		return nil
	}
	return s.fresh[seq-s.fresh[0].Seq].Entry
}

// Vector returns what is admitted. It is the log's own: read it, do not keep it.
func (l *Log) Vector() *clock.Vector { return &l.vector }

// Root returns a digest of the vector and of the closed lanes: two logs with
// equal roots hold the same.
func (l *Log) Root() digest.Sum { return l.RootOf(&l.vector) }

// RootOf returns the root that a log with another vector has, if the same lanes
// are closed there.
//
// A lane may have forked further down than anybody can prove, where entries were
// dropped: then replicas hold different entries right before the closing, for
// ever. In the root the lesser of the two hashes that the proof names stands for
// both.
func (l *Log) RootOf(v *clock.Vector) digest.Sum { return l.rootOf(v, l.split) }

// HasRoot reports whether a log with a vector, and the same lanes closed, may
// have a root. It may have settled other lanes than this one.
func (l *Log) HasRoot(v *clock.Vector, root digest.Sum) bool {
	if l.RootOf(v) == root {
		return true
	}
	_, ok := l.settledAs(v, root)
	return ok
}

// SettleAs settles what a log with a vector and a root has settled. Where both hold the same branch they never ask each
// other how far down the lane forked: only who has met the other branch knows
// that it cannot be found out.
func (l *Log) SettleAs(v *clock.Vector, root digest.Sum) {
	lanes, _ := l.settledAs(v, root)
	for _, id := range lanes {
		l.Settle(id)
	}
}

// maxSettled bounds the lanes of which it is tried whether another log has
// settled them; more hardly ever fork below a floor.
const maxSettled = 8

// settledAs finds out which lanes a log has settled, by its vector and root.
func (l *Log) settledAs(v *clock.Vector, root digest.Sum) (lanes []clock.LaneID, ok bool) {
	var may []clock.LaneID
	for _, id := range l.ClosedLanes() {
		if l.lanes[id].forkedBelow {
			may = append(may, id)
		}
	}
	if len(may) > maxSettled {
		if l.rootOf(v, may) != root {
			return nil, false
		}
		return may, true
	}
	for some := range uint(1) << len(may) {
		lanes = lanes[:0]
		for i, id := range may {
			if some&(1<<i) != 0 {
				lanes = append(lanes, id)
			}
		}
		if l.rootOf(v, lanes) == root {
			return lanes, true
		}
	}
	return nil, false
}

func (l *Log) rootOf(v *clock.Vector, settled []clock.LaneID) digest.Sum {
	sum := v.Root().Plus(l.closings)
	for _, id := range settled {
		s := l.lanes[id]
		if head := v.Head(id); head.Seq > 0 && head.Seq == s.closed-1 {
			canonical := clock.Head{Seq: head.Seq, Hash: s.closedBy[0]}
			if string(s.closedBy[1][:]) < string(s.closedBy[0][:]) {
				canonical.Hash = s.closedBy[1]
			}
			sum = sum.Minus(clock.Member(id, head)).Plus(clock.Member(id, canonical))
		}
	}
	return sum
}

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

// Verify verifies that a lane's author signed a header.
func (l *Log) Verify(k delta.LaneKey, h *delta.Header, sig []byte) error {
	if l.Verifier != nil {
		return l.Verifier(k, h, sig)
	}
	return delta.Verify(k, h, sig)
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
	h := s.signed
	h.Sig = bytes.Clone(h.Sig) // the log writes over its own
	return h, true
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
	if e := l.lanes[id.Lane].at(id.Seq + 1); e != nil {
		return e.Prev, nil
	}
	next := clock.EntryID{Lane: id.Lane, Seq: id.Seq + 1}
	b, err := l.get(l.db, kindEntry, next)
	if err != nil {
		return clock.Hash{}, err
	}
	r, err := l.cutRecord(next, b)
	return r.Prev, err
}

// Append admits an entry that Check called Ready and writes it to the batch.
// The log keeps the entry until the next Flush.
func (l *Log) Append(b storage.Batch, e *delta.Entry) error {
	s, head := l.lanes[e.Lane], l.vector.Head(e.Lane)
	switch {
	case s == nil:
		return fmt.Errorf("append %v: the lane is unknown", e.ID())
	case e.Seq != head.Seq+1 && !plant.Is(plant.SkipGap),
		e.Prev != head.Hash && !plant.Is(plant.SkipGap) && !plant.Is(plant.SkipPrev):
		return fmt.Errorf("append %v: it does not follow %d, the head of its lane", e.ID(), head.Seq)
	case s.closed > 0 && e.Seq >= s.closed:
		return fmt.Errorf("append %v: the lane is closed from %d on", e.ID(), s.closed)
	case len(e.Sig) != 0 && len(e.Sig) != delta.SigSize:
		return fmt.Errorf("append %v: a signature of %d bytes", e.ID(), len(e.Sig))
	}
	head = clock.Head{Seq: e.Seq, Hash: e.Hash}
	l.vector.Set(e.Lane, head)
	if len(e.Sig) > 0 {
		s.signed = delta.SignedHead{Header: e.Header, Sig: append(s.signed.Sig[:0], e.Sig...)}
	}
	l.dirty[e.Lane] = true
	l.ordinal++
	l.entries++
	s.fresh = append(s.fresh, freshEntry{e, l.ordinal})
	l.extendRun(s.number, e.Seq)
	for i := range e.Body.Deps {
		if d := e.Body.Deps[i].EntryID; l.tips[d.Lane].Seq <= d.Seq {
			delete(l.tips, d.Lane)
		}
	}
	l.tips[e.Lane] = head
	l.scratch = appendRecord(l.scratch[:0], e, l.ordinal)
	l.bytes += uint64(len(l.scratch))
	b.Set(l.entryKey(kindEntry, s.number, e.Seq), l.scratch)
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
// the lanes that moved, the tips. The time is the wall clock's, in
// milliseconds.
func (l *Log) Flush(b storage.Batch, now int64) {
	l.closeRun()
	if len(l.runs) > 0 {
		b.Set(l.orderKey(l.firstOfRun), l.runs)
		l.runs = l.runs[:0]
		l.mark(b, now)
	}
	if len(l.dirty) == 0 && !l.tipsDirty {
		return
	}
	l.tipsDirty = false
	for _, id := range slices.SortedFunc(maps.Keys(l.dirty), clock.LaneID.Compare) {
		s := l.lanes[id]
		l.scratch = l.appendLane(l.scratch[:0], id, s)
		b.Set(l.laneKey(kindLane, s.number), l.scratch)
		if s.horizon > 0 {
			b.Set(l.laneKey(kindFloor, s.number), appendFloor(nil, s))
		}
		clear(s.fresh) // let the entries go
		s.fresh = s.fresh[:0]
	}
	clear(l.dirty)
	l.scratch = l.appendTips(l.scratch[:0])
	b.Set(l.key(kindTips), l.scratch)
}

// DB returns the store that the log lies in.
func (l *Log) DB() storage.DB { return l.db }

// Space returns the space's id.
func (s *Store) Space() clock.Hash { return s.space }
