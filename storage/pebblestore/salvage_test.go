package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rhizome-p2p/rhizome/storage"
)

const salvageKeys = 3000

func salvageKey(i int) []byte {
	return binary.BigEndian.AppendUint64([]byte{1, 'e', 0, 0, 0, byte(i % 3)}, uint64(i/3+1))
}

// leastKey returns the least key that there may be.
func leastKey() []byte { return append([]byte{1, 'e'}, make([]byte, 12)...) }

// makeWreck returns a file system with a store: half of its keys in tables, the
// rest in the log, with other keys around them.
func makeWreck(t *testing.T) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	db, err := Open("/store", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	for part := range 4 {
		b := db.NewBatch()
		for i := part * salvageKeys / 4; i < (part+1)*salvageKeys/4; i++ {
			b.Set(salvageKey(i), flipValue(i))
			b.Set(fmt.Appendf([]byte{1, 's'}, "row %d", i), []byte("row"))
		}
		if err := storage.ApplySync(db, b); err != nil {
			t.Fatal(err)
		}
		if part == 1 { // into tables, and the log is gone
			if err := errors.Join(db.db.Flush(), db.Close()); err != nil {
				t.Fatal(err)
			}
			if db, err = Open("/store", Options{FS: fs}); err != nil {
				t.Fatal(err)
			}
		}
	}
	db.db.TestOnlyWaitForCleaning() // a log that is still there holds what the tables do
	clone := vfs.NewMem()           // what a process that dies leaves
	if _, err := vfs.Clone(fs, clone, "/store", "/store"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return clone
}

// salvaged returns which keys come out, after it has looked at their values.
func salvaged(t *testing.T, fs vfs.FS) (map[int]bool, SalvageReport) {
	t.Helper()
	out := make(map[int]bool)
	rep, err := Salvage("/store", fs, leastKey(), []byte{1, 'f'}, func(k, v []byte) error {
		if len(k) != 14 {
			t.Fatalf("key %x", k)
		}
		i := int(binary.BigEndian.Uint64(k[6:])-1)*3 + int(k[5])
		if i >= salvageKeys || !bytes.Equal(v, flipValue(i)) {
			t.Fatalf("key %d has another value", i)
		}
		out[i] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, rep
}

// All of a store that is whole comes out, from tables and log, and the store is
// as it was.
func TestSalvageWhole(t *testing.T) {
	fs := makeWreck(t)
	got, rep := salvaged(t, fs)
	if len(got) != salvageKeys || len(rep.Damaged) > 0 || rep.Files < 2 {
		t.Fatalf("%d keys of %d, %+v", len(got), salvageKeys, rep)
	}
	db, err := Open("/store", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Salvage("/store", fs, nil, nil, nil); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("of a store that is open: %v", err)
	}
	if v, err := db.Get(salvageKey(salvageKeys - 1)); err != nil || !bytes.Equal(v, flipValue(salvageKeys-1)) {
		t.Errorf("after the salvage: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	full := errors.New("full")
	if _, err := Salvage("/store", fs, leastKey(), []byte{1, 'f'}, func(_, _ []byte) error { return full }); !errors.Is(err, full) {
		t.Errorf("nowhere to keep it: %v", err)
	}
}

// A flipped bit in a table costs the block that it is in and no more, wherever
// it is; nothing that comes out is wrong.
func TestSalvageFlips(t *testing.T) {
	fs := makeWreck(t)
	table := largest(t, fs, ".sst")
	info, err := fs.Stat(table)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	noticed, most := 0, 0
	for range 40 {
		// The footer and the indexes before it hold up the whole table.
		bit := r.IntN(int(info.Size()) * 8 * 9 / 10)
		flip(t, fs, table, bit)
		got, rep := salvaged(t, fs)
		flip(t, fs, table, bit)
		lost := salvageKeys - len(got)
		if lost > 0 != (len(rep.Damaged) > 0) {
			t.Errorf("bit %d: %d keys lost, %+v", bit, lost, rep)
		}
		if lost > 0 {
			noticed, most = noticed+1, max(most, lost)
		}
	}
	t.Logf("%d flips cost keys, at most %d", noticed, most)
	if noticed == 0 || most > 100 {
		t.Errorf("%d flips cost keys, at most %d", noticed, most)
	}
	// Several at once, the first block among them.
	for _, at := range []int{100, int(info.Size()) / 3, int(info.Size()) / 2} {
		flip(t, fs, table, at*8)
	}
	got, rep := salvaged(t, fs)
	if lost := salvageKeys - len(got); lost == 0 || lost > 200 || len(rep.Damaged) != 1 {
		t.Errorf("three flips: %d keys lost, %+v", lost, rep)
	}
}

// A store whose manifest is gone, or any of whose files is rubbish, gives what
// the others hold.
func TestSalvageFiles(t *testing.T) {
	fs := makeWreck(t)
	for _, name := range []string{"MANIFEST", ".sst", ".log", "OPTIONS"} {
		clone := vfs.NewMem()
		if _, err := vfs.Clone(fs, clone, "/store", "/store"); err != nil {
			t.Fatal(err)
		}
		path := largest(t, clone, name)
		data, err := clone.UnsafeGetFileDataBuffer(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range data {
			data[i] = byte(i * 7)
		}
		got, rep := salvaged(t, clone)
		switch rubbish := name == ".sst" || name == ".log"; {
		case rubbish && (len(got) < salvageKeys/2 || len(got) == salvageKeys || len(rep.Damaged) != 1):
			t.Errorf("%s: %d keys, %+v", name, len(got), rep)
		case !rubbish && len(got) != salvageKeys:
			t.Errorf("%s: %d keys, %+v", name, len(got), rep)
		}
	}
	if _, err := Salvage("/nowhere", fs, nil, nil, nil); err == nil {
		t.Error("a directory that is not there")
	}
}

// largest returns the largest file of a store whose name has a part.
func largest(t *testing.T, fs vfs.FS, part string) (path string) {
	t.Helper()
	names, err := fs.List("/store/db")
	if err != nil {
		t.Fatal(err)
	}
	size := int64(-1)
	for _, n := range names {
		p := fs.PathJoin("/store/db", n)
		if info, err := fs.Stat(p); err == nil && strings.Contains(n, part) && info.Size() > size {
			path, size = p, info.Size()
		}
	}
	if size < 0 {
		t.Fatalf("no file with %s in %v", part, names)
	}
	return path
}
