package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/storage"
	"github.com/rhizome-p2p/rhizome/storage/storagetest"
)

// A memDisk reopens a memory store by what its crash leaves.
type memDisk struct{ m *storage.Memory }

func (d *memDisk) Open() (storage.DB, error) {
	d.m = d.m.Crash()
	return d.m, nil
}

func (d *memDisk) Crash(uint64) error { return nil } // the next Open does it

func newMemDisk() *memDisk { return &memDisk{storage.NewMemory()} }

func TestMemoryContract(t *testing.T) {
	storagetest.Run(t, func(testing.TB) storagetest.Opener { return newMemDisk().Open })
}

func TestFaultyContract(t *testing.T) {
	storagetest.Run(t, func(testing.TB) storagetest.Opener {
		d := newMemDisk()
		return func() (storage.DB, error) {
			db, err := d.Open()
			return storage.NewFaulty(db, storage.Fault{}), err
		}
	})
}

func TestMemoryCrash(t *testing.T) {
	storagetest.RunCrash(t, func(testing.TB) storagetest.Disk { return newMemDisk() })
}

// After a crash the old store is closed, a Wait of what was lost says so, and
// one of what was durable anyway does not.
func TestCrashEndsTheStore(t *testing.T) {
	m := storage.NewMemory()
	var commits []storage.Commit
	for i := range 3 {
		b := m.NewBatch()
		b.Set([]byte{byte(i)}, []byte("v"))
		c, err := m.Apply(b)
		if err != nil {
			t.Fatal(err)
		}
		commits = append(commits, c)
	}
	if err := commits[1].Wait(); err != nil {
		t.Fatal(err)
	}
	after := m.Crash()
	if err := commits[0].Wait(); err != nil {
		t.Errorf("wait of a batch under a durable one: %v", err)
	}
	if err := commits[2].Wait(); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("wait of a lost batch: %v, want ErrClosed", err)
	}
	if _, err := m.Get([]byte{0}); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("get from the crashed store: %v, want ErrClosed", err)
	}
	for i, want := range []error{nil, nil, storage.ErrNotFound} {
		if _, err := after.Get([]byte{byte(i)}); !errors.Is(err, want) {
			t.Errorf("key %d after the crash: %v, want %v", i, err, want)
		}
	}
}

// Each kind of fault at each write leaves what it says, and refuses the rest.
func TestFaults(t *testing.T) {
	const writes = 3
	for _, at := range []storage.FaultPoint{storage.FaultApply, storage.FaultWait} {
		for _, persist := range []bool{false, true} {
			for n := 1; ; n++ {
				mem := storage.NewMemory()
				f := storage.NewFaulty(mem, storage.Fault{At: at, N: n, Persist: persist})
				acked := 0
				var last error
				for i := range writes {
					b := f.NewBatch()
					b.Set([]byte{byte(i)}, []byte("v"))
					if last = storage.ApplySync(f, b); last == nil {
						acked++
					}
				}
				if !f.Fired() {
					if n != writes+1 || acked != writes || f.Close() != nil {
						t.Fatalf("no fault at %d, %d acknowledged", n, acked)
					}
					break
				}
				if !errors.Is(last, storage.ErrFailed) || !errors.Is(last, storage.ErrInjected) || f.Close() != last {
					t.Errorf("error after the fault: %v", last)
				}
				want := n - 1
				if acked != want {
					t.Errorf("fault at %d: %d acknowledged", n, acked)
				}
				if persist {
					want++
				}
				after := mem.Crash()
				got := 0
				for range after.Scan(nil, nil) {
					got++
				}
				if got != want {
					t.Errorf("%v at %d, persist %v: %d keys after the crash, want %d", at, n, persist, got, want)
				}
			}
		}
	}
}

// A fault of the inner store is the inner store's error.
func TestFaultyPassesErrors(t *testing.T) {
	m := storage.NewMemory()
	lost, err := storage.NewFaulty(m, storage.Fault{At: storage.FaultWait, N: 1, Persist: true}).Apply(m.NewBatch())
	if err != nil {
		t.Fatal(err)
	}
	f := storage.NewFaulty(m, storage.Fault{At: storage.FaultApply, N: 2, Persist: true})
	m.Crash()
	for range 2 {
		if _, err := f.Apply(m.NewBatch()); !errors.Is(err, storage.ErrClosed) {
			t.Errorf("apply: %v, want ErrClosed", err)
		}
	}
	if err := lost.Wait(); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("wait: %v, want ErrClosed", err)
	}
}

// A wait that was under way when another write failed fails too.
func TestFaultFailsPendingWaits(t *testing.T) {
	f := storage.NewFaulty(storage.NewMemory(), storage.Fault{At: storage.FaultApply, N: 2})
	c, err := f.Apply(f.NewBatch())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Apply(f.NewBatch()); !errors.Is(err, storage.ErrInjected) {
		t.Fatal(err)
	}
	if err := c.Wait(); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("wait: %v, want ErrFailed", err)
	}
}

// PrefixEnd bounds exactly the keys with the prefix.
func TestPrefixEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0xfe, 0xff}), 0, 4)
		prefix, key := b.Draw(t, "prefix"), b.Draw(t, "key")
		before := slices.Clone(prefix)
		end := storage.PrefixEnd(prefix)
		in := bytes.Compare(key, prefix) >= 0 && (end == nil || bytes.Compare(key, end) < 0)
		if in != bytes.HasPrefix(key, prefix) || !bytes.Equal(before, prefix) {
			t.Fatalf("prefix %x, end %x, key %x: in the range %v", prefix, end, key, in)
		}
	})
}

// A snapshot of a store of 200,000 keys costs next to nothing, and a write
// beside it copies a path, not the store.
func TestMemorySnapshotIsCheap(t *testing.T) {
	m := storage.NewMemory()
	b := m.NewBatch()
	for i := range 200_000 {
		b.Set(fmt.Appendf(nil, "key %06d", i), []byte("value"))
	}
	if err := storage.ApplySync(m, b); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range 100 {
		s := m.Snapshot()
		b := m.NewBatch()
		b.Set(fmt.Appendf(nil, "key %06d", i*997), []byte("other"))
		b.DeleteRange([]byte("key 1"), []byte("key 100100"))
		if err := storage.ApplySync(m, b); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if per := (after.TotalAlloc - before.TotalAlloc) / 100; per > 64<<10 {
		t.Errorf("a write beside a snapshot allocates %d bytes", per)
	}
}

func BenchmarkMemory(b *testing.B) {
	m := storage.NewMemory()
	fill := m.NewBatch()
	for i := range 200_000 {
		fill.Set(fmt.Appendf(nil, "key %06d", i), []byte("value"))
	}
	if err := storage.ApplySync(m, fill); err != nil {
		b.Fatal(err)
	}
	b.Run("set", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			w := m.NewBatch()
			w.Set(fmt.Appendf(nil, "key %06d", i*7919%200_000), []byte("value"))
			if err := storage.ApplySync(m, w); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := m.Get(fmt.Appendf(nil, "key %06d", i*7919%200_000)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
