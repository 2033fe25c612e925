package storagetest

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// RunCrash checks that a power failure at any time leaves the state after
// some number of whole batches, in the order they were applied, and at least
// all up to the last one whose Wait returned. It goes on with what is left
// and crashes again.
func RunCrash(t *testing.T, newDisk func(testing.TB) Disk) {
	rapid.Check(t, func(rt *rapid.T) {
		disk, m := newDisk(t), model{}
		for range rapid.IntRange(1, 4).Draw(rt, "crashes") {
			m = crashOnce(rt, disk, m)
		}
	})
}

// crashOnce opens the disk, on which m must be, applies batches and crashes.
// It returns what was left.
func crashOnce(t *rapid.T, disk Disk, m model) model {
	db, err := disk.Open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	if err := diff(db, m, nil, nil); err != nil {
		t.Fatalf("before any write: %v", err)
	}
	states := []model{m} // states[i] is after i batches
	durable := 0
	for i := range rapid.IntRange(0, 10).Draw(t, "batches") {
		ws, b := drawWrites(t), db.NewBatch()
		fill(b, ws)
		c, err := db.Apply(b)
		if err != nil {
			t.Fatalf("apply: %v", err)
		}
		next := clone(states[i])
		next.apply(ws)
		states = append(states, next)
		if rapid.Bool().Draw(t, "wait") {
			if err := c.Wait(); err != nil {
				t.Fatalf("wait: %v", err)
			}
			durable = i + 1
		}
	}
	if err := disk.Crash(rapid.Uint64().Draw(t, "seed")); err != nil {
		t.Fatalf("crash: %v", err)
	}
	db, err = disk.Open()
	if err != nil {
		t.Fatalf("open after the crash: %v", err)
	}
	got, err := all(db)
	if err != nil {
		t.Fatalf("scan after the crash: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatalf("close after the crash: %v", err)
	}
	for i := durable; i < len(states); i++ {
		if slices.Equal(got, states[i].pairs(nil, nil)) {
			return states[i]
		}
	}
	t.Fatalf("after the crash there is %s, which is no state at or after batch %d of %d", got, durable, len(states)-1)
	return nil
}
