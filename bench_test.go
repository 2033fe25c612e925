package rhizome_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rhizome-p2p/rhizome"
)

// The benchmarks measure Rhizome and raw Pebble (same format, one 100-byte
// random value under a fresh key, Sync) in turn within one benchmark, and
// report the ratio: these machines are shared, and only what was measured side
// by side compares. `go test -run '^$' -bench Writes -benchtime 5x .`

const loopback = "/ip4/127.0.0.1/tcp/0"

func openRaw(b *testing.B) *pebble.DB {
	b.Helper()
	o := &pebble.Options{FormatMajorVersion: pebble.FormatNewest, MemTableSize: 64 << 20}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	o.Logger = silent{}
	db, err := pebble.Open(b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	return db
}

type silent struct{}

func (silent) Infof(string, ...any)      {}
func (silent) Errorf(string, ...any)     {}
func (silent) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func openNode(b testing.TB, o rhizome.Options) *rhizome.Node {
	b.Helper()
	if o.Dir == "" {
		o.Dir = b.TempDir()
	}
	o.Create = true
	if !o.Offline && len(o.Listen) == 0 {
		o.Listen = []string{loopback}
	}
	n, err := rhizome.Open(context.Background(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.Close() })
	return n
}

// values makes 100-byte values that do not compress: 100 bytes of random
// letters and digits hold almost as much as they take.
func value(r *rand.Rand) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	var v [100]byte
	for i := range v {
		v[i] = letters[r.IntN(len(letters))]
	}
	return string(v[:])
}

// inTurn runs both sides in rounds and reports rates and their ratio.
func inTurn(b *testing.B, perRound int, raw, ours func(n int)) {
	b.Helper()
	var rawTime, ourTime float64
	for b.Loop() {
		rawTime += timed(func() { raw(perRound) })
		ourTime += timed(func() { ours(perRound) })
	}
	rounds := float64(b.N * perRound)
	b.ReportMetric(rounds/rawTime, "raw/s")
	b.ReportMetric(rounds/ourTime, "ours/s")
	b.ReportMetric(rawTime/ourTime, "ratio")
}

func BenchmarkWritesSingle(b *testing.B) { benchWriters(b, 1, 2000) }
func BenchmarkWrites64(b *testing.B)     { benchWriters(b, 64, 20000) }

func benchWriters(b *testing.B, writers, perRound int) {
	raw, n := openRaw(b), openNode(b, rhizome.Options{Offline: true})
	ctx := context.Background()
	var rawKey, ourKey atomic.Uint64
	spread := func(total int, f func(r *rand.Rand)) {
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), rawKey.Load()))
				for range total / writers {
					f(r)
				}
			})
		}
		wg.Wait()
	}
	inTurn(b, perRound, func(total int) {
		spread(total, func(r *rand.Rand) {
			k := fmt.Appendf(nil, "key/%010d", rawKey.Add(1))
			if err := raw.Set(k, []byte(value(r)), pebble.Sync); err != nil {
				b.Error(err)
			}
		})
	}, func(total int) {
		spread(total, func(r *rand.Rand) {
			if _, err := n.Put(ctx, fmt.Sprintf("key/%010d", ourKey.Add(1)), value(r)); err != nil {
				b.Error(err)
			}
		})
	})
}

func BenchmarkWritesBatch100(b *testing.B)  { benchBatches(b, 100) }
func BenchmarkWritesBatch1000(b *testing.B) { benchBatches(b, 1000) }

func benchBatches(b *testing.B, size int) {
	raw, n := openRaw(b), openNode(b, rhizome.Options{Offline: true})
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	rawKey, ourKey := 0, 0
	inTurn(b, 20*size, func(total int) {
		for range total / size {
			batch := raw.NewBatch()
			for range size {
				rawKey++
				_ = batch.Set(fmt.Appendf(nil, "key/%010d", rawKey), []byte(value(r)), nil)
			}
			if err := batch.Commit(pebble.Sync); err != nil {
				b.Fatal(err)
			}
		}
	}, func(total int) {
		for range total / size {
			ops := make([]rhizome.Op, size)
			for i := range ops {
				ourKey++
				ops[i] = rhizome.Op{Kind: rhizome.OpPut, Entity: fmt.Sprintf("key/%010d", ourKey), Value: value(r)}
			}
			if _, err := n.Commit(ctx, "", ops); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func timed(f func()) float64 {
	start := time.Now()
	f()
	return time.Since(start).Seconds()
}
