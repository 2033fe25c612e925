package pebblestore

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rhizome-p2p/rhizome/storage"
)

// BenchmarkDurableSet compares a durable 100-byte write through the store
// with the same write on a Pebble with the same options. The two take turns
// for a few writes each, so that a disk whose speed changes changes both; the
// figure to look at is the ratio of their rates.
func BenchmarkDurableSet(b *testing.B) {
	raw := func(db *Store, key, value []byte) error { return db.db.Set(key, value, pebble.Sync) }
	ours := func(db *Store, key, value []byte) error {
		w := db.NewBatch()
		w.Set(key, value)
		return storage.ApplySync(db, w)
	}
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			dbRaw, dbOurs := openBench(b), openBench(b)
			turn := 16 * writers
			var took [2]time.Duration
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				took[0] += writeTurn(b, dbRaw, writers, n, turn, raw)
				took[1] += writeTurn(b, dbOurs, writers, n, turn, ours)
				n += turn
			}
			b.ReportMetric(float64(took[0].Nanoseconds())/float64(n), "pebble-ns/write")
			b.ReportMetric(float64(took[1].Nanoseconds())/float64(n), "store-ns/write")
			b.ReportMetric(float64(took[0])/float64(took[1]), "ratio")
		})
	}
}

func openBench(b *testing.B) *Store {
	db, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return db
}

// writeTurn makes count writes by so many writers and returns the time taken.
func writeTurn(
	b *testing.B, db *Store, writers, from, count int, set func(db *Store, key, value []byte) error,
) time.Duration {
	var next atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range writers {
		wg.Go(func() {
			key, value := make([]byte, 16), make([]byte, 100)
			for i := next.Add(1); i <= int64(count); i = next.Add(1) {
				binary.BigEndian.PutUint64(key, uint64(from+int(i))*0x9e3779b97f4a7c15)
				if err := set(db, key, value); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}
