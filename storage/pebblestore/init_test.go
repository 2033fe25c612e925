package pebblestore

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
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

// Files are 0600 and directories 0700 under the widest umask, also where the
// directory was there before, with wider modes.
func TestModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	db, err := Open(dir, Options{memTableBytes: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 { // flushes, compactions, recycled logs
		b := db.NewBatch()
		b.Set(flipKey(i%50), make([]byte, 4000))
		if err := storage.ApplySync(db, b); err != nil {
			t.Fatal(err)
		}
	}
	files := 0
	check := func() {
		if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return nil // removed meanwhile
			}
			want := fs.FileMode(0o600)
			if d.IsDir() {
				want = 0o700
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("%s has mode %o, want %o", d.Name(), got, want)
			}
			files++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	check()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	check()
	if files < 12 {
		t.Errorf("only %d files looked at", files)
	}
}
