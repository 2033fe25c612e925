package rhizome

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// sizeFrom reads how much a benchmark is to do, so that a machine with less time
// can do less.
func sizeFrom(tb testing.TB, name string, usual int) int {
	tb.Helper()
	s := os.Getenv(name)
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return n
}

// open opens a repo offline, for as long as the benchmark lasts.
func openDir(tb testing.TB, dir string) *Node {
	tb.Helper()
	n, err := Open(tb.Context(), Options{Dir: dir, Offline: true, Retention: Retention{Mode: "archive"}})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// dirBytes is what the files of a directory take.
func dirBytes(tb testing.TB, dir string) (total int64) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		i, err := d.Info()
		if err == nil {
			total += i.Size()
		}
		return ignoreGone(err)
	})
	if err != nil {
		tb.Fatal(err)
	}
	return total
}

// ignoreGone passes over files that the store removes meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// A load is writers that write as fast as the disk lets them, and how long each
// write took.
type load struct {
	mu   sync.Mutex
	took []time.Duration
}

// run lets 64 writers write until stop is closed.
func (l *load) run(tb testing.TB, n *Node, round int, stop <-chan struct{}) *sync.WaitGroup {
	wg := new(sync.WaitGroup)
	for w := range 64 {
		wg.Go(func() {
			r := mathrand.New(mathrand.NewPCG(uint64(w), uint64(round)))
			var took []time.Duration
			for i := 0; ; i++ {
				select {
				case <-stop:
					l.mu.Lock()
					l.took = append(l.took, took...)
					l.mu.Unlock()
					return
				default:
				}
				start := time.Now()
				if _, err := n.Put(context.Background(), fmt.Sprintf("load/%d/%d/%d", round, w, i), noise(r)); err != nil {
					tb.Error(err)
					return
				}
				took = append(took, time.Since(start))
			}
		})
	}
	return wg
}

func (l *load) quantile(q float64) time.Duration {
	slices.Sort(l.took)
	return l.took[int(q*float64(len(l.took)-1))]
}

// A million entries dropped while 64 writers go on: how long the call took, and
// the writers' p99 before it and during it, until the space is given back.
//
//	go test -run '^$' -bench CompactUnderLoad -benchtime 1x .
func BenchmarkCompactUnderLoad(b *testing.B) {
	entries := sizeFrom(b, "RHIZOME_ENTRIES", 1_000_000)
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "repo")
		fill(b, dir, entries)
		n := openDir(b, dir)
		full := dirBytes(b, dir)
		measure := func(round int, during func()) *load {
			l, stop := new(load), make(chan struct{})
			wg := l.run(b, n, round, stop)
			during()
			close(stop)
			wg.Wait()
			return l
		}
		wait := func() { <-time.After(5 * time.Second) }
		measure(0, wait) // what opening left to do is done
		before := measure(1, wait)
		var rep CompactReport
		during := measure(2, func() {
			var err error
			if rep, err = n.Compact(b.Context(), CompactOptions{Force: true}); err != nil {
				b.Fatal(err)
			}
		})
		after := measure(3, wait)
		b.ReportMetric(float64(rep.Dropped), "dropped")
		b.ReportMetric(float64(rep.Work.Microseconds())/1000, "call-ms")
		b.ReportMetric(rep.Reclaim.Seconds(), "reclaim-s")
		b.ReportMetric(float64(before.quantile(0.99).Microseconds())/1000, "p99-before-ms")
		b.ReportMetric(float64(during.quantile(0.99).Microseconds())/1000, "p99-during-ms")
		b.ReportMetric(float64(after.quantile(0.99).Microseconds())/1000, "p99-after-ms")
		b.ReportMetric(float64(during.quantile(0.99))/float64(before.quantile(0.99)), "ratio")
		b.ReportMetric(float64(full)/1e6, "MB-before")
		if err := n.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// What 20,000 keys of 100 random bytes take after a compaction, beside what raw
// Pebble with the same options takes for them.
//
//	go test -run '^$' -bench DiskAfterCompact -benchtime 1x .
func BenchmarkDiskAfterCompact(b *testing.B) {
	const keys = 20_000
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "repo")
		fill(b, dir, keys)
		n := openDir(b, dir)
		if _, err := n.Compact(b.Context(), CompactOptions{Force: true}); err != nil {
			b.Fatal(err)
		}
		ours := dirBytes(b, filepath.Join(dir, dataDir))
		if err := n.Close(); err != nil {
			b.Fatal(err)
		}
		closed := dirBytes(b, filepath.Join(dir, dataDir))

		raw := filepath.Join(b.TempDir(), "raw")
		o := &pebble.Options{FormatMajorVersion: pebble.FormatNewest, MemTableSize: 64 << 20, Logger: silence{}}
		o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
		db, err := pebble.Open(raw, o)
		if err != nil {
			b.Fatal(err)
		}
		r := mathrand.New(mathrand.NewPCG(1, 2))
		for i := range keys {
			if err := db.Set(fmt.Appendf(nil, "key/%08d", i), raw100(r), pebble.NoSync); err != nil {
				b.Fatal(err)
			}
		}
		if err := db.Flush(); err != nil {
			b.Fatal(err)
		}
		if err := db.Compact(b.Context(), []byte("a"), []byte("z"), false); err != nil {
			b.Fatal(err)
		}
		theirs := dirBytes(b, raw)
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(ours)/1e6, "ours-MB")
		b.ReportMetric(float64(closed)/1e6, "ours-closed-MB")
		b.ReportMetric(float64(theirs)/1e6, "raw-MB")
		b.ReportMetric(float64(ours)/float64(theirs), "ratio")
	}
}

type silence struct{}

func (silence) Infof(string, ...any)      {}
func (silence) Errorf(string, ...any)     {}
func (silence) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// A peer away during 50,000 edits of 20,000 keys and five compactions, with 500
// edits of its own: how long it takes from connecting until both are equal, and
// what goes over the wire, beside what the rows are worth that differ.
//
//	go test -run '^$' -bench Return -benchtime 1x .
func BenchmarkReturn(b *testing.B) {
	const keys, rounds, edits, own = 20_000, 5, 10_000, 500
	for b.Loop() {
		base := b.TempDir()
		dirA, dirB := filepath.Join(base, "a"), filepath.Join(base, "b")
		fill(b, dirA, keys)
		a := open(b, Options{Dir: dirA})
		inv, err := a.Invite(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		n := open(b, Options{Dir: dirB, Create: true, Join: inv})
		waitDigest(b, n, digestOf(b, a))
		if err := errors.Join(n.Close(), a.Close()); err != nil {
			b.Fatal(err)
		}
		changed := make(map[string]bool)
		for round := range rounds {
			r := mathrand.New(mathrand.NewPCG(7, uint64(round)))
			write(b, dirA, edits, func(int, *mathrand.Rand) Op {
				key := fmt.Sprintf("key/%08d", r.IntN(keys))
				changed[key] = true
				if r.IntN(20) == 0 {
					return Op{Kind: OpRm, Entity: key}
				}
				return Op{Kind: OpPut, Entity: key, Value: raw100(r)}
			})
			off := openDir(b, dirA)
			rep, err := off.Compact(b.Context(), CompactOptions{Force: true})
			if err != nil || rep.Dropped == 0 {
				b.Fatalf("round %d: %d dropped, %v", round, rep.Dropped, err)
			}
			if err := off.Close(); err != nil {
				b.Fatal(err)
			}
		}
		write(b, dirB, own, func(i int, r *mathrand.Rand) Op {
			return Op{Kind: OpPut, Entity: fmt.Sprintf("own/%d", i), Value: raw100(r)}
		})
		// Addresses that neither has told the other: the wire is their only way.
		a = open(b, Options{Dir: dirA, Listen: []string{"/ip4/127.0.0.2/tcp/0"}, Retention: Retention{Mode: "archive"}})
		w := newWire(b, a.Addrs()[0])
		start := time.Now()
		n = open(b, Options{Dir: dirB, Listen: []string{"/ip4/127.0.0.3/tcp/0"}, Bootstrap: []string{w.addr}})
		eventually(b, time.Minute, "equal states", func() bool {
			x, y := status(b, a, false), status(b, n, false)
			return x.Digest == y.Digest && x.Frontier == y.Frontier
		})
		took := time.Since(start)
		if w.bytes.Load() < own*100 {
			b.Fatalf("%d bytes went over the wire: they met elsewhere", w.bytes.Load())
		}
		for i := range own {
			if _, err := a.Get(b.Context(), fmt.Sprintf("own/%d", i), ""); err != nil {
				b.Fatalf("edit %d made while away: %v", i, err)
			}
		}
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(float64(w.bytes.Load())/1e6, "wire-MB")
		b.ReportMetric(float64((len(changed)+own)*100)/1e6, "payload-MB")
		b.ReportMetric(float64(w.bytes.Load())/float64((len(changed)+own)*100), "wire/payload")
		if err := errors.Join(n.Close(), a.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
