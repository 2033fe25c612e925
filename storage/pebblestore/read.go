package pebblestore

import (
	"bytes"
	"errors"
	"iter"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rhizome-p2p/rhizome/storage"
)

// Get is Reader.Get of the newest state.
func (s *Store) Get(key []byte) ([]byte, error) {
	if !s.gate.enter() {
		return nil, storage.ErrClosed
	}
	defer s.gate.leave()
	return s.get(s.db, key)
}

// Scan is Reader.Scan of the newest state.
func (s *Store) Scan(lo, hi []byte) iter.Seq2[storage.KV, error] {
	return func(yield func(storage.KV, error) bool) { s.scan(s.newIter, lo, hi, false, yield) }
}

// ScanReverse is Reader.ScanReverse of the newest state.
func (s *Store) ScanReverse(lo, hi []byte) iter.Seq2[storage.KV, error] {
	return func(yield func(storage.KV, error) bool) { s.scan(s.newIter, lo, hi, true, yield) }
}

func (s *Store) newIter(o *pebble.IterOptions) (*pebble.Iterator, error) { return s.db.NewIter(o) }

func (s *Store) get(r pebble.Reader, key []byte) ([]byte, error) {
	if err := s.refused(false); err != nil {
		return nil, err
	}
	if len(key) == 0 {
		return nil, storage.ErrNotFound // Pebble's filters trip over it
	}
	v, done, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, storage.ErrNotFound
	}
	if err != nil {
		return nil, s.readError(err)
	}
	v = append([]byte{}, v...)
	if err := done.Close(); err != nil {
		return nil, s.readError(err)
	}
	return v, nil
}

// scan walks one iterator from one end of [lo, hi) to the other. It is inside
// the gate for all of that time: the slices that it yields are Pebble's.
func (s *Store) scan(
	newIter func(*pebble.IterOptions) (*pebble.Iterator, error),
	lo, hi []byte, reverse bool, yield func(storage.KV, error) bool,
) {
	if !s.gate.enter() {
		yield(storage.KV{}, storage.ErrClosed)
		return
	}
	defer s.gate.leave()
	if err := s.refused(false); err != nil {
		yield(storage.KV{}, err)
		return
	}
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return
	}
	if len(lo) == 0 {
		lo = nil // to Pebble, an empty bound is not the same as none
	}
	it, err := newIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if errors.Is(err, storage.ErrClosed) {
		yield(storage.KV{}, err)
		return
	}
	if err != nil {
		yield(storage.KV{}, s.readError(err))
		return
	}
	first, next := s.stepper(it)
	if reverse {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		if s.gate.shutting() {
			_ = it.Close()
			yield(storage.KV{}, storage.ErrClosed)
			return
		}
		v, err := it.ValueAndErr()
		if err != nil {
			break // Close reports it
		}
		if !yield(storage.KV{Key: it.Key(), Value: v}, nil) {
			_ = it.Close()
			return
		}
	}
	if err := it.Close(); err != nil {
		yield(storage.KV{}, s.readError(err))
	}
}

const (
	// steppedOver is how many versions of keys a step may pass over until those
	// after it are made by seeking, seekSteps of them.
	steppedOver = 16
	seekSteps   = 64

	// flushAfter is how many versions a scan may pass over in one step until the
	// memtable is flushed: of each key that leaves the newest alone.
	flushAfter = 8192
)

// stepper returns what moves an iterator to its first pair and on. Pebble's Next goes through every
// older version of its key that the memtable holds, and so a key that is written
// over and over would cost more each time it is read: a seek does not. It costs
// more than Next where there is nothing to pass over, and so is kept for the
// first step, which is the last of a scan of one row, and for where it pays.
// What lies behind a deletion is passed over either way, until it is flushed.
func (s *Store) stepper(it *pebble.Iterator) (first, next func() bool) {
	var key []byte
	seeks, passed, flushed := 1, 0, false
	moved := func(ok bool) bool {
		all := it.Stats().ForwardStepCount[pebble.InternalIterCall]
		over := all - passed
		passed = all
		if over > steppedOver {
			seeks = seekSteps
		}
		if over > flushAfter && !flushed {
			flushed = true
			_, _ = s.db.AsyncFlush() // it only makes reads cheaper; a failed write shows elsewhere
		}
		return ok
	}
	return func() bool { return moved(it.First()) }, func() bool {
		if seeks == 0 {
			return moved(it.Next())
		}
		seeks--
		key = append(append(key[:0], it.Key()...), 0)
		return moved(it.SeekGE(key))
	}
}

// A snapshot is a Pebble snapshot that its store can end.
type snapshot struct {
	store *Store

	// mu lets reads of the snapshot begin side by side and keeps them from
	// beginning once it is closed. It is not held while a caller's code runs.
	mu   sync.RWMutex
	snap *pebble.Snapshot // nil once closed
}

// Snapshot pins the newest state.
func (s *Store) Snapshot() storage.Snapshot {
	snap := &snapshot{store: s}
	if !s.gate.enter() {
		return snap
	}
	defer s.gate.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil { // else Close has begun and will not know of this one
		snap.snap = s.db.NewSnapshot()
		s.open[snap] = struct{}{}
	}
	return snap
}

func (n *snapshot) Get(key []byte) ([]byte, error) {
	if !n.store.gate.enter() {
		return nil, storage.ErrClosed
	}
	defer n.store.gate.leave()
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.snap == nil {
		return nil, storage.ErrClosed
	}
	return n.store.get(n.snap, key)
}

func (n *snapshot) Scan(lo, hi []byte) iter.Seq2[storage.KV, error] {
	return func(yield func(storage.KV, error) bool) { n.store.scan(n.newIter, lo, hi, false, yield) }
}

func (n *snapshot) ScanReverse(lo, hi []byte) iter.Seq2[storage.KV, error] {
	return func(yield func(storage.KV, error) bool) { n.store.scan(n.newIter, lo, hi, true, yield) }
}

func (n *snapshot) newIter(o *pebble.IterOptions) (*pebble.Iterator, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.snap == nil {
		return nil, storage.ErrClosed
	}
	return n.snap.NewIter(o)
}

// Close ends the snapshot. Scans of it that are under way go on.
func (n *snapshot) Close() error {
	s := n.store
	if !s.gate.enter() {
		return storage.ErrClosed // the store has ended it, or does so now
	}
	defer s.gate.leave()
	s.mu.Lock()
	delete(s.open, n)
	s.mu.Unlock()
	return n.end()
}

func (n *snapshot) end() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.snap == nil {
		return storage.ErrClosed
	}
	err := n.snap.Close()
	n.snap = nil
	return err
}
