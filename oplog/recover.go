package oplog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// Open reads the log of a space from a store. The rows that say where the log
// stands are small and everything rests on them, so they are held against each
// other and against the entries that they name: one that is wrong is
// storage.ErrCorrupt, not a head that others will call a fork.
func Open(db storage.DB, prefix []byte, space clock.Hash) (*Log, error) {
	l := &Log{
		Store: &Store{prefix: bytes.Clone(prefix), space: space, Lanes: new(Lanes)},
		db:    db,
		lanes: make(map[clock.LaneID]*laneState),
		tips:  make(map[clock.LaneID]clock.Head),
		dirty: make(map[clock.LaneID]bool),
	}
	for _, read := range []func() error{l.readLanes, l.readFloors, l.readProofs, l.checkLanes, l.readTips, l.checkOrder, l.readMarks} {
		if err := read(); err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
	}
	return l, nil
}

// scan calls f with the lane number and the value of each row of a kind.
func (l *Log) scan(kind byte, f func(number uint32, value []byte) error) error {
	lo := l.key(kind)
	for kv, err := range l.db.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return fmt.Errorf("scan %q: %w", kind, err)
		}
		if len(kv.Key) != len(lo)+4 {
			return fmt.Errorf("key %x: %w", kv.Key, storage.ErrCorrupt)
		}
		number := binary.BigEndian.Uint32(kv.Key[len(lo):])
		if err := f(number, kv.Value); err != nil {
			return fmt.Errorf("lane %d: %w", number, err)
		}
	}
	return nil
}

func (l *Log) readLanes() error { return l.scan(kindLane, l.readLane) }

// The stored form of a lane: author (32) | incarnation (16) | closed, head seq
// (uvarints) | head hash (32) | signed head: seq (uvarint), prev (32), hlc
// (uvarint), body hash (32), signature (64). The signed seq is 0 where there
// is no signed head.
func (l *Log) appendLane(b []byte, id clock.LaneID, s *laneState) []byte {
	key, _ := l.Lanes.Key(id)
	head := l.vector.Head(id)
	b = append(b, key.Author[:]...)
	b = append(b, key.Incarnation[:]...)
	b = appendUvarint(b, s.closed)
	b = appendUvarint(b, head.Seq)
	b = append(b, head.Hash[:]...)
	b = appendUvarint(b, s.signed.Seq)
	if s.signed.Seq == 0 {
		return b
	}
	b = append(b, s.signed.Prev[:]...)
	b = appendUvarint(b, uint64(s.signed.Time))
	b = append(b, s.signed.Body[:]...)
	return append(b, s.signed.Sig...)
}

// The stored form of a lane's floor: a checksum, then floor, horizon, local
// (uvarints). There is no row where they are all 0.
func appendFloor(b []byte, s *laneState) []byte {
	return appendSummed(b, appendUvarint(appendUvarint(appendUvarint(nil, s.floor), s.horizon), s.local))
}

func (l *Log) readFloors() error {
	return l.scan(kindFloor, func(number uint32, b []byte) error {
		id, ok := l.Lanes.Lane(number)
		if !ok {
			return fmt.Errorf("floor of an unknown lane: %w", storage.ErrCorrupt)
		}
		s, r := l.lanes[id], summed(b)
		s.floor, s.horizon, s.local = r.uvarint(), r.uvarint(), r.uvarint()
		head := l.vector.Seq(id)
		if r.bad || len(r.b) > 0 || s.floor > s.horizon || s.horizon > head || s.local > s.floor {
			return fmt.Errorf("head %d, horizon %d, floor %d: %w", head, s.horizon, s.floor, storage.ErrCorrupt)
		}
		return nil
	})
}

// appendSummed appends a row with a checksum in front: CRC-32 (Castagnoli).
func appendSummed(b, row []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, crc32.Checksum(row, castagnoli)), row...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// summed returns a reader of what appendSummed wrote, a bad one where the
// checksum does not hold.
func summed(b []byte) rowReader {
	if len(b) < 4 || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return rowReader{bad: true}
	}
	return rowReader{b: b[4:]}
}

func (l *Log) readLane(number uint32, b []byte) error {
	r := rowReader{b: b}
	var key delta.LaneKey
	r.fixed(key.Author[:])
	r.fixed(key.Incarnation[:])
	id := key.ID(l.space)
	h := delta.Header{Space: l.space, Lane: id}
	closed := r.uvarint()
	head := clock.Head{Seq: r.uvarint()}
	r.fixed(head.Hash[:])
	if h.Seq = r.uvarint(); h.Seq > 0 {
		r.fixed(h.Prev[:])
		h.Time = clock.Timestamp(r.uvarint())
		r.fixed(h.Body[:])
	}
	s := &laneState{number: number, closed: closed}
	if h.Seq > 0 {
		s.signed = delta.SignedHead{Header: h, Sig: make([]byte, delta.SigSize)}
		r.fixed(s.signed.Sig)
	}
	switch {
	case r.bad || len(r.b) > 0:
		return fmt.Errorf("row of %d bytes: %w", len(b), storage.ErrCorrupt)
	case head.Seq > clock.MaxSeq || h.Seq > head.Seq || closed > 0 && head.Seq >= closed,
		head.Seq == 0 && head.Hash != (clock.Hash{}):
		return fmt.Errorf("head %d, signed %d, closed %d: %w", head.Seq, h.Seq, closed, storage.ErrCorrupt)
	case l.Lanes.add(id, key) != number:
		return fmt.Errorf("numbers are not consecutive: %w", storage.ErrCorrupt)
	}
	l.lanes[id] = s
	l.vector.Set(id, head)
	return nil
}

// readProofs finds the closed lanes. A lane is closed where, and only where,
// there is a proof.
func (l *Log) readProofs() error {
	return l.scan(kindProof, func(number uint32, b []byte) error {
		id, ok := l.Lanes.Lane(number)
		if !ok {
			return fmt.Errorf("proof of an unknown lane: %w", storage.ErrCorrupt)
		}
		p, err := ParseProof(b)
		if err == nil {
			err = p.Verify(l.space)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
		}
		s := l.lanes[id]
		if p.Lane() != id || p.Seq() != s.closed {
			return fmt.Errorf("closed at %d, proved at %v: %w", s.closed, p.A.Headers[0].ID(), storage.ErrCorrupt)
		}
		l.noteClosed(id, s, p)
		return nil
	})
}

func (l *Log) checkLanes() error {
	closed := 0
	for n := uint32(1); ; n++ {
		id, ok := l.Lanes.Lane(n)
		if !ok {
			break
		}
		s := l.lanes[id]
		if s.closed > 0 {
			closed++
		}
		if err := l.checkHead(id, s); err != nil {
			return fmt.Errorf("lane %d: %w", n, err)
		}
	}
	if closed != l.closed {
		return fmt.Errorf("%d closed lanes and %d proofs: %w", closed, l.closed, storage.ErrCorrupt)
	}
	return nil
}

// checkHead holds a lane's head to the entry that it names, and the signed head
// likewise. Where that entry is no longer held, the author's signature or the
// proof has to vouch for it.
func (l *Log) checkHead(id clock.LaneID, s *laneState) error {
	head := l.vector.Head(id)
	for _, c := range []struct {
		seq  uint64
		held bool
	}{{s.floor, false}, {s.floor + 1, true}, {head.Seq, true}, {head.Seq + 1, false}} {
		if c.seq == 0 || c.held && s.floor == head.Seq {
			continue
		}
		r, err := l.Record(l.db, clock.EntryID{Lane: id, Seq: c.seq})
		switch {
		case err != nil && !errors.Is(err, ErrNotFound):
			return err
		case err == nil && !c.held:
			return fmt.Errorf("an entry %d, the head is %d and the floor %d: %w", c.seq, head.Seq, s.floor, storage.ErrCorrupt)
		case err == nil && c.seq == head.Seq && delta.HashHeader(&r.Header) != head.Hash:
			return fmt.Errorf("the head %d is not the entry: %w", head.Seq, storage.ErrCorrupt)
		case err != nil && c.held:
			return fmt.Errorf("entry %d is lost, of %d to %d: %w", c.seq, s.floor+1, head.Seq, storage.ErrCorrupt)
		}
	}
	if s.floor > 0 && s.floor == head.Seq && !l.vouches(id, s, head) {
		return fmt.Errorf("nothing vouches for the head %d: %w", head.Seq, storage.ErrCorrupt)
	}
	return l.checkSigned(id, s)
}

func (l *Log) vouches(id clock.LaneID, s *laneState, head clock.Head) bool {
	return s.signed.Seq == head.Seq && delta.HashHeader(&s.signed.Header) == head.Hash ||
		l.Vouched(clock.EntryID{Lane: id, Seq: head.Seq}, head.Hash)
}

func (l *Log) checkSigned(id clock.LaneID, s *laneState) error {
	if s.signed.Seq == 0 {
		return nil
	}
	r, err := l.Record(l.db, s.signed.ID())
	if errors.Is(err, ErrNotFound) {
		key, _ := l.Lanes.Key(id)
		if err := delta.Verify(key, &s.signed.Header, s.signed.Sig); err != nil {
			return fmt.Errorf("signed head: %w: %w", storage.ErrCorrupt, err)
		}
		return nil
	}
	if err == nil && (r.Header != s.signed.Header || !bytes.Equal(r.Sig, s.signed.Sig)) {
		err = fmt.Errorf("the signed head %d is not the entry: %w", s.signed.Seq, storage.ErrCorrupt)
	}
	return err
}

// The stored form of the tips: 80 00, a number in a form that is not the
// shortest, so that no row of version 1 begins so | checksum of the rest (4)
// | history, bytes, dropped, ordinal, entries, count (uvarints) | for each tip,
// in lane order: lane number, seq (uvarints), hash (32).
var tipsHead = []byte{0x80, 0x00}

func (l *Log) appendTips(b []byte) []byte {
	var row []byte
	for _, n := range []uint64{l.history, l.bytes, l.dropped, l.ordinal, l.entries, uint64(len(l.tips))} {
		row = appendUvarint(row, n)
	}
	for _, t := range l.Tips() {
		row = appendUvarint(row, uint64(l.Lanes.Number(t.Lane)))
		row = appendUvarint(row, t.Head.Seq)
		row = append(row, t.Head.Hash[:]...)
	}
	return appendSummed(append(b, tipsHead...), row)
}

func (l *Log) readTips() error {
	b, err := l.db.Get(l.key(kindTips))
	if errors.Is(err, storage.ErrNotFound) && l.Lanes.len() == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("tips: %w", noRow(err))
	}
	r := rowReader{b: b}
	if rest, ok := bytes.CutPrefix(b, tipsHead); ok {
		r = summed(rest)
		l.history, l.bytes, l.dropped = r.uvarint(), r.uvarint(), r.uvarint()
	}
	l.ordinal, l.entries = r.uvarint(), r.uvarint()
	var last clock.LaneID
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		number := r.uvarint()
		t := clock.Head{Seq: r.uvarint()}
		r.fixed(t.Hash[:])
		id, ok := l.Lanes.numbered(number)
		if !ok || r.bad || len(l.tips) > 0 && last.Compare(id) >= 0 {
			r.bad = true
			break
		}
		l.tips[id], last = t, id
		if err := l.checkTip(clock.EntryID{Lane: id, Seq: t.Seq}, t.Hash); err != nil {
			return err
		}
	}
	var held uint64
	for id, s := range l.lanes {
		held += l.vector.Seq(id) - s.floor
	}
	if r.bad || len(r.b) > 0 || l.entries != held || l.history > l.ordinal {
		return fmt.Errorf("tips: %w", storage.ErrCorrupt)
	}
	return nil
}

// checkTip holds a tip to the entry that it names, where that is still held.
func (l *Log) checkTip(id clock.EntryID, h clock.Hash) error {
	held, err := l.HashAt(id)
	if errors.Is(err, ErrNotFound) && l.vector.Covers(id) {
		return nil
	}
	if errors.Is(err, ErrNotFound) || err == nil && (id.Seq == 0 || held != h) {
		return fmt.Errorf("tip %v is not the entry: %w", id, storage.ErrCorrupt)
	}
	return err
}

// checkOrder holds the ordinal to the last order row, or to the end of the
// history where that is later: a lower one would overwrite rows.
func (l *Log) checkOrder() error {
	lo := l.orderKey(0)
	last := l.history
	for kv, err := range l.db.ScanReverse(lo, storage.PrefixEnd(l.key(kindOrder))) {
		if err != nil {
			return fmt.Errorf("scan order: %w", err)
		}
		next, err := l.orderOf(kv.Key)
		for b := kv.Value; err == nil && len(b) > 0; {
			var run Run
			if run, b, err = l.parseRun(b, next); err == nil {
				next += run.Count
			}
		}
		if err != nil {
			return err
		}
		last = max(last, next-1)
		break
	}
	if last != l.ordinal {
		return fmt.Errorf("the order ends at %d, the log at %d: %w", last, l.ordinal, storage.ErrCorrupt)
	}
	return nil
}

// noRow says of a row that must be there that it is lost.
func noRow(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	return err
}

// A rowReader reads the fields of a row. Once bad, it stays so.
type rowReader struct {
	b   []byte
	bad bool
}

func (r *rowReader) uvarint() uint64 {
	n, rest, ok := cutUvarint(r.b)
	if r.bad = r.bad || !ok; r.bad {
		return 0
	}
	r.b = rest
	return n
}

func (r *rowReader) fixed(dst []byte) {
	if r.bad = r.bad || len(r.b) < len(dst); !r.bad {
		r.b = r.b[copy(dst, r.b):]
	}
}
