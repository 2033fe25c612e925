package pebblestore

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rhizome-p2p/rhizome/storage"
)

// A batch collects writes in Pebble's own format.
type batch struct {
	store *Store
	b     *pebble.Batch // nil once applied
	// bad says that there was a write that Apply refuses: Pebble has no
	// record for a range without an upper bound, and trips over empty keys.
	bad bool
}

// NewBatch returns an empty batch.
func (s *Store) NewBatch() storage.Batch { return &batch{store: s, b: s.db.NewBatch()} }

// Pebble's setters of an unindexed batch return no error: what can be wrong
// shows when it is applied.

func (b *batch) Set(key, value []byte) {
	b.bad = b.bad || len(key) == 0
	_ = b.b.Set(key, value, nil)
}

func (b *batch) Delete(key []byte) {
	b.bad = b.bad || len(key) == 0
	_ = b.b.Delete(key, nil)
}

func (b *batch) Bytes() int { return b.b.Len() }

func (b *batch) DeleteRange(lo, hi []byte) {
	b.bad = b.bad || len(hi) == 0
	if len(lo) == 0 {
		// The least key that can be. Under the checks that Pebble has in race
		// builds, an empty bound made deleted keys come back after a reopen.
		lo = []byte{0}
	}
	if bytes.Compare(lo, hi) < 0 {
		_ = b.b.DeleteRange(lo, hi, nil)
	}
}

// Apply makes the batch visible and starts its way to the disk. It takes part
// in Pebble's backpressure: it blocks while flushes or compactions are behind.
func (s *Store) Apply(b storage.Batch) (storage.Commit, error) {
	pb, ok := b.(*batch)
	if !ok || pb.store != s || pb.b == nil || pb.bad {
		return nil, fmt.Errorf("apply: %w", storage.ErrBatch)
	}
	if !s.gate.enter() {
		return nil, storage.ErrClosed
	}
	defer s.gate.leave()
	if err := s.throttle.wait(); err != nil {
		return nil, err
	}
	inner := pb.b
	pb.b = nil
	if inner.Empty() {
		// Pebble would not log it, and so not wait for what was before it.
		if err := inner.LogData(nil, nil); err != nil {
			return nil, fmt.Errorf("apply: %w", err)
		}
	}
	if err := s.db.ApplyNoSyncWait(inner, pebble.Sync); err != nil {
		s.fail(err, true)
	}
	if err := s.refused(false); err != nil {
		return nil, err // the fence may have swallowed it
	}
	return &commit{store: s, b: inner}, nil
}

type commit struct {
	store *Store
	b     *pebble.Batch
}

// Wait returns when the log is synced up to the batch. The fence may have
// feigned that sync, but has then failed the store before.
func (c *commit) Wait() error {
	if err := c.b.SyncWait(); err != nil {
		c.store.fail(err, true)
	}
	if err := c.store.refused(false); err != nil {
		return err
	}
	_ = c.b.Close() // gives its memory back
	return nil
}
