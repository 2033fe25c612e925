package pebblestore

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rhizome-p2p/rhizome/storage"
	"github.com/rhizome-p2p/rhizome/storage/storagetest"
)

func TestContract(t *testing.T) {
	storagetest.Run(t, func(testing.TB) storagetest.Opener {
		fs := vfs.NewMem()
		return func() (storage.DB, error) { return Open("/store", Options{FS: fs}) }
	})
}

// The contract holds when every few writes fill a memtable, so that flushes
// and compactions run all the time.
func TestContractUnderCompaction(t *testing.T) {
	storagetest.Run(t, func(testing.TB) storagetest.Opener {
		fs := vfs.NewMem()
		return func() (storage.DB, error) { return Open("/store", Options{FS: fs, memTableBytes: 64 << 10}) }
	})
}

// The contract holds on the operating system's files.
func TestContractOnDisk(t *testing.T) {
	storagetest.RunCases(t, func(testing.TB) storagetest.Opener {
		dir := t.TempDir()
		return func() (storage.DB, error) { return Open(dir, Options{}) }
	})
}

func TestFaultyContract(t *testing.T) {
	storagetest.RunCases(t, func(testing.TB) storagetest.Opener {
		fs := vfs.NewMem()
		return func() (storage.DB, error) {
			db, err := Open("/store", Options{FS: fs})
			if err != nil {
				return nil, err
			}
			return storage.NewFaulty(db, storage.Fault{}), nil
		}
	})
}

// A crashDisk is a memory file system that keeps what was synced, and a
// random part of what was not.
type crashDisk struct {
	fs *vfs.MemFS
	db *Store
}

func (d *crashDisk) Open() (storage.DB, error) {
	var err error
	d.db, err = Open("/store", Options{FS: d.fs, memTableBytes: 64 << 10})
	return d.db, err
}

func (d *crashDisk) Crash(seed uint64) error {
	left := d.fs.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: int(seed % 101), RNG: rand.New(rand.NewPCG(seed, 0)),
	})
	err := d.db.Close() // its writes go to the old file system
	d.fs = left
	return err
}

func TestCrash(t *testing.T) {
	storagetest.RunCrash(t, func(testing.TB) storagetest.Disk {
		return &crashDisk{fs: vfs.NewCrashableMem()}
	})
}

// A directory is open once, under whatever name; closing frees it, and a
// failed Open does too.
func TestLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "store")
	db, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(wd, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, link, rel} {
		if _, err := Open(name, Options{}); !errors.Is(err, storage.ErrLocked) {
			t.Errorf("open %s again: %v, want ErrLocked", name, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err = Open(link, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// What cannot be a directory is an error, but not that of a lock.
func TestOpenNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, filepath.Join(file, "store")} {
		_, err := Open(name, Options{})
		if !errors.Is(err, syscall.ENOTDIR) || errors.Is(err, storage.ErrLocked) {
			t.Errorf("open %s: %v, want ENOTDIR", name, err)
		}
	}
	taken := t.TempDir()
	if err := os.Mkdir(filepath.Join(taken, "LOCK"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(taken, Options{}); err == nil || errors.Is(err, storage.ErrLocked) {
		t.Errorf("open with a LOCK that is no file: %v", err)
	}
}
