package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"
)

// A SalvageReport tells how much of a store could be read.
type SalvageReport struct {
	// Files is how many tables and logs there are.
	Files int
	// Damaged names the files that could not be read whole, and why not.
	Damaged []string
}

// maxDamaged bounds what a report lists.
const maxDamaged = 100

// Salvage reads what can be read of a store that may not open, and changes
// nothing but the lock file. Every pair with lo <= key < hi that lies in some
// table or log is handed to keep, in no order: also what was overwritten or
// deleted since and has not been compacted away, and so perhaps more than once.
// Bytes that fail their checksum are passed over. The slices are valid during
// the call; an error of keep ends it.
//
// All keys in the range must be as long as lo, and end in a number, big-endian, as
// those of entries do: behind a damaged block, reading goes on at a higher one.
//
// Where a store is open in dir, it returns ErrLocked.
func Salvage(dir string, fs vfs.FS, lo, hi []byte, keep func(key, value []byte) error) (rep SalvageReport, err error) {
	if fs == nil {
		fs = vfs.Default
	}
	f := newFence(fs, func(error) {})
	lock, err := lockDir(dir, f)
	if err != nil {
		return rep, fmt.Errorf("salvage %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	s := &salvage{fs: fs, dir: fs.PathJoin(dir, "db"), lo: lo, hi: hi, keep: keep, rep: &rep}
	if err := errors.Join(s.tables(), s.logs()); err != nil {
		return rep, fmt.Errorf("salvage %s: %w", dir, err)
	}
	return rep, nil
}

type salvage struct {
	fs     vfs.FS
	dir    string
	lo, hi []byte
	keep   func(key, value []byte) error
	rep    *SalvageReport
	// refused is the error of keep.
	refused error
}

// damaged notes what is wrong with a file.
func (s *salvage) damaged(name string, err error) {
	if err != nil && len(s.rep.Damaged) < maxDamaged {
		s.rep.Damaged = append(s.rep.Damaged, name+": "+firstLine(err))
	}
}

// hand gives a pair to keep, if it is wanted.
func (s *salvage) hand(key, value []byte) {
	if s.refused == nil && bytes.Compare(key, s.lo) >= 0 && bytes.Compare(key, s.hi) < 0 {
		s.refused = s.keep(key, value)
	}
}

// safely calls f, and takes a panic, with which Pebble answers what it takes
// for a bug of its own, for an error.
func safely(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}

func (s *salvage) tables() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, n := range names {
		if !strings.HasSuffix(n, ".sst") {
			continue
		}
		s.rep.Files++
		s.damaged(n, safely(func() error { return s.table(s.fs.PathJoin(s.dir, n)) }))
		if s.refused != nil {
			return s.refused
		}
	}
	return nil
}

// table reads one table.
func (s *salvage) table(path string) error {
	f, err := s.fs.Open(path)
	if err != nil {
		return err
	}
	in, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	o := new(pebble.Options)
	o.EnsureDefaults()
	r, err := sstable.NewReader(context.Background(), in, o.MakeReaderOptions())
	if err != nil {
		return errors.Join(err, in.Close())
	}
	err = safely(func() error { return s.blocks(r) })
	return errors.Join(err, r.Close())
}

// blocks reads a table from block to block. It returns the first damage, and
// has then read what lies behind it all the same.
func (s *salvage) blocks(r *sstable.Reader) error {
	var first error
	from := s.lo
	for from != nil && s.refused == nil {
		last, err := s.forward(r, from)
		if err == nil {
			break
		}
		if first == nil {
			first = err
		}
		if last == nil { // not even the first block that there is
			last = from
		}
		from = s.beyond(r, last)
	}
	return first
}

// forward hands out pairs from a key on, up to the first damage, and returns
// the last key that it came to.
func (s *salvage) forward(r *sstable.Reader, from []byte) (last []byte, err error) {
	err = safely(func() error {
		return s.iterate(r, func(it sstable.Iterator) error {
			for kv := it.SeekGE(from, 0); kv != nil && s.refused == nil; kv = it.Next() {
				last = append(last[:0], kv.K.UserKey...)
				if err := s.take(&kv.K, kv.Value); err != nil {
					return err
				}
			}
			return it.Error()
		})
	})
	return last, err
}

// beyond looks for a key behind damage that follows a key, hands out what lies
// between the two, and returns the first that was not handed out; nil where
// there is nothing more.
func (s *salvage) beyond(r *sstable.Reader, last []byte) (next []byte) {
	end := s.hi
	for bit := 0; ; bit++ {
		target, ok := plus(last, bit)
		if !ok || bytes.Compare(target, s.hi) >= 0 {
			break
		}
		_ = safely(func() error { // a seek into the damage finds nothing
			return s.iterate(r, func(it sstable.Iterator) error {
				if kv := it.SeekGE(target, 0); kv != nil {
					next = bytes.Clone(kv.K.UserKey)
				}
				return nil
			})
		})
		if next != nil {
			end = next
			break
		}
	}
	// Back from there, or from the end of the table, to the damage.
	_ = safely(func() error { // the damage is known
		return s.iterate(r, func(it sstable.Iterator) error {
			for kv := it.SeekLT(end, 0); kv != nil && s.refused == nil && bytes.Compare(kv.K.UserKey, last) > 0; kv = it.Prev() {
				if err := s.take(&kv.K, kv.Value); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return next
}

func (s *salvage) iterate(r *sstable.Reader, f func(sstable.Iterator) error) (err error) {
	it, err := r.NewIter(sstable.NoTransforms, s.lo, s.hi, sstable.AssertNoBlobHandles)
	if err != nil {
		return err
	}
	err = f(it)
	if cerr := it.Close(); err == nil { // else it says the same again
		err = cerr
	}
	return err
}

func (s *salvage) take(k *pebble.InternalKey, value func([]byte) ([]byte, bool, error)) error {
	if kind := k.Kind(); kind != pebble.InternalKeyKindSet && kind != pebble.InternalKeyKindSetWithDelete {
		return nil
	}
	v, _, err := value(nil)
	if err == nil {
		s.hand(k.UserKey, v)
	}
	return err
}

// plus returns a key whose last bytes, taken as a number, are 2^bit more; false
// where they cannot be. The first byte of a key is never part of it.
func plus(key []byte, bit int) ([]byte, bool) {
	out := bytes.Clone(key)
	carry := uint(1) << (bit % 8)
	for i := len(out) - 1 - bit/8; i > 0; i-- {
		sum := uint(out[i]) + carry
		out[i] = byte(sum)
		if carry = sum >> 8; carry == 0 {
			return out, true
		}
	}
	return nil, false
}

func (s *salvage) logs() error {
	logs, err := wal.Scan(wal.Dir{FS: s.fs, Dirname: s.dir})
	if err != nil {
		return err
	}
	for _, l := range logs {
		s.rep.Files++
		s.damaged(l.String(), safely(func() error { return s.log(l) }))
		if s.refused != nil {
			return s.refused
		}
	}
	return nil
}

// unwritten reports whether a log holds nothing but zeros from an offset on: it was
// written ahead up to the end.
func (s *salvage) unwritten(at wal.Offset) bool {
	f, err := s.fs.Open(at.PhysicalFile)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, leastAhead)
	for off := at.Physical; ; {
		n, err := f.ReadAt(b, off)
		off += int64(n)
		switch {
		case len(bytes.TrimLeft(b[:n], "\x00")) > 0:
			return false
		case err != nil:
			return errors.Is(err, io.EOF)
		}
	}
}

// log reads one log up to what is no record: the end of what was written, or
// damage.
func (s *salvage) log(l wal.LogicalLog) (err error) {
	r := l.OpenForRead()
	defer func() { err = errors.Join(err, r.Close()) }()
	for s.refused == nil {
		in, at, err := r.NextRecord()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, record.ErrUnexpectedEOF) && s.unwritten(at):
			return nil
		case err != nil:
			return err
		}
		text, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		for b := batchrepr.Read(text); ; {
			kind, key, value, ok, err := b.Next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if kind == pebble.InternalKeyKindSet {
				s.hand(key, value)
			}
		}
	}
	return nil
}
