package datastore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/datastore"
)

var modelKeys = rapid.Custom(func(t *rapid.T) ds.Key {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "#", `"`, "\xff", "\x00", "é", "0", "v"}), 0, 3).Draw(t, "key")
	return ds.NewKey(strings.Join(parts, "/"))
})

// modelValues draws small values, and seldom those about the largest that one
// register holds, or several.
var modelValues = rapid.Custom(func(t *rapid.T) []byte {
	if rapid.IntRange(0, 24).Draw(t, "large") == 24 {
		size := rapid.SampledFrom([]int{262139, 262140, 400 << 10}).Draw(t, "size")
		return bytes.Repeat([]byte{7}, size)
	}
	return rapid.OneOf(rapid.SampledFrom([][]byte{nil, {}, {0}}), rapid.SliceOfN(rapid.Byte(), 0, 20)).Draw(t, "small")
})

// modelQuery draws a query whose answer has one order.
func modelQuery(t *rapid.T) query.Query {
	q := query.Query{
		Prefix:       modelKeys.Draw(t, "prefix").String(),
		Offset:       rapid.IntRange(0, 3).Draw(t, "offset"),
		Limit:        rapid.IntRange(0, 3).Draw(t, "limit"),
		KeysOnly:     rapid.Bool().Draw(t, "keys only"),
		ReturnsSizes: rapid.Bool().Draw(t, "sizes"),
	}
	orders := [][]query.Order{{query.OrderByKey{}}, {query.OrderByKeyDescending{}}, {&query.OrderByKey{}, query.OrderByValue{}}}
	filters := []query.Filter{
		query.FilterKeyPrefix{Prefix: "/a"}, query.FilterKeyCompare{Op: query.GreaterThan, Key: "/ab"},
	}
	if !q.KeysOnly { // the model's filters do not see the values then
		orders = append(orders, []query.Order{query.OrderByValueDescending{}, query.OrderByKey{}})
		filters = append(filters, query.FilterValueCompare{Op: query.GreaterThan, Value: []byte{5}})
	}
	q.Orders = rapid.SampledFrom(orders).Draw(t, "orders")
	q.Filters = rapid.SliceOfN(rapid.SampledFrom(filters), 0, 2).Draw(t, "filters")
	return q
}

func rest(ctx context.Context, d ds.Read, q query.Query) ([]query.Entry, error) {
	r, err := d.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	if got := r.Query(); !reflect.DeepEqual(got, q) {
		return nil, fmt.Errorf("results of %v, not of %v", got, q)
	}
	all, err := r.Rest()
	return all, errors.Join(err, r.Close())
}

// sameAnswers compares a datastore with the model.
func sameAnswers(ctx context.Context, t *rapid.T, d, model ds.Datastore, q query.Query) {
	got, err := rest(ctx, d, q)
	if err != nil {
		t.Fatal(err)
	}
	want, err := rest(ctx, model, q)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%v: %d entries, want %d", q, len(got), len(want))
	}
	for i := range got {
		if got[i].Key != want[i].Key || !bytes.Equal(got[i].Value, want[i].Value) || got[i].Size != want[i].Size || q.KeysOnly != (got[i].Value == nil) {
			t.Fatalf("%v: entry %d is %q of %d bytes, want %q of %d", q, i, got[i].Key, got[i].Size, want[i].Key, want[i].Size)
		}
	}
}

// Puts, deletes, batches and queries of random keys and values do what they do on
// a map, with history and after it was dropped.
func TestModel(t *testing.T) {
	n := openNode(t, rhizome.Options{Offline: true})
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		run++
		d, err := datastore.New(n, ds.NewKey(fmt.Sprintf("/run/%d", run)), nil)
		if err != nil {
			t.Fatal(err)
		}
		model := ds.NewMapDatastore()
		var last ds.Key
		do := func(x, y error) {
			if x != nil || y != nil {
				t.Fatalf("%v, %v", x, y)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := modelKeys.Draw(t, "key"), modelValues.Draw(t, "value")
				last = k
				do(d.Put(ctx, k, v), model.Put(ctx, k, v))
			},
			"delete": func(t *rapid.T) {
				last = modelKeys.Draw(t, "key")
				do(d.Delete(ctx, last), model.Delete(ctx, last))
			},
			"batch": func(t *rapid.T) {
				b, err := d.Batch(ctx)
				m, merr := model.Batch(ctx)
				do(err, merr)
				for range rapid.IntRange(0, 8).Draw(t, "writes") {
					last = modelKeys.Draw(t, "key")
					if rapid.Bool().Draw(t, "delete") {
						do(b.Delete(ctx, last), m.Delete(ctx, last))
						continue
					}
					v := modelValues.Draw(t, "value")
					do(b.Put(ctx, last, v), m.Put(ctx, last, v))
				}
				do(b.Commit(ctx), m.Commit(ctx))
			},
			"compact": func(t *rapid.T) {
				if rapid.IntRange(0, 15).Draw(t, "seldom") > 0 {
					return // it takes as long as a hundred writes
				}
				_, err := n.Compact(ctx, rhizome.CompactOptions{Force: true})
				do(err, nil)
			},
			"query": func(t *rapid.T) { sameAnswers(ctx, t, d, model, modelQuery(t)) },
			"": func(t *rapid.T) {
				got, err := d.Get(ctx, last)
				want, werr := model.Get(ctx, last)
				if !errors.Is(err, werr) || !bytes.Equal(got, want) {
					t.Fatalf("%q is %d bytes, %v, want %d bytes, %v", last, len(got), err, len(want), werr)
				}
				size, err := d.GetSize(ctx, last)
				wantSize, werr := model.GetSize(ctx, last)
				if size != wantSize || !errors.Is(err, werr) {
					t.Fatalf("%q has size %d, %v, want %d, %v", last, size, err, wantSize, werr)
				}
			},
		})
		sameAnswers(ctx, t, d, model, query.Query{Orders: []query.Order{query.OrderByKey{}}})
	})
}
