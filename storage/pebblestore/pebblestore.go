// Package pebblestore keeps the storage contract on Pebble. It is the only
// importer of Pebble.
//
// # Layout
//
//	DIR/LOCK      held by the one store that has DIR open
//	DIR/db/       the Pebble database
//	DIR/db.init/  a database that is being made, renamed to db when complete
//
// Files are 0600 and directories 0700, whatever the umask. A crash at any
// point of the first Open leaves a directory that the next one opens: db is
// there whole or not at all.
//
// # Durability
//
// Apply writes to Pebble's log and Wait waits for the fsync that covers it;
// one fsync serves all that wait at the time. The format is Pebble's newest,
// set explicitly: older ones drop acknowledged writes silently when the log
// has a flipped bit.
//
// # Failures
//
// A write, sync, create or rename that fails on the disk fails the store: all
// calls that begin later and all waits that are under way return ErrFailed
// with the cause, and nothing more is written, so that the directory is left
// as a crash would leave it. Close still releases the directory, without an
// attempt at writing anything more, and the next Open recovers.
//
// Stored bytes that fail their checksum are never served: the read returns
// ErrCorrupt, Options.OnCorruption hears of it once, and from then on the
// store refuses writes (ErrFailed, which wraps ErrCorrupt). What is intact
// can still be read.
//
// The process is never ended, and Pebble's Fatalf does not exit.
package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rhizome-p2p/rhizome/storage"
)

// Options configure a store. The zero value is what a node wants.
type Options struct {
	// FS is the file system; nil means the operating system's. Tests give
	// their own.
	FS vfs.FS

	// CacheBytes is the size of the block cache. Zero means 64 MiB. Memory in
	// all is bounded by this and up to three memtables of 64 MiB.
	CacheBytes int64

	// Logger gets what Pebble says: routine at debug level. Nil is silence.
	Logger *slog.Logger

	// OnCorruption hears of the first corruption found by a read or in the
	// background. It is called with Pebble's locks held: it must return soon
	// and not call the store. What Open finds, Open returns.
	OnCorruption func(error)

	// memTableBytes overrides memTableBytes in tests.
	memTableBytes uint64
}

// A Store is an open database.
type Store struct {
	db    *pebble.DB
	fence *fence
	cache *pebble.Cache
	lock  *pebble.Lock
	opts  Options
	logTo *slog.Logger

	// gate is entered by every call that uses db.
	gate     *gate
	throttle *throttle

	// ctx ends when the store closes; reclaiming lets one Reclaim run at a time.
	ctx        context.Context
	end        context.CancelFunc
	reclaiming sync.Mutex

	// failed is the first failure. It is set once.
	failed atomic.Pointer[failure]

	// mu guards open, the snapshots that Close must end.
	mu   sync.Mutex
	open map[*snapshot]struct{}
}

var _ storage.DB = (*Store)(nil)

// A failure is why a store refuses writes.
type failure struct {
	err error
	// all says that reads are refused too: a write has failed, and what
	// Pebble holds in memory may rest on files that were never written.
	all bool
}

// fail records the first failure. A failed write is graver than corruption,
// and replaces it.
func (s *Store) fail(cause error, all bool) {
	f := &failure{err: fmt.Errorf("%w: %w", storage.ErrFailed, cause), all: all}
	for {
		old := s.failed.Load()
		if old != nil && (old.all || !all) {
			return
		}
		if s.failed.CompareAndSwap(old, f) {
			if all {
				s.fence.down.Store(true)
			}
			s.throttle.pulse() // whoever waits there is refused
			s.logTo.Error("storage failed", "err", cause)
			if old == nil && errors.Is(cause, storage.ErrCorrupt) && s.opts.OnCorruption != nil {
				s.opts.OnCorruption(cause)
			}
			return
		}
	}
}

// refused is the error of calls that begin now, or nil.
func (s *Store) refused(write bool) error {
	if f := s.failed.Load(); f != nil && (write || f.all) {
		return f.err
	}
	return nil
}

// readError is what a caller is told of an error from Pebble.
func (s *Store) readError(err error) error {
	if f := s.failed.Load(); f != nil && f.all {
		return f.err // what Pebble read may be the discarded file of a fence
	}
	if corrupt(err) {
		err = &corruptError{err}
		s.fail(err, false)
	}
	return err
}

// DiskBytes is what Pebble counts as its own: live, obsolete and recycled.
// Pebble knows a log by the size it had when it was opened, which is nothing
// for a new one, so what was written since is added.
func (s *Store) DiskBytes() (uint64, error) {
	if !s.gate.enter() {
		return 0, storage.ErrClosed
	}
	defer s.gate.leave()
	if err := s.refused(false); err != nil {
		return 0, err
	}
	m := s.db.Metrics()
	n := m.DiskSpaceUsage()
	if m.WAL.Size > m.WAL.PhysicalSize {
		n += m.WAL.Size - m.WAL.PhysicalSize
	}
	return n, nil
}

// Close waits for running calls, ends open snapshots, makes what was applied
// durable and releases the directory. It reports the failure of a store that
// failed on a write, and releases the directory all the same.
func (s *Store) Close() error {
	s.mu.Lock()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	if open == nil {
		return storage.ErrClosed
	}
	s.end()
	s.gate.close()
	for snap := range open {
		_ = snap.end() // it was only read from
	}
	err := s.db.Close()
	s.cache.Unref()
	err = errors.Join(err, s.lock.Close())
	if f := s.failed.Load(); f != nil && f.all {
		return f.err
	}
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
