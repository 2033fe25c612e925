package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rhizome-p2p/rhizome/storage"
)

// maxRecycled is what the logs that Pebble keeps for reuse may take before
// Reclaim makes them small. There are up to three, each as large as it once was.
const maxRecycled = 1 << 20

// recycledLogs bounds how often the log is changed to have used up all of them.
const recycledLogs = 4

// Reclaim is storage.DB.Reclaim. It flushes what says that the range was
// deleted, merges the tables of the range with it, and makes recycled logs
// small. Writers go on meanwhile; it reads and writes what is left of the range.
func (s *Store) Reclaim(lo, hi []byte) error {
	if !s.gate.enter() {
		return storage.ErrClosed
	}
	defer s.gate.leave()
	if err := s.refused(true); err != nil {
		return err
	}
	if len(hi) == 0 || bytes.Compare(lo, hi) >= 0 {
		return fmt.Errorf("reclaim: %w: empty range", storage.ErrBatch)
	}
	s.reclaiming.Lock() // one at a time: each may write as much as it frees
	defer s.reclaiming.Unlock()
	err := s.db.Compact(s.ctx, lo, hi, false)
	if s.ctx.Err() != nil {
		return storage.ErrClosed
	}
	if err == nil {
		err = s.shrinkLogs()
	}
	if err == nil {
		s.awaitRemoval()
	}
	if refused := s.refused(true); refused != nil {
		return refused
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, pebble.ErrCancelledCompaction) {
		return storage.ErrClosed
	}
	if err != nil {
		return s.readError(fmt.Errorf("reclaim: %w", err))
	}
	return nil
}

const (
	// removalWait is how long Reclaim waits at most for files that nothing needs
	// any more to be removed, which Pebble does in the background, and
	// removalPoll how often it looks.
	removalWait = 5 * time.Second
	removalPoll = 10 * time.Millisecond
)

// awaitRemoval waits until the files that were merged are gone.
func (s *Store) awaitRemoval() {
	poll := time.NewTicker(removalPoll)
	defer poll.Stop()
	for end := time.Now().Add(removalWait); s.db.Metrics().Table.ObsoleteSize > 0 && time.Now().Before(end); {
		select {
		case <-poll.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// shrinkLogs goes through the recycled logs, each of which is made anew in the
// place of being written over.
func (s *Store) shrinkLogs() error {
	if s.db.Metrics().WAL.ObsoletePhysicalSize < maxRecycled {
		return nil
	}
	s.fence.anew.Store(true)
	defer s.fence.anew.Store(false)
	for range recycledLogs {
		if s.ctx.Err() != nil {
			return nil
		}
		if err := s.db.Flush(); err != nil {
			return err
		}
	}
	return nil
}
