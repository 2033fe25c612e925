package pebblestore

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/storage"
)

// A log holds what was written to it and then nothing but zeros, never more of them
// than it may be ahead, in a new file and in one that is used again.
func TestLogFileHoldsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := newFence(vfs.NewMem(), func(err error) { t.Fatal(err) })
		var old []byte
		for _, name := range []string{"1.log", "2.log"} {
			var f vfs.File
			var err error
			if name == "1.log" {
				f, err = fs.Create(name, "pebble-wal")
			} else {
				f, err = fs.ReuseForWrite("1.log", name, "pebble-wal")
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			for i := range rapid.IntRange(1, 40).Draw(t, "writes") {
				p := bytes.Repeat([]byte{byte(i + 1)}, rapid.SampledFrom([]int{1, 500, 30_000, 200_000}).Draw(t, "bytes"))
				want = append(want, p...) // Write may change p
				if _, err := f.Write(p); err != nil {
					t.Fatal(err)
				}
				if rapid.Bool().Draw(t, "sync") {
					if err := f.SyncData(); err != nil {
						t.Fatal(err)
					}
				}
			}
			got := contents(t, fs, name)
			rest := got[len(want):]
			if used := min(len(old), len(got)); len(want) < used { // what the file had before
				if !bytes.Equal(rest[:used-len(want)], old[len(want):used]) {
					t.Fatalf("%s: what was there is another", name)
				}
				rest = rest[used-len(want):]
			}
			if !bytes.Equal(got[:len(want)], want) || len(bytes.TrimLeft(rest, "\x00")) > 0 || len(rest) > max(mostAhead, len(old)) {
				t.Fatalf("%s: %d bytes written, %d there", name, len(want), len(got))
			}
			old = got
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func contents(t *rapid.T, fs vfs.FS, name string) []byte {
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A log is written ahead where its syncs are small, and not where they are large,
// whichever came before.
func TestLogFileGoesAheadOfSmallSyncs(t *testing.T) {
	fs := newFence(vfs.NewMem(), func(err error) { t.Fatal(err) })
	f, err := fs.Create("1.log", "pebble-wal")
	if err != nil {
		t.Fatal(err)
	}
	l := f.(*logFile)
	write := func(n, times int) (ahead int) {
		for range times {
			if _, err := f.Write(make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			if err := f.SyncData(); err != nil {
				t.Fatal(err)
			}
			if l.ahead > l.written {
				ahead++
			}
		}
		return ahead
	}
	if n := write(500, 10_000); n < 9_950 {
		t.Errorf("ahead of %d of 10,000 small syncs", n)
	}
	write(300_000, 10)
	if n := write(300_000, 100); n > 0 {
		t.Errorf("ahead of %d of 100 large syncs", n)
	}
	write(500, 2*aheadWindow/500)
	if n := write(500, 1000); n < 990 {
		t.Errorf("ahead of %d of 1,000 small syncs after large ones", n)
	}
}

// A full disk does not matter to what is written ahead: the log itself says when
// there is no room for it.
func TestLogFileGoesOnWithoutRoomAhead(t *testing.T) {
	var refused atomic.Int64
	s, err := Open("/store", Options{FS: noRoom{vfs.NewMem(), &refused}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		b := s.NewBatch()
		b.Set(fmt.Appendf(nil, "key%d", i), []byte("value"))
		if err := storage.ApplySync(s, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if refused.Load() == 0 {
		t.Error("nothing was to be written ahead")
	}
}

// A noRoom file system has no room but for what is appended.
type noRoom struct {
	vfs.FS
	refused *atomic.Int64
}

func (f noRoom) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	return noRoomFile{file, f.refused}, err
}

type noRoomFile struct {
	vfs.File
	refused *atomic.Int64
}

func (f noRoomFile) WriteAt([]byte, int64) (int, error) {
	f.refused.Add(1)
	return 0, fmt.Errorf("no room")
}
