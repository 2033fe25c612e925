package pebblestore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rhizome-p2p/rhizome/storage"
)

// A lateFS does a write or sync and then says that it failed, when fire is
// true: the fault that "failed but persisted".
type lateFS struct {
	vfs.FS
	fire func() bool
}

func (l lateFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, c)
	return lateFile{f, l.fire}, err
}

func (l lateFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.ReuseForWrite(oldname, newname, c)
	return lateFile{f, l.fire}, err
}

func (l lateFS) Rename(oldname, newname string) error {
	return l.after(l.FS.Rename(oldname, newname))
}

func (l lateFS) Unwrap() vfs.FS { return l.FS }

func (l lateFS) after(err error) error {
	if err == nil && l.fire() {
		return syscall.EIO
	}
	return err
}

type lateFile struct {
	vfs.File
	fire func() bool
}

func (f lateFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if err == nil && f.fire() {
		return 0, syscall.EIO
	}
	return n, err
}

func (f lateFile) Sync() error     { return lateFS{fire: f.fire}.after(f.File.Sync()) }
func (f lateFile) SyncData() error { return lateFS{fire: f.fire}.after(f.File.SyncData()) }

// Faults at each single operation of a workload that logs, flushes, compacts
// and rotates its logs: no panic, no hang, no write acknowledged after the
// fault, and all that was acknowledged is there when the directory is opened
// again, with nothing after the first gap.
func TestFaultAtEachOperation(t *testing.T) {
	for _, c := range []struct {
		name string
		wrap func(fs vfs.FS, fire func() bool) vfs.FS
		from func(op, n int64) bool // whether op fails when the fault is at n
	}{
		{"DiskFull", failing, func(op, n int64) bool { return op >= n }},
		{"Once", failing, func(op, n int64) bool { return op == n }},
		{"FailedButPersisted", late, func(op, n int64) bool { return op == n }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			failures := 0
			for n := int64(1); ; n += 1 + n/40 {
				mem := vfs.NewCrashableMem()
				var ops atomic.Int64
				fire := func() bool { return c.from(ops.Add(1), n) }
				acked, err := faultyRun(Options{FS: c.wrap(mem, fire), memTableBytes: 32 << 10})
				if err != nil {
					failures++
					if !errors.Is(err, storage.ErrFailed) && acked[0] >= 0 {
						t.Fatalf("fault at %d: %v, want ErrFailed", n, err)
					}
				}
				// The directory as it is, and as a power failure leaves it.
				crashed := mem.CrashClone(vfs.CrashCloneCfg{
					UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(n), 0)),
				})
				for name, fs := range map[string]vfs.FS{"as it is": mem, "crashed": crashed} {
					if lost := checkAcked(fs, acked); lost != nil {
						t.Fatalf("fault at %d (%v), %s: %v", n, err, name, lost)
					}
				}
				if ops.Load() < n {
					break
				}
			}
			t.Logf("%d runs failed", failures)
			if failures < 50 {
				t.Errorf("only %d runs failed", failures)
			}
		})
	}
}

func failing(fs vfs.FS, fire func() bool) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && fire() {
			return syscall.ENOSPC
		}
		return nil
	}))
}

func late(fs vfs.FS, fire func() bool) vfs.FS { return lateFS{fs, fire} }

const faultWriters, faultRounds = 2, 40

// faultyRun writes numbered values until an error, and returns for each
// writer the last number that was acknowledged, -1 for none.
func faultyRun(opts Options) (acked [faultWriters]int, err error) {
	acked = [faultWriters]int{-1, -1}
	db, err := Open("/store", opts)
	if err != nil {
		return acked, err
	}
	var errs [faultWriters]error
	var wg sync.WaitGroup
	for w := range faultWriters {
		wg.Go(func() {
			for i := range faultRounds {
				b := db.NewBatch()
				b.Set(faultKey(w, i), make([]byte, 3000+i))
				b.DeleteRange([]byte("x"), []byte("y"))
				if errs[w] = storage.ApplySync(db, b); errs[w] != nil {
					return
				}
				if acked[w] = i; db.failed.Load() == nil {
					_, errs[w] = db.Get(faultKey(w, i))
				}
			}
		})
	}
	wg.Wait()
	err = errors.Join(errs[:]...)
	if db.fence.down.Load() {
		// A failed store stays failed, and says so in Close.
		if _, again := db.Apply(db.NewBatch()); !errors.Is(again, storage.ErrFailed) {
			return acked, fmt.Errorf("apply to a failed store: %v", again)
		}
		if _, again := db.Get([]byte("k")); !errors.Is(again, storage.ErrFailed) {
			return acked, fmt.Errorf("get from a failed store: %v", again)
		}
	}
	return acked, errors.Join(err, db.Close())
}

func faultKey(w, i int) []byte { return fmt.Appendf(nil, "%d/%03d", w, i) }

// checkAcked opens the store and checks that each writer's values are a
// prefix, at least up to what was acknowledged.
func checkAcked(fs vfs.FS, acked [faultWriters]int) error {
	db, err := Open("/store", Options{FS: fs})
	if err != nil {
		return fmt.Errorf("reopen: %w", err)
	}
	for w := range faultWriters {
		gone := false
		for i := range faultRounds {
			v, err := db.Get(faultKey(w, i))
			switch {
			case errors.Is(err, storage.ErrNotFound):
				if gone = true; i <= acked[w] {
					return fmt.Errorf("writer %d lost acknowledged write %d of %d", w, i, acked[w])
				}
			case err != nil:
				return err
			case gone || len(v) != 3000+i:
				return fmt.Errorf("writer %d has write %d after a gap, or cut short", w, i)
			}
		}
	}
	return db.Close()
}
