package oplog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A Store knows where the log of one space lies. Its methods read from
// whatever reader they are given, the newest state or a snapshot, and may be
// called from anywhere.
type Store struct {
	prefix []byte
	space  clock.Hash
	Lanes  *Lanes
}

// ErrNotFound reports an entry that is not held.
var ErrNotFound = errors.New("oplog: entry not held")

// A Record is an entry as the log holds it.
type Record struct {
	delta.Header
	Ordinal uint64
	Sig     []byte // empty where a later signature vouches
	Raw     []byte // the body block
}

// Entry decodes the record.
func (r *Record) Entry() (*delta.Entry, error) {
	return delta.ParseEntry(r.Header, r.Raw, r.Sig)
}

// The stored form of an entry. The body's hash is computed on reading, and so
// corruption shows as a broken chain even where checksums do not catch it.
//
//	flags (1; bit 0: signed, bit 1: has prev) | ordinal, hlc (uvarints)
//	| prev (32) | signature (64) | body block
const (
	flagSigned = 1 << iota
	flagPrev
)

func appendRecord(b []byte, e *delta.Entry, ordinal uint64) []byte {
	var flags byte
	if len(e.Sig) > 0 {
		flags |= flagSigned
	}
	if e.Seq > 1 {
		flags |= flagPrev
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, ordinal)
	b = binary.AppendUvarint(b, uint64(e.Time))
	if flags&flagPrev != 0 {
		b = append(b, e.Prev[:]...)
	}
	b = append(b, e.Sig...)
	return append(b, e.Raw...)
}

func (s *Store) parseRecord(id clock.EntryID, b []byte) (r Record, err error) {
	bad := fmt.Errorf("entry %v: %w", id, storage.ErrCorrupt)
	if len(b) == 0 {
		return r, bad
	}
	flags, b := b[0], b[1:]
	r.Header = delta.Header{Space: s.space, Lane: id.Lane, Seq: id.Seq}
	for _, p := range []*uint64{&r.Ordinal, (*uint64)(&r.Time)} {
		v, k := binary.Uvarint(b)
		if k <= 0 {
			return r, bad
		}
		*p, b = v, b[k:]
	}
	if flags&flagPrev != 0 {
		if len(b) < len(r.Prev) {
			return r, bad
		}
		b = b[copy(r.Prev[:], b):]
	}
	if flags&flagSigned != 0 {
		if len(b) < delta.SigSize {
			return r, bad
		}
		r.Sig, b = b[:delta.SigSize:delta.SigSize], b[delta.SigSize:]
	}
	r.Raw = b
	r.Body = hashOf(b)
	return r, nil
}

// Record returns the record of an entry, or ErrNotFound.
func (s *Store) Record(r storage.Reader, id clock.EntryID) (Record, error) {
	return s.record(r, kindEntry, id)
}

// Kept returns the record of an entry that was taken out of the state when its
// lane was closed, or ErrNotFound.
func (s *Store) Kept(r storage.Reader, id clock.EntryID) (Record, error) {
	return s.record(r, kindKept, id)
}

func (s *Store) record(r storage.Reader, kind byte, id clock.EntryID) (Record, error) {
	key, ok := s.numbered(kind, id)
	if !ok {
		return Record{}, fmt.Errorf("%v: %w", id, ErrNotFound)
	}
	b, err := r.Get(key)
	if errors.Is(err, storage.ErrNotFound) {
		return Record{}, fmt.Errorf("%v: %w", id, ErrNotFound)
	}
	if err != nil {
		return Record{}, fmt.Errorf("read entry %v: %w", id, err)
	}
	return s.parseRecord(id, b)
}

// Lane yields the records of a lane from a seq on. The records are valid until
// the next step.
func (s *Store) Lane(r storage.Reader, l clock.LaneID, from uint64) iter.Seq2[Record, error] {
	return s.lane(r, kindEntry, l, from)
}

// KeptLane yields the records that the closing of a lane took out of the state.
func (s *Store) KeptLane(r storage.Reader, l clock.LaneID) iter.Seq2[Record, error] {
	return s.lane(r, kindKept, l, 0)
}

func (s *Store) lane(r storage.Reader, kind byte, l clock.LaneID, from uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		n, ok := s.Lanes.lookup(l)
		if !ok {
			return
		}
		hi := storage.PrefixEnd(s.laneKey(kind, n))
		for kv, err := range r.Scan(s.entryKey(kind, n, from), hi) {
			if err != nil {
				yield(Record{}, fmt.Errorf("scan lane %v: %w", l, err))
				return
			}
			id := clock.EntryID{Lane: l, Seq: binary.BigEndian.Uint64(kv.Key[len(kv.Key)-8:])}
			rec, err := s.parseRecord(id, kv.Value)
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// A Run is a stretch of one lane that was applied at a stroke.
type Run struct {
	Lane    clock.LaneID
	First   uint64
	Count   uint64
	Ordinal uint64 // of the first entry
}

// The order rows list, in the order of application, the runs of each batch:
// lane number, first seq, count (uvarints each). A row's key holds the ordinal
// of its first entry.

// Order yields the runs in the order of application, from the one that holds
// the ordinal on; that first run begins at the ordinal exactly.
func (s *Store) Order(r storage.Reader, from uint64) iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		lo := s.orderKey(0)
		for kv, err := range r.ScanReverse(lo, s.orderKey(from+1)) {
			if err != nil {
				yield(Run{}, fmt.Errorf("scan order: %w", err))
				return
			}
			lo = append([]byte(nil), kv.Key...)
			break
		}
		for kv, err := range r.Scan(lo, storage.PrefixEnd(s.key(kindOrder))) {
			if err != nil {
				yield(Run{}, fmt.Errorf("scan order: %w", err))
				return
			}
			ordinal := binary.BigEndian.Uint64(kv.Key[len(kv.Key)-8:])
			for b := kv.Value; len(b) > 0; {
				run, rest, err := s.parseRun(b, ordinal)
				if err != nil {
					yield(Run{}, err)
					return
				}
				b, ordinal = rest, ordinal+run.Count
				if ordinal <= from {
					continue
				}
				if skip := from - min(from, run.Ordinal); skip > 0 {
					run.First, run.Count, run.Ordinal = run.First+skip, run.Count-skip, from
				}
				if !yield(run, nil) {
					return
				}
			}
		}
	}
}

func (s *Store) parseRun(b []byte, ordinal uint64) (Run, []byte, error) {
	var n [3]uint64
	for i := range n {
		v, k := binary.Uvarint(b)
		if k <= 0 {
			return Run{}, nil, fmt.Errorf("order row at %d: %w", ordinal, storage.ErrCorrupt)
		}
		n[i], b = v, b[k:]
	}
	l, ok := s.Lanes.Lane(uint32(n[0]))
	if !ok {
		return Run{}, nil, fmt.Errorf("order row at %d: lane %d: %w", ordinal, n[0], storage.ErrCorrupt)
	}
	return Run{Lane: l, First: n[1], Count: n[2], Ordinal: ordinal}, b, nil
}

// InOrder yields the records from an ordinal on, in the order of application,
// which extends causality. Entries that a closing took out are passed over.
func (s *Store) InOrder(r storage.Reader, from uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for run, err := range s.Order(r, from) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if !s.yieldRun(r, run, yield) {
				return
			}
		}
	}
}

// yieldRun yields the records of a run: by a point read where there is one, by
// a scan where there are more.
func (s *Store) yieldRun(r storage.Reader, run Run, yield func(Record, error) bool) bool {
	if run.Count == 1 {
		rec, err := s.Record(r, clock.EntryID{Lane: run.Lane, Seq: run.First})
		if errors.Is(err, ErrNotFound) {
			return true
		}
		return yield(rec, err) && err == nil
	}
	for rec, err := range s.Lane(r, run.Lane, run.First) {
		if err == nil && rec.Seq >= run.First+run.Count {
			break
		}
		if !yield(rec, err) || err != nil {
			return false
		}
	}
	return true
}
