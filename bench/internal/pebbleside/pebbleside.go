// Package pebbleside is raw Pebble, the limit of what a system over it can do:
// one row to a key, no log, no signatures, no peers.
package pebbleside

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/rhizome-p2p/rhizome/bench/internal/side"
)

const (
	memTableBytes    = 64 << 20
	cacheBytes       = 64<<20 + 2*memTableBytes
	filterBitsPerKey = 10
)

// PebbleOptions returns the options under which Rhizome opens Pebble, so that
// all sides have the same: newest format, memtables of 64 MiB, the same cache,
// filters and compression. The cache is the caller's to release.
func PebbleOptions() (*pebble.Options, *pebble.Cache) {
	cache := pebble.NewCache(cacheBytes)
	o := &pebble.Options{
		Cache: cache, FormatMajorVersion: pebble.FormatNewest, MemTableSize: memTableBytes, Logger: silent{},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(filterBitsPerKey)
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	return o, cache
}

// silent drops what Pebble tells of its work.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}

// Fatalf must not return.
func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Store is raw Pebble.
type Store struct {
	db    *pebble.DB
	cache *pebble.Cache
	dir   string
	write *pebble.WriteOptions
}

// Open opens a database.
func Open(o side.Options) (*Store, error) {
	po, cache := PebbleOptions()
	db, err := pebble.Open(o.Dir, po)
	if err != nil {
		cache.Unref()
		return nil, fmt.Errorf("open pebble: %w", err)
	}
	s := &Store{db: db, cache: cache, dir: o.Dir, write: pebble.NoSync}
	if o.Sync {
		s.write = pebble.Sync
	}
	return s, nil
}

// Put implements side.Store.
func (s *Store) Put(_ context.Context, key string, value []byte) error {
	return s.db.Set([]byte(key), value, s.write)
}

// PutBatch implements side.Store.
func (s *Store) PutBatch(_ context.Context, items []side.Item) error {
	b := s.db.NewBatch()
	for _, it := range items {
		if err := b.Set([]byte(it.Key), it.Value, nil); err != nil {
			return err
		}
	}
	return b.Commit(s.write)
}

// Sync puts on disk what was written without an fsync.
func (s *Store) Sync() error {
	if s.write.Sync {
		return nil
	}
	return s.db.LogData(nil, pebble.Sync)
}

// Remove implements side.Store.
func (s *Store) Remove(_ context.Context, key string) error {
	return s.db.Delete([]byte(key), s.write)
}

// Get implements side.Store.
func (s *Store) Get(_ context.Context, key string) ([]byte, error) {
	v, closer, err := s.db.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, side.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	v = slices.Clone(v)
	return v, closer.Close()
}

// List implements side.Store.
func (s *Store) List(_ context.Context, prefix string, f func(side.Item) error) error {
	return each(s.db, prefix, f)
}

// each goes through the rows with a prefix, or all.
func each(db *pebble.DB, prefix string, f func(side.Item) error) error {
	var o pebble.IterOptions
	if prefix != "" {
		// A slash ends it: the byte after a slash bounds the rows from above.
		o = pebble.IterOptions{LowerBound: []byte(prefix), UpperBound: []byte(prefix[:len(prefix)-1] + "0")}
	}
	it, err := db.NewIter(&o)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err == nil {
			err = f(side.Item{Key: string(it.Key()), Value: slices.Clone(v)})
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

// Compact implements side.Store.
func (s *Store) Compact(ctx context.Context) error { return CompactAll(ctx, s.db) }

// CompactAll rewrites a whole database without what was overwritten.
func CompactAll(ctx context.Context, db *pebble.DB) error {
	if err := db.Flush(); err != nil {
		return err
	}
	return db.Compact(ctx, []byte{0}, []byte{0xff, 0xff}, false)
}

// Rows implements side.Store.
func (s *Store) Rows(context.Context) (n int, err error) {
	err = each(s.db, "", func(side.Item) error { n++; return nil })
	return n, err
}

// Database implements side.Store.
func (s *Store) Database() string { return s.dir }

// Close implements side.Store.
func (s *Store) Close() error {
	defer s.cache.Unref()
	return s.db.Close()
}

// Pairs counts all pairs in a database that nobody has open: rows, log, blocks
// and whatever else a system keeps.
func Pairs(dir string) (n int, err error) {
	o, cache := PebbleOptions()
	defer cache.Unref()
	o.ReadOnly = true
	db, err := pebble.Open(dir, o)
	if err != nil {
		return 0, fmt.Errorf("count pairs: %w", err)
	}
	err = each(db, "", func(side.Item) error { n++; return nil })
	return n, errors.Join(err, db.Close())
}
