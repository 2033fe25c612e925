// Package storagetest is the suite that every store must pass. Run checks
// what the contract of package storage says of a store that works; RunCrash
// checks what is left of it after a power failure.
package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/storage"
)

// An Opener opens one store: empty at its first call, afterwards with what
// the store that was closed before held.
type Opener func() (storage.DB, error)

// A Disk is a store's disk that can lose its power.
type Disk interface {
	Open() (storage.DB, error)
	// Crash ends the store that is open as a power failure would: what was
	// not durable may be gone. The seed decides where there is a choice.
	Crash(seed uint64) error
}

// Run runs the suite. newOpener makes a fresh, empty place for a store.
func Run(t *testing.T, newOpener func(testing.TB) Opener) {
	RunCases(t, newOpener)
	t.Run("Model", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) { testModel(rt, newOpener(t)) })
	})
}

// RunCases is Run without the model test, whose many stores take long where
// opening one waits for a disk.
func RunCases(t *testing.T, newOpener func(testing.TB) Opener) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Opener)
	}{
		{"Get", testGet},
		{"ScanBounds", testScanBounds},
		{"ScanStopsEarly", testScanStopsEarly},
		{"ScanSeesItsStart", testScanSeesItsStart},
		{"Snapshot", testSnapshot},
		{"BatchOrder", testBatchOrder},
		{"BatchRefused", testBatchRefused},
		{"EmptyBatch", testEmptyBatch},
		{"BatchBytes", testBatchBytes},
		{"DeleteRange", testDeleteRange},
		{"LargeValues", testLargeValues},
		{"DiskBytes", testDiskBytes},
		{"Reopen", testReopen},
		{"Closed", testClosed},
		{"CloseEndsScan", testCloseEndsScan},
		{"Concurrent", testConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newOpener(t)) })
	}
}

func open(t testing.TB, o Opener) storage.DB {
	t.Helper()
	db, err := o()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return db
}

func put(t testing.TB, db storage.DB, kvs ...string) {
	t.Helper()
	b := db.NewBatch()
	for i := 0; i < len(kvs); i += 2 {
		b.Set([]byte(kvs[i]), []byte(kvs[i+1]))
	}
	must(t, storage.ApplySync(db, b))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantPairs(t testing.TB, r storage.Reader, want ...string) {
	t.Helper()
	got, err := all(r)
	must(t, err)
	if !slices.Equal(got, want) {
		t.Fatalf("got %s, want %s", got, want)
	}
}

// A value read is a copy of the value written; what is absent is ErrNotFound.
func testGet(t *testing.T, o Opener) {
	db := open(t, o)
	put(t, db, "k", "v", "empty", "")
	for key, want := range map[string]string{"k": "v", "empty": ""} {
		got, err := db.Get([]byte(key))
		if err != nil || string(got) != want || got == nil {
			t.Errorf("get %q: got %q, %v, want %q", key, got, err, want)
		}
		scribble(got)
		if again, _ := db.Get([]byte(key)); string(again) != want {
			t.Errorf("get %q after the copy was changed: got %q", key, again)
		}
	}
	for _, key := range []string{"absent", ""} {
		if v, err := db.Get([]byte(key)); !errors.Is(err, storage.ErrNotFound) || v != nil {
			t.Errorf("absent key %q: got %q, %v", key, v, err)
		}
	}
	must(t, db.Close())
}

// lo is in the range and hi is not; nil hi is no bound; inverted is empty.
func testScanBounds(t *testing.T, o Opener) {
	db := open(t, o)
	put(t, db, "a", "1", "b", "2", "b\x00", "3", "\xff\xff", "4")
	for _, c := range []struct {
		lo, hi []byte
		want   []string
	}{
		{nil, nil, []string{`"a"="1"`, `"b"="2"`, `"b\x00"="3"`, `"\xff\xff"="4"`}},
		{[]byte("b"), []byte("b\x00"), []string{`"b"="2"`}},
		{[]byte("b"), nil, []string{`"b"="2"`, `"b\x00"="3"`, `"\xff\xff"="4"`}},
		{nil, []byte("b"), []string{`"a"="1"`}},
		{[]byte("b"), []byte("b"), nil},
		{[]byte("c"), []byte("a"), nil},
		{nil, []byte{}, nil},
	} {
		got, err := scan(db, c.lo, c.hi, false)
		must(t, err)
		if !slices.Equal(got, c.want) {
			t.Errorf("scan [%q, %q): got %s, want %s", c.lo, c.hi, got, c.want)
		}
		got, err = scan(db, c.lo, c.hi, true)
		must(t, err)
		slices.Reverse(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("scan reverse [%q, %q): got %s reversed, want %s", c.lo, c.hi, got, c.want)
		}
	}
	must(t, db.Close())
}

// A scan that is left early leaves nothing behind: the store still closes.
func testScanStopsEarly(t *testing.T, o Opener) {
	db := open(t, o)
	put(t, db, "a", "1", "b", "2", "c", "3")
	for kv, err := range db.Scan(nil, nil) {
		if err != nil || string(kv.Key) != "a" {
			t.Fatalf("got %q, %v", kv.Key, err)
		}
		break
	}
	for kv, err := range db.ScanReverse(nil, nil) {
		if err != nil || string(kv.Key) != "c" {
			t.Fatalf("got %q, %v", kv.Key, err)
		}
		break
	}
	must(t, db.Close())
}

// A scan sees the state at its start, whatever is written meanwhile; one
// sequence ranged over twice sees two states.
func testScanSeesItsStart(t *testing.T, o Opener) {
	db := open(t, o)
	put(t, db, "a", "1", "c", "1")
	seq := db.Scan(nil, nil)
	var got []string
	for kv, err := range seq {
		must(t, err)
		got = append(got, string(kv.Key)+string(kv.Value))
		put(t, db, "b", "2", "c", "2")
	}
	for kv, err := range seq {
		must(t, err)
		got = append(got, string(kv.Key)+string(kv.Value))
	}
	if want := []string{"a1", "c1", "a1", "b2", "c2"}; !slices.Equal(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	must(t, db.Close())
}

// A snapshot stays as it was, also when what it shows is deleted, and is
// useless once closed.
func testSnapshot(t *testing.T, o Opener) {
	db := open(t, o)
	put(t, db, "a", "1", "b", "1")
	s := db.Snapshot()
	b := db.NewBatch()
	b.DeleteRange([]byte("a"), []byte("z"))
	b.Set([]byte("c"), []byte("2"))
	must(t, storage.ApplySync(db, b))
	wantPairs(t, s, `"a"="1"`, `"b"="1"`)
	wantPairs(t, db, `"c"="2"`)
	if v, err := s.Get([]byte("a")); err != nil || string(v) != "1" {
		t.Errorf("get from snapshot: %q, %v", v, err)
	}
	if _, err := s.Get([]byte("c")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("get of a later key from snapshot: %v", err)
	}
	must(t, s.Close())
	wantEnded(t, "closed snapshot", s)
	if err := s.Close(); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("second close of a snapshot: %v", err)
	}
	must(t, db.Close())
}

// Later writes of a batch win over earlier ones, range deletes included.
func testBatchOrder(t *testing.T, o Opener) {
	db := open(t, o)
	put(t, db, "old", "0")
	b := db.NewBatch()
	b.Set([]byte("a"), []byte("1"))
	b.Set([]byte("a"), []byte("2"))
	b.Set([]byte("b"), []byte("1"))
	b.Delete([]byte("b"))
	b.Set([]byte("c"), []byte("1"))
	b.DeleteRange([]byte("c"), []byte("z"))
	b.Set([]byte("d"), []byte("1"))
	must(t, storage.ApplySync(db, b))
	wantPairs(t, db, `"a"="2"`, `"d"="1"`)
	must(t, db.Close())
}

// A batch is applied once, by the store that made it, and writes no empty key
// and no range without an upper bound. A refused batch does not fail the store.
func testBatchRefused(t *testing.T, o Opener) {
	db := open(t, o)
	b := db.NewBatch()
	b.Set([]byte("a"), []byte("1"))
	must(t, storage.ApplySync(db, b))
	refused := map[string]storage.Batch{"used": b, "foreign": storage.NewMemory().NewBatch()}
	for name, bad := range map[string]func(storage.Batch){
		"sets the empty key":    func(b storage.Batch) { b.Set(nil, []byte("1")) },
		"deletes the empty key": func(b storage.Batch) { b.Delete([]byte{}) },
		"has no upper bound":    func(b storage.Batch) { b.DeleteRange([]byte("a"), nil) },
	} {
		b := db.NewBatch()
		b.Set([]byte("b"), []byte("1"))
		bad(b)
		refused[name] = b
	}
	for name, b := range refused {
		if _, err := db.Apply(b); !errors.Is(err, storage.ErrBatch) {
			t.Errorf("apply of a batch (%s): %v, want ErrBatch", name, err)
		}
	}
	put(t, db, "d", "1")
	wantPairs(t, db, `"a"="1"`, `"d"="1"`)
	must(t, db.Close())
}

func testEmptyBatch(t *testing.T, o Opener) {
	db := open(t, o)
	must(t, storage.ApplySync(db, db.NewBatch()))
	wantPairs(t, db)
	must(t, db.Close())
}

// Bytes grows by at least what a write holds, and not by much more.
func testBatchBytes(t *testing.T, o Opener) {
	db := open(t, o)
	b := db.NewBatch()
	before := b.Bytes()
	b.Set(make([]byte, 100), make([]byte, 1000))
	b.Delete(make([]byte, 100))
	b.DeleteRange(make([]byte, 100), bytes.Repeat([]byte{1}, 100))
	if n := b.Bytes() - before; n < 1400 || n > 1600 {
		t.Errorf("1400 bytes of keys and values make a batch of %d", n)
	}
	must(t, db.Close())
}

// A range delete takes what is in it and nothing else; where lo is not below
// hi it takes nothing; what is set afterwards stays.
func testDeleteRange(t *testing.T, o Opener) {
	db := open(t, o)
	for i := range 500 {
		b := db.NewBatch()
		b.Set(fmt.Appendf(nil, "k%03d", i), []byte("v"))
		_, err := db.Apply(b)
		must(t, err)
	}
	b := db.NewBatch()
	b.DeleteRange([]byte("k001"), []byte("k499"))
	b.DeleteRange([]byte("k499"), []byte("k000"))
	b.DeleteRange([]byte("k499"), []byte("k499"))
	b.DeleteRange([]byte("z"), []byte("k"))
	must(t, storage.ApplySync(db, b))
	put(t, db, "k250", "again")
	wantPairs(t, db, `"k000"="v"`, `"k250"="again"`, `"k499"="v"`)
	must(t, db.Close())
}

// Values of a megabyte and keys of kilobytes come back whole, also after a
// reopen.
func testLargeValues(t *testing.T, o Opener) {
	db := open(t, o)
	key, value := bytes.Repeat([]byte("k"), 4<<10), bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	b := db.NewBatch()
	b.Set(key, value)
	must(t, storage.ApplySync(db, b))
	must(t, db.Close())
	db = open(t, o)
	if got, err := db.Get(key); err != nil || !bytes.Equal(got, value) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	must(t, db.Close())
}

// DiskBytes is at least what incompressible values take.
func testDiskBytes(t *testing.T, o Opener) {
	db := open(t, o)
	b := db.NewBatch()
	x := uint32(1)
	for i := range 64 {
		v := make([]byte, 4096)
		for j := range v {
			x ^= x << 13
			x ^= x >> 17
			x ^= x << 5
			v[j] = byte(x)
		}
		b.Set([]byte{byte(i)}, v)
	}
	must(t, storage.ApplySync(db, b))
	n, err := db.DiskBytes()
	if err != nil || n < 64*4096 || n > 100*64*4096 {
		t.Errorf("DiskBytes of 256 KiB: %d, %v", n, err)
	}
	must(t, db.Close())
}

// What was applied is there after Close and reopen, waited for or not, and a
// Wait that comes after Close says so.
func testReopen(t *testing.T, o Opener) {
	db := open(t, o)
	for i := range 5 {
		b := db.NewBatch()
		b.Set(fmt.Appendf(nil, "%d", i), []byte("v"))
		c, err := db.Apply(b)
		must(t, err)
		defer func() { must(t, c.Wait()) }()
	}
	must(t, db.Close())
	db = open(t, o)
	wantPairs(t, db, `"0"="v"`, `"1"="v"`, `"2"="v"`, `"3"="v"`, `"4"="v"`)
	must(t, db.Close())
}

// wantEnded checks that all that r can do is say ErrClosed.
func wantEnded(t testing.TB, what string, r storage.Reader) {
	t.Helper()
	if _, err := r.Get([]byte("a")); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("%s: get: %v, want ErrClosed", what, err)
	}
	for _, reverse := range []bool{false, true} {
		if got, err := scan(r, nil, nil, reverse); !errors.Is(err, storage.ErrClosed) || got != nil {
			t.Errorf("%s: scan (reverse %v): %s, %v, want ErrClosed", what, reverse, got, err)
		}
	}
}

// After Close everything is ErrClosed, and snapshots that were left open are
// closed with the store.
func testClosed(t *testing.T, o Opener) {
	db := open(t, o)
	put(t, db, "a", "1")
	s, b := db.Snapshot(), db.NewBatch()
	b.Set([]byte("b"), []byte("1"))
	must(t, db.Close())
	wantEnded(t, "closed store", db)
	wantEnded(t, "snapshot of a closed store", s)
	wantEnded(t, "snapshot taken of a closed store", db.Snapshot())
	if _, err := db.Apply(b); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("apply: %v, want ErrClosed", err)
	}
	if _, err := db.DiskBytes(); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("disk bytes: %v, want ErrClosed", err)
	}
	if err := db.Close(); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("second close: %v, want ErrClosed", err)
	}
}

// A Close during a scan ends the scan with ErrClosed at its next step.
func testCloseEndsScan(t *testing.T, o Opener) {
	db := open(t, o)
	for i := range 1000 {
		b := db.NewBatch()
		b.Set(fmt.Appendf(nil, "%04d", i), []byte("v"))
		_, err := db.Apply(b)
		must(t, err)
	}
	done := make(chan error, 1)
	steps, last := 0, error(nil)
	for _, err := range db.Scan(nil, nil) {
		if last = err; err != nil {
			continue
		}
		if steps++; steps == 1 {
			go func() { done <- db.Close() }()
			// The store is closing once it says so; then the scan must end.
			for !errors.Is(second(db.Get([]byte("0000"))), storage.ErrClosed) {
			}
		}
	}
	must(t, <-done)
	if !errors.Is(last, storage.ErrClosed) || steps != 1 {
		t.Errorf("the scan made %d steps and ended with %v, want 1 and ErrClosed", steps, last)
	}
}

func second[T any](_ T, err error) error { return err }

// Writers, readers and snapshots at once: every reader sees whole batches
// only, and batches of one writer in order.
func testConcurrent(t *testing.T, o Opener) {
	const writers, rounds = 4, 30
	db := open(t, o)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				b := db.NewBatch()
				b.DeleteRange([]byte{byte(w)}, []byte{byte(w + 1)})
				b.Set([]byte{byte(w), 'x'}, []byte{byte(i)})
				b.Set([]byte{byte(w), 'y'}, []byte{byte(i)})
				if err := storage.ApplySync(db, b); err != nil {
					t.Errorf("apply: %v", err)
				}
			}
		})
		wg.Go(func() {
			last := -1
			for last < rounds-1 {
				s := db.Snapshot()
				x, errX := s.Get([]byte{byte(w), 'x'})
				y, errY := s.Get([]byte{byte(w), 'y'})
				pairs, err := scan(s, []byte{byte(w)}, []byte{byte(w + 1)}, last%2 == 0)
				if err := errors.Join(err, s.Close()); err != nil {
					t.Errorf("scan: %v", err)
				}
				if errors.Is(errX, storage.ErrNotFound) && errors.Is(errY, storage.ErrNotFound) && len(pairs) == 0 {
					continue
				}
				if errX != nil || errY != nil || !bytes.Equal(x, y) || len(pairs) != 2 || int(x[0]) < last {
					t.Errorf("after %d: got %v %v, %v %v, %s", last, x, errX, y, errY, pairs)
					return
				}
				last = int(x[0])
			}
		})
	}
	wg.Wait()
	must(t, db.Close())
}

// The store and the model agree after every step of a random history of
// batches, snapshots and reopens.
func testModel(t *rapid.T, o Opener) {
	db, err := o()
	if err != nil {
		t.Fatal(err)
	}
	m := model{}
	type pinned struct {
		storage.Snapshot
		m model
	}
	var snaps []pinned
	check := func(r storage.Reader, m model) {
		lo, hi := []byte(drawKey(t, "lo")), []byte(drawKey(t, "hi"))
		if rapid.Bool().Draw(t, "no bound") {
			hi = nil
		}
		if err := diff(r, m, lo, hi); err != nil {
			t.Fatal(err)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"apply": func(t *rapid.T) {
			ws, b := drawWrites(t), db.NewBatch()
			fill(b, ws)
			c, err := db.Apply(b)
			if err == nil && rapid.Bool().Draw(t, "wait") {
				err = c.Wait()
			}
			if err != nil {
				t.Fatal(err)
			}
			m.apply(ws)
		},
		"snapshot": func(t *rapid.T) {
			snaps = append(snaps, pinned{db.Snapshot(), clone(m)})
		},
		"read snapshot": func(t *rapid.T) {
			for _, s := range snaps {
				check(s, s.m)
			}
		},
		"reopen": func(t *rapid.T) {
			// Some snapshots are left for Close to end.
			for i, s := range snaps {
				if i%2 == 0 {
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				}
			}
			snaps = nil
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if db, err = o(); err != nil {
				t.Fatal(err)
			}
		},
		"": func(t *rapid.T) { check(db, m) },
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func clone(m model) model {
	c := make(model, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}
