package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rhizome-p2p/rhizome/storage"
)

// ErrNoPebble reports a directory without a Pebble database.
var ErrNoPebble = errors.New("storage: no Pebble database")

// A Foreign is a Pebble database that another program has made, open to be read.
// Nothing that is in its directory changes.
type Foreign struct {
	db   *pebble.DB
	lock *pebble.Lock
	gate *gate
}

// OpenForeign opens the database that lies in a directory itself. One that is
// open already is ErrLocked, and a directory without one ErrNoPebble. A format
// of before version 2 of Pebble is refused, and so is a database whose keys have
// another order than that of bytes.
func OpenForeign(dir string) (*Foreign, error) {
	f, err := openForeign(dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return f, nil
}

func openForeign(dir string) (*Foreign, error) {
	desc, err := pebble.Peek(dir, vfs.Default)
	if err == nil && !desc.Exists || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, ErrNoPebble // a lock would make a file where there is none
	}
	if err != nil {
		return nil, err
	}
	f := &Foreign{gate: newGate()}
	if f.lock, err = lockDir(dir, vfs.Default); err != nil {
		return nil, err
	}
	if err := f.open(dir); err != nil {
		return nil, errors.Join(err, f.lock.Close())
	}
	return f, nil
}

// open opens the database. What Pebble takes for a bug, such as a file with
// impossible contents, comes as a panic.
func (f *Foreign) open(dir string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v", storage.ErrCorrupt, r)
		}
	}()
	f.db, err = pebble.Open(dir, &pebble.Options{
		ReadOnly: true, Lock: f.lock, Logger: silent{},
		// Without this one Pebble ends the process; the read returns the error too.
		EventListener: &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}},
	})
	return foreignError(err)
}

func foreignError(err error) error {
	if err != nil && corrupt(err) {
		return &corruptError{err}
	}
	return err
}

// silent is a logger for a database that nothing happens to.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) {}

// Get returns a copy of the value of a key, or ErrNotFound.
func (f *Foreign) Get(key []byte) ([]byte, error) {
	if !f.gate.enter() {
		return nil, storage.ErrClosed
	}
	defer f.gate.leave()
	v, done, err := f.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, storage.ErrNotFound
	}
	if err != nil {
		return nil, foreignError(err)
	}
	v = append([]byte{}, v...)
	return v, foreignError(done.Close())
}

// Scan yields the pairs with lo <= key < hi in the order of keys; a nil hi means
// no upper bound. The slices are valid until the next step. An error is yielded
// last.
func (f *Foreign) Scan(lo, hi []byte) iter.Seq2[storage.KV, error] {
	return func(yield func(storage.KV, error) bool) {
		if !f.gate.enter() {
			yield(storage.KV{}, storage.ErrClosed)
			return
		}
		defer f.gate.leave()
		it, err := f.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
		if err != nil {
			yield(storage.KV{}, foreignError(err))
			return
		}
		for ok := it.First(); ok && !f.gate.shutting(); ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				break // Close reports it
			}
			if !yield(storage.KV{Key: it.Key(), Value: v}, nil) {
				_ = it.Close()
				return
			}
		}
		err = it.Close()
		if err == nil && f.gate.shutting() {
			err = storage.ErrClosed
		}
		if err != nil {
			yield(storage.KV{}, foreignError(err))
		}
	}
}

// Close closes the database. It waits for running reads.
func (f *Foreign) Close() error {
	f.gate.close()
	return errors.Join(f.db.Close(), f.lock.Close())
}
