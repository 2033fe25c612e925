package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rhizome-p2p/rhizome/storage"
)

const flipKeys = 400

func flipKey(i int) []byte { return fmt.Appendf(nil, "key %05d", i) }

// flipValue is incompressible, so that most flips hit a value.
func flipValue(i int) []byte {
	v := make([]byte, 200)
	r := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})
	_, _ = r.Read(v)
	return v
}

// makeTables returns a file system with a store whose keys are all in tables,
// and the path of its largest table.
func makeTables(t *testing.T) (fs *vfs.MemFS, table string) {
	t.Helper()
	fs = vfs.NewMem()
	db, err := Open("/store", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	b := db.NewBatch()
	for i := range flipKeys {
		b.Set(flipKey(i), flipValue(i))
	}
	if err := storage.ApplySync(db, b); err != nil {
		t.Fatal(err)
	}
	if err := db.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("/store/db")
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, n := range names {
		path := fs.PathJoin("/store/db", n)
		if info, err := fs.Stat(path); err == nil && strings.HasSuffix(n, ".sst") && info.Size() > size {
			table, size = path, info.Size()
		}
	}
	return fs, table
}

// flip inverts one bit of a file.
func flip(t *testing.T, fs *vfs.MemFS, path string, bit int) {
	t.Helper()
	data, err := fs.UnsafeGetFileDataBuffer(path)
	if err != nil {
		t.Fatal(err)
	}
	data[bit/8] ^= 1 << (bit % 8)
}

// A flipped bit anywhere in a table is never served: each read returns what
// was written or ErrCorrupt, Open succeeds or returns ErrCorrupt, and once it
// was noticed, the callback has heard of it and writes are refused.
func TestBitFlipsAreNotServed(t *testing.T) {
	fs, table := makeTables(t)
	info, err := fs.Stat(table)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	flips, noticed := 60, 0
	if testing.Short() {
		flips = 20
	}
	for range flips {
		bit := r.IntN(int(info.Size()) * 8)
		flip(t, fs, table, bit)
		if readFlipped(t, fs, bit) {
			noticed++
		}
		flip(t, fs, table, bit)
	}
	t.Logf("%d of %d flips noticed", noticed, flips)
	if noticed < flips*9/10 {
		t.Errorf("only %d of %d flips were noticed", noticed, flips)
	}
}

func readFlipped(t *testing.T, fs vfs.FS, bit int) (noticed bool) {
	t.Helper()
	var heard atomic.Int32
	db, err := Open("/store", Options{FS: fs, OnCorruption: func(err error) {
		if errors.Is(err, storage.ErrCorrupt) {
			heard.Add(1)
		}
	}})
	if err != nil {
		if !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("bit %d: open: %v, want ErrCorrupt", bit, err)
		}
		return true
	}
	check := func(what string, key, got []byte, err error) {
		var i int
		if _, bad := fmt.Sscanf(string(key), "key %d", &i); err == nil && (bad != nil || !bytes.Equal(got, flipValue(i))) {
			t.Errorf("bit %d: %s of %q served a wrong value", bit, what, key)
		}
		if err != nil && (!errors.Is(err, storage.ErrCorrupt) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("bit %d: %s of %q: %q, want ErrCorrupt in a line", bit, what, key, err)
		}
		noticed = noticed || err != nil
	}
	for i := range flipKeys {
		v, err := db.Get(flipKey(i))
		check("get", flipKey(i), v, err)
	}
	for _, seq := range []func(lo, hi []byte) func(func(storage.KV, error) bool){
		func(lo, hi []byte) func(func(storage.KV, error) bool) { return db.Scan(lo, hi) },
		func(lo, hi []byte) func(func(storage.KV, error) bool) { return db.ScanReverse(lo, hi) },
	} {
		n, failed := 0, false
		for kv, err := range seq(nil, nil) {
			check("scan", kv.Key, kv.Value, err)
			n++
			failed = failed || err != nil
		}
		if !failed && n != flipKeys {
			t.Errorf("bit %d: scan served %d keys of %d", bit, n, flipKeys)
		}
	}
	_, err = db.Apply(db.NewBatch())
	if noticed && (!errors.Is(err, storage.ErrFailed) || !errors.Is(err, storage.ErrCorrupt) || heard.Load() != 1) {
		t.Errorf("bit %d: apply after corruption: %v, and %d were heard of", bit, err, heard.Load())
	}
	if err := db.Close(); err != nil {
		t.Errorf("bit %d: close: %v", bit, err)
	}
	return noticed
}

// Corruption found by a compaction is heard of, ends the writes and does not
// keep the store busy; what is intact can still be read.
func TestCorruptionInTheBackground(t *testing.T) {
	fs, table := makeTables(t)
	flip(t, fs, table, 8*1000)
	heard := make(chan error, 1)
	// No compaction starts once the store has failed, so the one that the
	// test asks for would wait for ever.
	ctx, cancel := context.WithCancel(t.Context())
	db, err := Open("/store", Options{FS: fs, OnCorruption: func(err error) {
		heard <- err
		cancel()
	}})
	if err != nil {
		t.Fatal(err)
	}
	b := db.NewBatch()
	b.Set(flipKey(0), nil)
	b.Set([]byte("z"), []byte("intact"))
	if err := storage.ApplySync(db, b); err != nil {
		t.Fatal(err)
	}
	if err := db.db.Compact(ctx, []byte("a"), []byte("zz"), false); err == nil {
		t.Error("the compaction found nothing")
	}
	if err := <-heard; !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("heard of %v", err)
	}
	if _, err := db.Apply(db.NewBatch()); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("apply: %v, want ErrCorrupt", err)
	}
	if v, err := db.Get([]byte("z")); err != nil || string(v) != "intact" {
		t.Errorf("get of what is intact: %q, %v", v, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// A log with a flipped bit before its last synced record is ErrCorrupt at
// Open, not a shorter history.
func TestFlippedLog(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db, err := Open("/store", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 600 { // more than two blocks of the log
		b := db.NewBatch()
		b.Set(flipKey(i), flipValue(i))
		if err := storage.ApplySync(db, b); err != nil {
			t.Fatal(err)
		}
	}
	left := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := left.List("/store/db")
	if err != nil {
		t.Fatal(err)
	}
	flipped := false
	for _, n := range names {
		path := left.PathJoin("/store/db", n)
		if info, err := left.Stat(path); err == nil && filepath.Ext(n) == ".log" && info.Size() > 64<<10 {
			flip(t, left, path, 8*5000)
			flipped = true
		}
	}
	if !flipped {
		t.Fatal("there is no log of that size")
	}
	if _, err := Open("/store", Options{FS: left}); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("open: %v, want ErrCorrupt", err)
	}
}

// A table that is gone is corruption too, and no reason to exit.
func TestMissingTable(t *testing.T) {
	fs, table := makeTables(t)
	if err := fs.Remove(table); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("/store", Options{FS: fs}); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("open: %v, want ErrCorrupt", err)
	}
}
