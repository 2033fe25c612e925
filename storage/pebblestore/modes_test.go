//go:build unix

package pebblestore

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rhizome-p2p/rhizome/storage"
)

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
