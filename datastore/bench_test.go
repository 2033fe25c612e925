package datastore_test

import (
	"context"
	"fmt"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/datastore"
)

const benchKeys = 100_000

// benchStore returns a datastore of 100,000 keys with 100 random bytes each.
func benchStore(b *testing.B) *datastore.Datastore {
	b.Helper()
	d, err := datastore.Open(context.Background(), rhizome.Options{Dir: b.TempDir(), Create: true, Offline: true}, ds.NewKey("/app"), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	w, err := d.Batch(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	values := noise(1, benchKeys+100)
	for i := range benchKeys {
		if err := w.Put(context.Background(), benchKey(i), values[i:i+100]); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Commit(context.Background()); err != nil {
		b.Fatal(err)
	}
	return d
}

func benchKey(i int) ds.Key { return ds.RawKey(fmt.Sprintf("/%08d", uint32(i)*2654435761%1e8)) }

// BenchmarkGet reads one of 100,000 keys.
func BenchmarkGet(b *testing.B) {
	d := benchStore(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := d.Get(context.Background(), benchKey(i%benchKeys)); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkPut overwrites one of 100,000 keys, durably.
func BenchmarkPut(b *testing.B) {
	d := benchStore(b)
	v := noise(2, 100)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := d.Put(context.Background(), benchKey(i%benchKeys), v); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkQuery goes through 100,000 keys.
func BenchmarkQuery(b *testing.B) {
	d := benchStore(b)
	for name, q := range map[string]query.Query{
		"values": {}, "keys": {KeysOnly: true}, "first": {Limit: 1},
		"last": {Limit: 10, Orders: []query.Order{query.OrderByKeyDescending{}}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				for _, err := range ds.QueryIter(context.Background(), d, q) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(n)/float64(b.N), "entries/op")
		})
	}
}
