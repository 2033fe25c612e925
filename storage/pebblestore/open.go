package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rhizome-p2p/rhizome/storage"
)

const (
	// memTableBytes is what is written between two flushes. A larger one
	// merges more in memory; this one keeps a node of a million small
	// documents well under 1 GiB.
	memTableBytes = 64 << 20

	// defaultCacheBytes holds the indexes, the filters and a few thousand
	// blocks of a database of some GiB.
	defaultCacheBytes = 64 << 20

	// filterBitsPerKey makes one in a hundred look-ups of an absent key in a
	// table read a block for nothing. It costs 1.25 bytes a key.
	filterBitsPerKey = 10
)

// Open opens the store in dir, or makes one there. A dir that is open already,
// in this process or another, is ErrLocked.
func Open(dir string, opts Options) (*Store, error) {
	s := &Store{
		opts: opts, logTo: opts.Logger,
		gate: newGate(), open: map[*snapshot]struct{}{},
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.throttle = newThrottle(
		func() int { return int(s.db.Metrics().Levels[0].Sublevels) },
		func() error { return s.refused(true) },
	)
	if s.logTo == nil {
		s.logTo = slog.New(slog.DiscardHandler)
	}
	disk := opts.FS
	if disk == nil {
		disk = vfs.Default
	}
	s.fence = newFence(disk, func(err error) { s.fail(err, true) })
	if err := s.openDir(dir); err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) openDir(dir string) (err error) {
	if dir, err = makeDir(s.fence, dir); err != nil {
		return err
	}
	if s.lock, err = lockDir(dir, s.fence); err != nil {
		return err
	}
	cacheBytes, tableBytes := s.opts.CacheBytes, s.opts.memTableBytes
	if cacheBytes == 0 {
		cacheBytes = defaultCacheBytes
	}
	if tableBytes == 0 {
		tableBytes = memTableBytes
	}
	// Pebble takes memtables out of the cache's size. Two are usual: the one
	// written to and the one being flushed, which is kept for reuse.
	s.cache = pebble.NewCache(cacheBytes + 2*int64(tableBytes))
	defer func() {
		if err != nil {
			s.cache.Unref()
			err = errors.Join(err, s.lock.Close())
		}
	}()
	path := s.fence.PathJoin(dir, "db")
	if err = s.initialize(dir, path, tableBytes); err != nil {
		return err
	}
	s.db, err = s.openPebble(path, tableBytes, false)
	return err
}

// initialize makes the database at path unless there is one. What an earlier
// attempt left is removed first.
func (s *Store) initialize(dir, path string, tableBytes uint64) error {
	staging := s.fence.PathJoin(dir, "db.init")
	if err := s.fence.RemoveAll(staging); err != nil {
		return err
	}
	if _, err := s.fence.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := s.openPebble(staging, tableBytes, true)
	if err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	if err := syncDir(s.fence, staging); err != nil {
		return err
	}
	// From here a crash finds the database; before it, a crash finds none.
	_ = s.fence.Rename(staging, path)
	if err := syncDir(s.fence, dir); err != nil {
		return err
	}
	return s.refused(true)
}

// openPebble makes the database at path or opens the one that is there. An error that the fence has hidden
// from Pebble is found here; one that Pebble takes for a bug, such as a file
// with impossible contents, comes as a panic.
func (s *Store) openPebble(path string, tableBytes uint64, fresh bool) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: panic: %v", storage.ErrCorrupt, r)
		}
		if refused := s.refused(true); refused != nil {
			err = refused
			if db != nil {
				_ = db.Close()
				db = nil
			}
		}
	}()
	o := s.pebbleOptions(tableBytes)
	o.ErrorIfExists, o.ErrorIfNotExists = fresh, !fresh
	db, err = pebble.Open(path, o)
	if corrupt(err) || errors.Is(err, pebble.ErrDBDoesNotExist) {
		err = &corruptError{err}
	}
	return db, err
}

func (s *Store) pebbleOptions(tableBytes uint64) *pebble.Options {
	o := &pebble.Options{
		FS:    s.fence,
		Cache: s.cache,
		// The default is an old format that loses acknowledged writes when a
		// bit of the log flips.
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       tableBytes,
		Logger:             logger{s},
		// A writer that Pebble stalls over this would stall for ever once
		// compactions have ended with the store's failure; see throttle.
		L0StopWritesThreshold: math.MaxInt32,
		EventListener: &pebble.EventListener{
			// Without this one Pebble ends the process.
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				_ = s.readError(fmt.Errorf("%s: %w", i.Path, i.Details))
			},
			BackgroundError: func(err error) {
				s.logTo.Error("pebble: background error", "err", s.readError(err))
			},
			FlushEnd:      func(pebble.FlushInfo) { s.throttle.pulse() },
			CompactionEnd: func(pebble.CompactionInfo) { s.throttle.pulse() },
		},
	}
	o.Experimental.CompactionScheduler = newScheduler(s)
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(filterBitsPerKey)
	}
	// Sizes of a million JSON rows of 200 bytes with a hash each: without
	// compression 175 MB, Snappy 113, this 102, zstd 1 in the lowest level 102,
	// zstd 3 there 87. Times did not tell them apart; this one needs no cgo.
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	return o
}

// corrupt reports whether err says that stored bytes are wrong or gone. Files
// go only when Pebble removes them, so a missing one is as bad.
func corrupt(err error) bool {
	return pebble.IsCorruptionError(err) || errors.Is(err, fs.ErrNotExist)
}

// A corruptError is an error of Pebble's that is also an ErrCorrupt.
type corruptError struct{ cause error }

func (e *corruptError) Error() string   { return storage.ErrCorrupt.Error() + ": " + firstLine(e.cause) }
func (e *corruptError) Unwrap() []error { return []error{storage.ErrCorrupt, e.cause} }

// firstLine is what an error of Pebble's says to people; what follows is for
// programs.
func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// makeDir makes dir and its parents durably and returns the name under which
// it is locked.
func makeDir(f *fence, dir string) (string, error) {
	if f.private {
		// One directory must have one name: within a process, locks go by it.
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", err
		}
		dir = abs
	}
	var parents []string // of the directories that are missing
	for d := dir; ; d = f.PathDir(d) {
		if _, err := f.Stat(d); err == nil || f.PathDir(d) == d {
			break
		}
		parents = append(parents, f.PathDir(d))
	}
	if err := f.FS.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for _, p := range parents {
		if err := syncDir(f, p); err != nil {
			return "", err
		}
	}
	if !f.private {
		return dir, nil
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o700)
}

// lockDir takes the lock of dir.
func lockDir(dir string, f vfs.FS) (*pebble.Lock, error) {
	l, err := pebble.LockDirectory(dir, f)
	var path *fs.PathError
	switch {
	case err == nil:
		return l, nil
	case errors.As(err, &path):
		return nil, fmt.Errorf("lock: %w", err) // there is no file to lock
	default:
		return nil, fmt.Errorf("%w: %w", storage.ErrLocked, err)
	}
}

func syncDir(f vfs.FS, dir string) error {
	d, err := f.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// A logger takes what Pebble logs. Fatalf returns, which Pebble allows for in
// the places where I/O can fail.
type logger struct{ s *Store }

func (l logger) Infof(format string, args ...any)  { l.log(slog.LevelDebug, format, args) }
func (l logger) Errorf(format string, args ...any) { l.log(slog.LevelError, format, args) }

func (l logger) Fatalf(format string, args ...any) {
	l.s.fail(fmt.Errorf("pebble: "+format, args...), true)
}

func (l logger) log(level slog.Level, format string, args []any) {
	if ctx := context.Background(); l.s.logTo.Enabled(ctx, level) {
		l.s.logTo.Log(ctx, level, "pebble: "+fmt.Sprintf(format, args...))
	}
}
