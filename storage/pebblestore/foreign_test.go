package pebblestore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rhizome-p2p/rhizome/storage"
)

// makeForeign makes a database as other programs do, with half of its pairs in a
// table and half in the log.
func makeForeign(t *testing.T, pairs int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	db, err := pebble.Open(dir, &pebble.Options{Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range pairs {
		if err := db.Set(flipKey(i), flipValue(i), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		if i == pairs/2 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Another program's database reads as it was written, from tables and log, and
// not a byte of it changes; while it is open, nobody else opens it.
func TestForeign(t *testing.T) {
	dir := makeForeign(t, 100)
	before := contentsOf(t, dir)
	f, err := OpenForeign(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenForeign(dir); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("opened twice: %v, want ErrLocked", err)
	}
	n := 0
	for kv, err := range f.Scan(flipKey(10), flipKey(90)) {
		if err != nil || !bytes.Equal(kv.Key, flipKey(10+n)) || !bytes.Equal(kv.Value, flipValue(10+n)) {
			t.Fatalf("pair %d is %s, %v", n, kv.Key, err)
		}
		n++
	}
	if n != 80 {
		t.Errorf("%d pairs, want 80", n)
	}
	for i := range 100 {
		if v, err := f.Get(flipKey(i)); err != nil || !bytes.Equal(v, flipValue(i)) {
			t.Errorf("key %d: %v", i, err)
		}
	}
	if _, err := f.Get([]byte("absent")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("absent key: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Get(flipKey(1)); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
	for _, err := range f.Scan(nil, nil) {
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("scan after close: %v", err)
		}
	}
	if contentsOf(t, dir) != before {
		t.Error("the directory has changed")
	}
}

func contentsOf(t *testing.T, dir string) (all string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range files {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all += fmt.Sprintf("%s %d %x\n", e.Name(), len(b), b)
	}
	return all
}

// A flipped bit in another program's table is an error, never another value, and
// does not end the process.
func TestForeignBitFlips(t *testing.T) {
	dir := makeForeign(t, 100)
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	good, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	noticed := 0
	for at := 0; at < len(good); at += len(good)/40 + 1 {
		bad := bytes.Clone(good)
		bad[at] ^= 4
		if err := os.WriteFile(tables[0], bad, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := OpenForeign(dir)
		if err != nil {
			noticed++
			continue
		}
		n := 0
		for kv, err := range f.Scan(nil, nil) {
			switch {
			case errors.Is(err, storage.ErrCorrupt):
				noticed++
			case err != nil:
				t.Errorf("flip at %d: %v, want ErrCorrupt", at, err)
			case !bytes.Equal(kv.Value, flipValue(n)):
				t.Errorf("flip at %d: key %s has another value", at, kv.Key)
			}
			n++
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if noticed < 30 {
		t.Errorf("%d flips were noticed", noticed)
	}
}
