package pebblestore

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rhizome-p2p/rhizome/storage"
)

// A power failure at any operation of the first Open, and at any operation of
// the second, leaves a directory that opens and holds what it held. Of what
// was not synced, directory entries included, any part may survive.
func TestCrashDuringOpen(t *testing.T) {
	for _, opens := range []int{1, 2} {
		for n := int64(1); ; n++ {
			mem := vfs.NewCrashableMem()
			var ops atomic.Int64
			var once sync.Once
			var left []*vfs.MemFS
			hook := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && ops.Add(1) == n {
					once.Do(func() {
						for i, percent := range []int{0, 100, 50, 50, 50, 50, 50, 50} {
							left = append(left, mem.CrashClone(vfs.CrashCloneCfg{
								UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(n), uint64(i))),
							}))
						}
					})
				}
				return nil
			})
			for i := range opens {
				if i < opens-1 {
					ops.Store(-1 << 32)
				} else {
					ops.Store(0)
				}
				db, err := Open("/a/store", Options{FS: errorfs.Wrap(mem, hook)})
				if err != nil {
					t.Fatal(err)
				}
				b := db.NewBatch()
				b.Set([]byte("k"), []byte("v"))
				if i < opens-1 {
					err = storage.ApplySync(db, b)
				}
				if err := errors.Join(err, db.Close()); err != nil {
					t.Fatal(err)
				}
			}
			if left == nil {
				if n < 20 {
					t.Errorf("open has only %d operations", n)
				}
				break
			}
			for i, fs := range left {
				db, err := Open("/a/store", Options{FS: fs})
				if err != nil {
					t.Fatalf("open %d, crash at operation %d, clone %d: %v", opens, n, i, err)
				}
				if _, err := db.Get([]byte("k")); opens > 1 && err != nil {
					t.Fatalf("open %d, crash at operation %d, clone %d: the store is empty: %v", opens, n, i, err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
