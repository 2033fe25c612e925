package oplog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/internal/plant"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A lane's floor is the seq up to which its raw entries are dropped. What they
// did stands in the state; the lane's head, its newest signed head and the
// vector go on saying that they were applied. The floor never passes the head,
// and so the hash of the entry at the floor is always known: the next entry
// names it as its prev, or it is the head.
//
// A lane's horizon, at or above its floor, is the seq below which what died is
// no longer kept, so that a read of the past is not exact there. Both rise only,
// but for the closing of the lane.

// Floor returns the seq up to which the raw entries of a lane are dropped.
func (l *Log) Floor(id clock.LaneID) uint64 {
	if s := l.lanes[id]; s != nil {
		return s.floor
	}
	return 0
}

// Floors returns the floors that are above 0, in lane order.
func (l *Log) Floors() []clock.EntryID {
	return l.bounds(func(s *laneState) uint64 { return s.floor })
}

// Horizon returns, in lane order, for each lane the seq below which a read of
// the past is not exact, where that is above 0.
func (l *Log) Horizon() []clock.EntryID {
	return l.bounds(func(s *laneState) uint64 { return s.horizon })
}

// HorizonOf is Horizon of one lane.
func (l *Log) HorizonOf(id clock.LaneID) uint64 {
	if s := l.lanes[id]; s != nil {
		return s.horizon
	}
	return 0
}

func (l *Log) bounds(of func(*laneState) uint64) []clock.EntryID {
	var out []clock.EntryID
	for id, s := range l.lanes {
		if seq := of(s); seq > 0 {
			out = append(out, clock.EntryID{Lane: id, Seq: seq})
		}
	}
	sortIDs(out)
	return out
}

// Below reports whether a replica with this vector lacks entries that are
// dropped here, so that it needs the state.
func (l *Log) Below(v *clock.Vector) bool {
	if l.history == 0 {
		return false // no floor was ever raised
	}
	for id, s := range l.lanes {
		if have := v.Seq(id); have < s.floor && have < l.vector.Seq(id) {
			return true
		}
	}
	return false
}

// History returns the ordinal up to which the order of application is no
// longer complete: what came up to there was dropped, or adopted as state.
func (l *Log) History() uint64 { return l.history }

// LocalTo returns the seq up to which the dropped entries of a lane are known
// to have been written here.
func (l *Log) LocalTo(id clock.LaneID) uint64 {
	if s := l.lanes[id]; s != nil {
		return s.local
	}
	return 0
}

// A Mark is a place in the order of application.
type Mark struct {
	Ordinal uint64 // of the entry that it stands behind
	Time    int64  // when that was applied, in milliseconds since 1970
	Bytes   uint64 // of raw entries up to there, since the log began
}

const (
	// markEntries and markBytes are how far marks are apart at most, where
	// batches allow it: close enough for a policy, few enough to hold in memory.
	markEntries = 1024
	markBytes   = 1 << 20

	// markMillis lets a mark rise over a quiet time too.
	markMillis = 10 * 60_000

	// maxMarks bounds the marks held; past it every second one is forgotten.
	maxMarks = 1 << 14
)

// Marks returns the marks from the history's end on, rising, the last of them at
// the newest entry. They are the log's own: read them, do not keep them.
func (l *Log) Marks() []Mark {
	n := len(l.marks)
	if n > 0 && l.marks[n-1].Ordinal == l.ordinal || l.ordinal == l.history {
		return l.marks
	}
	return append(l.marks[:n:n], Mark{l.ordinal, l.lastTime, l.bytes})
}

// RawBytes is about how many bytes of raw entries are held.
func (l *Log) RawBytes() uint64 { return l.bytes - min(l.bytes, l.dropped) }

// mark writes a mark behind the entries flushed so far, where one is due.
func (l *Log) mark(b storage.Batch, now int64) {
	l.lastTime = now
	last := Mark{Ordinal: l.history, Bytes: l.dropped}
	if n := len(l.marks); n > 0 {
		last = l.marks[n-1]
	}
	if l.ordinal == last.Ordinal || l.ordinal-last.Ordinal < markEntries &&
		l.bytes-min(l.bytes, last.Bytes) < markBytes && len(l.marks) > 0 && now-last.Time < markMillis {
		return
	}
	m := Mark{l.ordinal, now, l.bytes}
	b.Set(l.markKey(m.Ordinal), appendMark(nil, m))
	if l.marks = append(l.marks, m); len(l.marks) > maxMarks {
		kept := l.marks[:0]
		for i, m := range l.marks {
			if i%2 == 1 {
				kept = append(kept, m)
			}
		}
		l.marks = kept
	}
}

func (s *Store) markKey(ordinal uint64) []byte {
	return binary.BigEndian.AppendUint64(s.key(kindMark), ordinal)
}

// The stored form of a mark: checksum, then time in milliseconds, bytes
// (uvarints).
func appendMark(b []byte, m Mark) []byte {
	return appendSummed(b, appendUvarint(appendUvarint(nil, uint64(max(m.Time, 0))), m.Bytes))
}

func (l *Log) readMarks() error {
	lo := l.key(kindMark)
	for kv, err := range l.db.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return fmt.Errorf("scan marks: %w", err)
		}
		if len(kv.Key) != len(lo)+8 {
			return fmt.Errorf("mark %x: %w", kv.Key, storage.ErrCorrupt)
		}
		r := summed(kv.Value)
		m := Mark{Ordinal: binary.BigEndian.Uint64(kv.Key[len(lo):]), Time: int64(r.uvarint()), Bytes: r.uvarint()}
		if r.bad || len(r.b) > 0 || m.Ordinal > l.ordinal || m.Bytes > l.bytes || m.Time < 0 {
			return fmt.Errorf("mark at %d: %w", m.Ordinal, storage.ErrCorrupt)
		}
		l.marks = append(l.marks, m)
		l.lastTime = m.Time
	}
	return nil
}

// CutAt returns, in lane order, the heads of the lanes as they were when the
// entry with an ordinal had been applied, for the lanes whose floor lies below.
// It looks up a few entries a lane, however many there are.
func (l *Log) CutAt(ordinal uint64) ([]clock.LaneHead, error) {
	var cut []clock.LaneHead
	for _, id := range l.vector.Lanes() {
		head, s := l.vector.Head(id), l.lanes[id]
		if ordinal < l.ordinal {
			// Ordinals rise within a lane.
			var failed error
			n := sort.Search(int(head.Seq-s.floor), func(i int) bool {
				if failed != nil {
					return true
				}
				r, err := l.ordinalOf(clock.EntryID{Lane: id, Seq: s.floor + 1 + uint64(i)})
				failed = err
				return r > ordinal
			})
			if failed != nil {
				return nil, fmt.Errorf("cut at %d: %w", ordinal, failed)
			}
			if seq := s.floor + uint64(n); seq < head.Seq {
				h, err := l.HashAt(clock.EntryID{Lane: id, Seq: seq})
				if err != nil {
					return nil, fmt.Errorf("cut at %d: %w", ordinal, err)
				}
				head = clock.Head{Seq: seq, Hash: h}
			}
		}
		if head.Seq > s.floor {
			cut = append(cut, clock.LaneHead{Lane: id, Head: head})
		}
	}
	return cut, nil
}

// FirstAfter returns the ordinal of the first entry of a lane above a seq and
// after an ordinal, 0 where there is none.
func (l *Log) FirstAfter(id clock.LaneID, seq, ordinal uint64) (found uint64, err error) {
	head, from := l.vector.Seq(id), max(seq, l.Floor(id))
	if from >= head {
		return 0, nil
	}
	sort.Search(int(head-from), func(i int) bool {
		o, e := l.ordinalOf(clock.EntryID{Lane: id, Seq: from + 1 + uint64(i)})
		if e != nil {
			err = e
		}
		if e == nil && o > ordinal {
			found = o // the lowest such place is looked at last
			return true
		}
		return false
	})
	return found, err
}

func (l *Log) ordinalOf(id clock.EntryID) (uint64, error) {
	b, err := l.get(l.db, kindEntry, id)
	if err != nil {
		return 0, err
	}
	r, err := l.cutRecord(id, b)
	return r.Ordinal, err
}

// TimeOf returns the time of an entry that is held, or whose header is.
func (l *Log) TimeOf(id clock.EntryID) (clock.Timestamp, error) {
	if s := l.lanes[id.Lane]; s != nil && s.signed.Seq == id.Seq {
		return s.signed.Time, nil
	}
	b, err := l.get(l.db, kindEntry, id)
	if errors.Is(err, ErrNotFound) {
		return 0, nil // below a floor, whose time is known
	}
	if err != nil {
		return 0, err
	}
	r, err := l.cutRecord(id, b)
	return r.Time, err
}

// BytesAt says about how many bytes of raw entries there are up to an ordinal,
// since the log began.
func (l *Log) BytesAt(ordinal uint64) uint64 {
	marks := l.Marks()
	i, _ := slices.BinarySearchFunc(marks, ordinal, func(m Mark, o uint64) int {
		if m.Ordinal < o {
			return -1
		}
		return 1
	})
	below := Mark{Ordinal: l.history, Bytes: l.dropped}
	if i > 0 {
		below = marks[i-1]
	}
	if i == len(marks) {
		return max(below.Bytes, l.dropped)
	}
	above := marks[i]
	if above.Ordinal <= below.Ordinal || above.Bytes < below.Bytes {
		return above.Bytes
	}
	part := float64(min(ordinal, above.Ordinal)-min(ordinal, below.Ordinal)) / float64(above.Ordinal-below.Ordinal)
	return below.Bytes + uint64(part*float64(above.Bytes-below.Bytes))
}

// Truncate drops the raw entries of a cut that CutAt returned for an ordinal,
// and raises floors and horizon to it. All entries must be flushed. It costs a
// few writes a lane, however many entries go, and returns their number.
//
// Whoever calls it has recorded a checkpoint before, from which it can be done
// again: in the store, batches become durable in order.
func (l *Log) Truncate(b storage.Batch, cut []clock.LaneHead, ordinal uint64) (dropped uint64, err error) {
	for _, c := range cut {
		s := l.lanes[c.Lane]
		if s == nil || len(s.fresh) > 0 || c.Head.Seq > l.vector.Seq(c.Lane) {
			return 0, fmt.Errorf("truncate lane %v to %d: not a cut of this log", c.Lane, c.Head.Seq)
		}
		if c.Head.Seq <= s.floor {
			continue // by an earlier attempt
		}
		if err := l.noteLocal(c, s); err != nil {
			return 0, err
		}
		dropped += c.Head.Seq - s.floor
		l.raiseFloor(b, c.Lane, s, c.Head.Seq)
		if err := l.dropKept(b, c.Lane, s, ordinal); err != nil {
			return 0, err
		}
	}
	bytes := l.BytesAt(ordinal)
	l.entries -= min(l.entries, dropped)
	l.dropped = max(l.dropped, bytes)
	return dropped, l.endHistory(b, ordinal)
}

// raiseFloor drops the raw entries of a lane up to a seq.
func (l *Log) raiseFloor(b storage.Batch, id clock.LaneID, s *laneState, seq uint64) {
	b.DeleteRange(l.entryKey(kindEntry, s.number, s.floor), l.entryKey(kindEntry, s.number, seq+1))
	s.floor = seq
	s.horizon = max(s.horizon, seq)
	l.dirty[id] = true
	if s.closed > 0 && s.floor+1 >= s.closed {
		l.Settle(id)
	}
}

// noteLocal remembers, of entries that go, whether they were written here: what
// was is written again where its lane forked below.
func (l *Log) noteLocal(c clock.LaneHead, s *laneState) error {
	b, err := l.get(l.db, kindEntry, clock.EntryID{Lane: c.Lane, Seq: c.Head.Seq})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := l.cutRecord(clock.EntryID{Lane: c.Lane, Seq: c.Head.Seq}, b)
	if err == nil && r.Local {
		s.local = c.Head.Seq
	}
	return err
}

// dropKept drops what the closing of a lane set aside, once all of the lane is
// below the floor and none of it is newer than the ordinal.
func (l *Log) dropKept(b storage.Batch, id clock.LaneID, s *laneState, ordinal uint64) error {
	if s.closed == 0 || s.floor < l.vector.Seq(id) {
		return nil
	}
	lo := l.laneKey(kindKept, s.number)
	for kv, err := range l.db.ScanReverse(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return fmt.Errorf("drop what lane %v kept: %w", id, err)
		}
		seq := binary.BigEndian.Uint64(kv.Key[len(kv.Key)-8:])
		r, err := l.cutRecord(clock.EntryID{Lane: id, Seq: seq}, kv.Value)
		if err != nil || r.Ordinal > ordinal {
			return err
		}
		b.DeleteRange(lo, storage.PrefixEnd(lo))
		s.keptTo = clock.Head{}
		break
	}
	return nil
}

// endHistory drops the order of application up to an ordinal. The row that goes
// on past it stays.
func (l *Log) endHistory(b storage.Batch, ordinal uint64) error {
	if ordinal < l.history {
		return nil
	}
	lo, hi := l.orderKey(0), l.orderKey(ordinal+1)
	if ordinal < l.ordinal {
		for kv, err := range l.db.ScanReverse(lo, l.orderKey(ordinal+2)) {
			if err != nil {
				return fmt.Errorf("scan order: %w", err)
			}
			hi = append([]byte(nil), kv.Key...) // it holds the next entry
			break
		}
	}
	b.DeleteRange(lo, hi)
	b.DeleteRange(l.markKey(0), l.markKey(ordinal+1))
	l.marks = slices.DeleteFunc(l.marks, func(m Mark) bool { return m.Ordinal <= ordinal })
	l.history = ordinal
	l.tipsDirty = true
	return nil
}

// A Jump is a lane as another replica's state has it: its key, its head, and
// the signature that vouches for it, which a closed lane may lack.
type Jump struct {
	Key    delta.LaneKey
	Head   clock.Head
	Signed delta.SignedHead
}

// CheckJump checks that the header of a lane's head is the one that is said to
// be signed. Vouched says that the proof which closed the lane names it;
// otherwise the signature is still to be verified.
func (l *Log) CheckJump(j *Jump) (vouched bool, err error) {
	id := j.Key.ID(l.space)
	if l.Vouched(clock.EntryID{Lane: id, Seq: j.Head.Seq}, j.Head.Hash) {
		return true, nil
	}
	h := &j.Signed.Header
	if h.Space != l.space || h.Lane != id || h.Seq != j.Head.Seq || delta.HashHeader(h) != j.Head.Hash {
		return false, fmt.Errorf("%w: head %v:%d is not the one that was signed", delta.ErrMalformed, id, j.Head.Seq)
	}
	return false, nil
}

// Adopt takes over a state's vector: jumps are the lanes that it has further,
// checked, and tips and covers are the other replica's. All entries must be
// flushed. A lane that jumps loses its raw entries, for they would have a gap.
//
// The tips of both join as survivors do: one that the other side has applied
// and does not list was named by some entry there.
func (l *Log) Adopt(b storage.Batch, jumps []Jump, tips []clock.LaneHead, covers func(clock.EntryID) bool, now int64) error {
	was := l.vector.Clone()
	theirTips := make(map[clock.LaneID]clock.Head, len(tips))
	for _, t := range tips {
		theirTips[t.Lane] = t.Head
	}
	for id, t := range l.tips {
		if covers(clock.EntryID{Lane: id, Seq: t.Seq}) && theirTips[id].Seq != t.Seq {
			delete(l.tips, id)
		}
	}
	var dropped uint64
	for i := range jumps {
		j := &jumps[i]
		id := l.AddLane(j.Key)
		s := l.lanes[id]
		if len(s.fresh) > 0 || j.Head.Seq <= l.vector.Seq(id) || s.closed > 0 && j.Head.Seq >= s.closed {
			return fmt.Errorf("adopt %v:%d: the lane stands at %d", id, j.Head.Seq, was.Seq(id))
		}
		dropped += l.vector.Seq(id) - s.floor
		l.vector.Set(id, j.Head)
		if len(j.Signed.Sig) > 0 && !plant.Is(plant.HeadUnsigned) {
			s.signed = delta.SignedHead{Header: j.Signed.Header, Sig: append([]byte(nil), j.Signed.Sig...)}
		}
		if !plant.Is(plant.FloorStays) {
			l.raiseFloor(b, id, s, j.Head.Seq)
		}
		delete(l.tips, id)
	}
	for id, t := range theirTips {
		if t.Seq > was.Seq(id) && l.vector.Head(id) == t && !plant.Is(plant.TipsStay) {
			l.tips[id] = t
		}
	}
	if l.entries > 0 {
		l.dropped += uint64(float64(l.RawBytes()) * float64(dropped) / float64(l.entries))
	}
	l.entries -= min(l.entries, dropped)
	// The adoption takes an ordinal of its own: whoever follows the log sees
	// that something came between.
	l.ordinal++
	l.history = l.ordinal
	l.tipsDirty = true
	b.DeleteRange(l.markKey(0), l.markKey(l.ordinal))
	l.marks = []Mark{{l.ordinal, now, l.bytes}}
	b.Set(l.markKey(l.ordinal), appendMark(nil, l.marks[0]))
	return nil
}

// DropLane drops the raw entries of a closed lane, some of which are no part of
// the state any more, so that nobody is served them.
func (l *Log) DropLane(b storage.Batch, id clock.LaneID) {
	s := l.lanes[id]
	head := l.vector.Seq(id)
	l.entries -= head - s.floor
	l.raiseFloor(b, id, s, head)
	l.history = max(l.history, 1)
	l.tipsDirty = true
}

// Forsake takes a lane back below a seq, without a proof: its author alone
// knows that what it wrote from there on is not what others have. In the same
// batch, Adopt must take the lane on.
func (l *Log) Forsake(b storage.Batch, id clock.LaneID, at uint64) error {
	s := l.lanes[id]
	head := l.vector.Seq(id)
	if s == nil || len(s.fresh) > 0 || at == 0 || head < at {
		return fmt.Errorf("forsake %v:%d: the lane stands at %d", id, at, head)
	}
	b.DeleteRange(l.entryKey(kindEntry, s.number, at), l.entryKey(kindEntry, s.number, head+1))
	l.entries -= head - max(s.floor, at-1)
	s.floor, s.horizon, s.local = min(s.floor, at-1), min(s.horizon, at-1), min(s.local, at-1)
	l.vector.Set(id, clock.Head{Seq: at - 1})
	if l.tips[id].Seq >= at {
		delete(l.tips, id)
	}
	l.dirty[id] = true
	l.restoreTips()
	return nil
}

// RaiseHorizon lets nothing below the vector be read as of the past.
func (l *Log) RaiseHorizon() {
	for id, s := range l.lanes {
		if seq := l.vector.Seq(id); s.horizon < seq {
			s.horizon = seq
			l.dirty[id] = true
		}
	}
}
