package oplog

import (
	"bytes"
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
	Local   bool   // this replica wrote it
}

// Entry decodes the record.
func (r *Record) Entry() (*delta.Entry, error) {
	e, err := delta.ParseEntry(r.Header, r.Raw, r.Sig)
	if err != nil {
		return nil, err
	}
	e.Local = r.Local
	return e, nil
}

// The stored form of an entry. The body's hash is computed on reading, and so
// corruption shows as a broken chain even where checksums do not catch it.
//
//	flags (1; bit 0: signed, bit 1: has prev, bit 2: local) | ordinal, hlc (uvarints)
//	| prev (32) | signature (64) | body block
const (
	flagSigned = 1 << iota
	flagPrev
	flagLocal
	flagEnd // the least flags that this program does not know
)

func appendRecord(b []byte, e *delta.Entry, ordinal uint64) []byte {
	var flags byte
	if len(e.Sig) > 0 {
		flags |= flagSigned
	}
	if e.Seq > 1 {
		flags |= flagPrev
	}
	if e.Local {
		flags |= flagLocal
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

// parseRecord reads a record. Its Sig and Raw share memory with b.
func (s *Store) parseRecord(id clock.EntryID, b []byte) (Record, error) {
	r, err := s.cutRecord(id, b)
	if err == nil {
		r.Body = hashOf(r.Raw)
	}
	return r, err
}

// cutRecord is parseRecord without the body's hash.
func (s *Store) cutRecord(id clock.EntryID, b []byte) (r Record, err error) {
	if len(b) == 0 {
		return Record{}, fmt.Errorf("entry %v: %w", id, storage.ErrCorrupt)
	}
	flags, row := b[0], rowReader{b: b[1:]}
	r.Header = delta.Header{Space: s.space, Lane: id.Lane, Seq: id.Seq}
	r.Ordinal, r.Time = row.uvarint(), clock.Timestamp(row.uvarint())
	if flags&flagPrev != 0 {
		row.fixed(r.Prev[:])
	}
	if flags&flagSigned != 0 && len(row.b) >= delta.SigSize {
		r.Sig, row.b = row.b[:delta.SigSize:delta.SigSize], row.b[delta.SigSize:]
	}
	r.Raw, r.Local = row.b, flags&flagLocal != 0
	if row.bad || flags >= flagEnd || r.Seq == 0 || (flags&flagPrev != 0) != (r.Seq > 1) ||
		(flags&flagSigned != 0) != (r.Sig != nil) || r.Time > clock.MaxTimestamp || len(r.Raw) > delta.MaxBodyBytes {
		return Record{}, fmt.Errorf("entry %v: %w", id, storage.ErrCorrupt)
	}
	return r, nil
}

// Record returns the record of an entry, or ErrNotFound.
func (s *Store) Record(r storage.Reader, id clock.EntryID) (Record, error) {
	return s.record(r, kindEntry, id)
}

// HashOf returns the hash of an entry that is held, or ErrNotFound. Where the
// lane's next entry is held too, that names it, and no body is hashed.
func (s *Store) HashOf(r storage.Reader, id clock.EntryID) (clock.Hash, error) {
	next := clock.EntryID{Lane: id.Lane, Seq: id.Seq + 1}
	if key, ok := s.numbered(kindEntry, next); ok {
		b, err := r.Get(key)
		if err == nil {
			rec, err := s.cutRecord(next, b)
			return rec.Prev, err
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return clock.Hash{}, fmt.Errorf("read entry %v: %w", next, err)
		}
	}
	rec, err := s.Record(r, id)
	if err != nil {
		return clock.Hash{}, err
	}
	return delta.HashHeader(&rec.Header), nil
}

// Kept returns the record of an entry that was taken out of the state when its
// lane was closed, or ErrNotFound.
func (s *Store) Kept(r storage.Reader, id clock.EntryID) (Record, error) {
	return s.record(r, kindKept, id)
}

func (s *Store) record(r storage.Reader, kind byte, id clock.EntryID) (Record, error) {
	b, err := s.get(r, kind, id)
	if err != nil {
		return Record{}, err
	}
	return s.parseRecord(id, b)
}

// get returns the bytes of a record.
func (s *Store) get(r storage.Reader, kind byte, id clock.EntryID) ([]byte, error) {
	key, ok := s.numbered(kind, id)
	if !ok {
		return nil, fmt.Errorf("%v: %w", id, ErrNotFound)
	}
	b, err := r.Get(key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("%v: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read entry %v: %w", id, err)
	}
	return b, nil
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
		lo := s.entryKey(kind, n, from)
		for kv, err := range r.Scan(lo, storage.PrefixEnd(lo[:len(lo)-8])) {
			if err == nil && len(kv.Key) != len(lo) {
				err = fmt.Errorf("key %x: %w", kv.Key, storage.ErrCorrupt)
			}
			if err != nil {
				yield(Record{}, fmt.Errorf("scan lane %v: %w", l, err))
				return
			}
			id := clock.EntryID{Lane: l, Seq: binary.BigEndian.Uint64(kv.Key[len(lo)-8:])}
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
			lo = bytes.Clone(kv.Key)
			break
		}
		for kv, err := range r.Scan(lo, storage.PrefixEnd(s.key(kindOrder))) {
			if err != nil {
				yield(Run{}, fmt.Errorf("scan order: %w", err))
				return
			}
			ordinal, err := s.orderOf(kv.Key)
			if err != nil {
				yield(Run{}, err)
				return
			}
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

// orderOf returns the ordinal in the key of an order row.
func (s *Store) orderOf(key []byte) (uint64, error) {
	if len(key) != len(s.prefix)+9 {
		return 0, fmt.Errorf("order row %x: %w", key, storage.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(key[len(key)-8:]), nil
}

// parseRun takes the run that begins at an ordinal off an order row.
func (s *Store) parseRun(b []byte, ordinal uint64) (Run, []byte, error) {
	r := rowReader{b: b}
	number := r.uvarint()
	run := Run{First: r.uvarint(), Count: r.uvarint(), Ordinal: ordinal}
	l, ok := s.Lanes.numbered(number)
	if r.bad || !ok || run.First == 0 || run.First > clock.MaxSeq || run.Count == 0 || run.Count > clock.MaxSeq {
		return Run{}, nil, fmt.Errorf("order row at %d: %w", ordinal, storage.ErrCorrupt)
	}
	run.Lane = l
	return run, r.b, nil
}

// InOrder yields the records from an ordinal on, in the order of application,
// which extends causality. Entries that a closing took out are passed over.
func (s *Store) InOrder(r storage.Reader, from uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var run Run // not yielded yet
		for next, err := range s.Order(r, from) {
			if err == nil && run.Count > 0 && run.Count < joinedRuns && run.Lane == next.Lane && run.First+run.Count == next.First {
				run.Count += next.Count
				continue
			}
			if run.Count > 0 && !s.yieldRun(r, run, yield) {
				return
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			run = next
		}
		if run.Count > 0 {
			s.yieldRun(r, run, yield)
		}
	}
}

// joinedRuns is how many entries of one lane, applied one by one, are read at a
// stroke: a scan costs less than as many point reads, and who stops early has
// gone over no more than that many order rows in vain.
const joinedRuns = 512

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
