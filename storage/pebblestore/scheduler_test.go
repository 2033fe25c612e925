package pebblestore

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A waitingDB always has something to compact, and counts what it was granted.
type waitingDB struct{ granted int }

func (*waitingDB) GetAllowedWithoutPermission() int { return 1 }

func (*waitingDB) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	return true, pebble.WaitingCompaction{}
}

func (d *waitingDB) Schedule(pebble.CompactionGrantHandle) bool { d.granted++; return true }

// No compaction starts once the store has failed, neither asked for nor
// granted when another one ends.
func TestNoCompactionAfterFailure(t *testing.T) {
	s, err := Open("/store", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	db := &waitingDB{}
	sched := newScheduler(s)
	sched.Register(1, db)
	ok, handle := sched.TrySchedule()
	if !ok {
		t.Fatal("the first compaction is refused")
	}
	if handle.Done(); db.granted != 1 {
		t.Fatalf("%d compactions granted after the first, want 1", db.granted)
	}
	s.fail(errDisk, true)
	if handle.Done(); db.granted != 1 {
		t.Errorf("a compaction was granted after the failure")
	}
	if ok, _ := sched.TrySchedule(); ok {
		t.Error("a compaction was allowed after the failure")
	}
	sched.Unregister()
	if err := s.Close(); err == nil {
		t.Error("the failed store closed without an error")
	}
}
