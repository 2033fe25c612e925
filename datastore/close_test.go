package datastore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/datastore"
)

// Close of a datastore that New made leaves the node open; one that Open made
// takes it along. Queries that are open end, and later calls are refused.
func TestClose(t *testing.T) {
	dir := t.TempDir()
	d, err := datastore.Open(t.Context(), rhizome.Options{Dir: dir, Create: true, Offline: true}, ds.NewKey("/app"), nil)
	if err != nil {
		t.Fatal(err)
	}
	inner := newStore(t, d.Node(), "/app/inner", nil)
	for i := range 300 {
		if err := inner.Put(t.Context(), ds.NewKey(fmt.Sprint(i)), []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	var open []query.Results
	for _, q := range []query.Query{{}, {KeysOnly: true}, {Orders: []query.Order{query.OrderByKeyDescending{}}}} {
		r, err := d.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := r.NextSync(); !ok || e.Error != nil || !strings.HasPrefix(e.Key, "/inner/") {
			t.Fatal(e, ok)
		}
		open = append(open, r)
	}
	if err := inner.Close(); err != nil {
		t.Fatal(err)
	}
	if err := inner.Put(t.Context(), ds.NewKey("k"), nil); !errors.Is(err, rhizome.ErrClosed) {
		t.Errorf("put after close: %v", err)
	}
	if err := d.Sync(t.Context(), ds.NewKey("/")); err != nil {
		t.Errorf("the node was closed with what New made: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for i, r := range open {
		if all, err := r.Rest(); len(all) > 0 || !errors.Is(err, rhizome.ErrClosed) {
			t.Errorf("query %d after close: %d entries, %v", i, len(all), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Query(t.Context(), query.Query{}); !errors.Is(err, rhizome.ErrClosed) {
		t.Errorf("query after close: %v", err)
	}
	again, err := rhizome.Open(t.Context(), rhizome.Options{Dir: dir, Offline: true})
	if err != nil {
		t.Fatalf("the node was left open: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// A query shows one moment: what is written while it is read is not in it.
func TestQueryOfOneMoment(t *testing.T) {
	d := newStore(t, openNode(t, rhizome.Options{Offline: true}), "/app", nil)
	for i := range 3000 {
		if err := d.Put(t.Context(), ds.NewKey(fmt.Sprintf("%04d", i)), []byte("old")); err != nil {
			t.Fatal(err)
		}
	}
	r, err := d.Query(t.Context(), query.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	for e := range r.Next() {
		if e.Error != nil || string(e.Value) != "old" || e.Key != fmt.Sprintf("/%04d", n) {
			t.Fatalf("entry %d: %s=%s, %v", n, e.Key, e.Value, e.Error)
		}
		if n++; n == 1 {
			for _, k := range []string{"0500", "2999", "9999"} {
				if err := d.Put(t.Context(), ds.NewKey(k), []byte("new")); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Delete(t.Context(), ds.NewKey("2000")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != 3000 {
		t.Errorf("%d entries, want 3000", n)
	}
}

// Check finds nothing wrong with a sound node, garbage is collected without loss,
// and the node tells what it takes on disk.
func TestFeatures(t *testing.T) {
	d := newStore(t, openNode(t, rhizome.Options{Offline: true}), "/app", nil)
	k := ds.NewKey("k")
	if err := d.Put(t.Context(), k, []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Check(t.Context()), d.CollectGarbage(t.Context()), d.Check(t.Context())); err != nil {
		t.Error(err)
	}
	if v, err := d.Get(t.Context(), k); err != nil || string(v) != "v" {
		t.Errorf("%q, %v", v, err)
	}
	if n, err := ds.DiskUsage(t.Context(), d); err != nil || n == 0 {
		t.Errorf("%d bytes on disk, %v", n, err)
	}
	var names []string
	for _, f := range ds.FeaturesForDatastore(d) {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "Batching Checked GC Persistent" {
		t.Errorf("features %s", got)
	}
}
