package pebblestore

import "github.com/cockroachdb/pebble/v2"

// A scheduler is Pebble's own, which starts no compaction once the store has
// failed: one that fails is tried again at once and for ever, and behind a
// fence that is down, or over corrupt tables, each one would.
//
// The constructor's name speaks of tests because it leaves out a ticker, which
// is there for a concurrency limit that rises with the backlog. Ours is 1.
type scheduler struct {
	pebble.CompactionScheduler
	store *Store
}

func newScheduler(s *Store) pebble.CompactionScheduler {
	return scheduler{pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest(), s}
}

func (c scheduler) Register(goroutines int, db pebble.DBForCompaction) {
	c.CompactionScheduler.Register(goroutines, schedulable{db, c.store})
}

func (c scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if c.store.refused(true) != nil {
		return false, nil
	}
	return c.CompactionScheduler.TrySchedule()
}

// A schedulable has nothing to compact once its store has failed.
type schedulable struct {
	pebble.DBForCompaction
	store *Store
}

func (d schedulable) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	if d.store.refused(true) != nil {
		return false, pebble.WaitingCompaction{}
	}
	return d.DBForCompaction.GetWaitingCompaction()
}
