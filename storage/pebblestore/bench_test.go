package pebblestore

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rhizome-p2p/rhizome/storage"
)

// BenchmarkDurableSet compares a durable 100-byte write through the store
// with the same write on the Pebble under it, options and directory alike, so
// that the difference is the store's own.
func BenchmarkDurableSet(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("pebble/writers=%d", writers), func(b *testing.B) {
			benchmarkSet(b, writers, func(db *Store, key, value []byte) error {
				return db.db.Set(key, value, pebble.Sync)
			})
		})
		b.Run(fmt.Sprintf("store/writers=%d", writers), func(b *testing.B) {
			benchmarkSet(b, writers, func(db *Store, key, value []byte) error {
				w := db.NewBatch()
				w.Set(key, value)
				return storage.ApplySync(db, w)
			})
		})
	}
}

func benchmarkSet(b *testing.B, writers int, set func(db *Store, key, value []byte) error) {
	db, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(116)
	var next atomic.Uint64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			key, value := make([]byte, 16), make([]byte, 100)
			for i := next.Add(1); i <= uint64(b.N); i = next.Add(1) {
				binary.BigEndian.PutUint64(key, i*0x9e3779b97f4a7c15)
				if err := set(db, key, value); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
}
