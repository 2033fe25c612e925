package datastore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/datastore"
	"github.com/rhizome-p2p/rhizome/delta"
)

// noise returns bytes that compress badly, so that parts that were mixed up are
// seen.
func noise(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// Values of every length up to the limit come back, whatever stood there before,
// each by one transaction; a larger one, and a key that is too long, are refused
// with an error that says so.
func TestSizes(t *testing.T) {
	d := newStore(t, openNode(t, rhizome.Options{Offline: true}), "/app", nil)
	k := ds.NewKey("k")
	sizes := []int{0, 1, 192 << 10, 262139, 262140, 384<<10 - 1, 384 << 10, 384<<10 + 1, datastore.MaxValueBytes}
	for i, size := range append(sizes, 5, 300<<10, 5) {
		before := d.Node().Cursor()
		v := noise(byte(i), size)
		if err := d.Put(t.Context(), k, v); err != nil {
			t.Fatal(err)
		}
		got, err := d.Get(t.Context(), k)
		if err != nil || !bytes.Equal(got, v) || got == nil {
			t.Fatalf("%d bytes: got %d, %v", size, len(got), err)
		}
		log, err := d.Node().Log(t.Context(), "", before, 0)
		if err != nil || len(log) != 1 || len(log[0].Txns) != 1 {
			t.Errorf("%d bytes: %d entries, %v, want one transaction", size, len(log), err)
		}
		r, err := d.Node().Get(t.Context(), "app/k", "")
		if err != nil || len(r.Survivors) != 1 && len(r.Survivors) != (size+(192<<10)-1)/(192<<10) {
			t.Errorf("%d bytes: %d registers, %v: something has stayed of what was there", size, len(r.Survivors), err)
		}
	}
	var large *datastore.ValueError
	if err := d.Put(t.Context(), k, make([]byte, datastore.MaxValueBytes+1)); !errors.As(err, &large) {
		t.Errorf("a value over the limit: %v", err)
	}
	var long *datastore.KeyError
	far := ds.NewKey(strings.Repeat("x", 2000))
	if err := d.Put(t.Context(), far, nil); !errors.As(err, &long) || long.Bytes != 2004 {
		t.Errorf("a key over the limit: %v", err)
	}
	if _, err := d.Get(t.Context(), far); !errors.Is(err, ds.ErrNotFound) {
		t.Errorf("get of a key over the limit: %v", err)
	}
	if err := d.Delete(t.Context(), far); err != nil {
		t.Errorf("delete of a key over the limit: %v", err)
	}
}

// Large values that two nodes write at once do not mix: both show the same one,
// whole; and the next write leaves nothing of either.
func TestConcurrentLargeValues(t *testing.T) {
	a, b := openApart(t)
	stores := [2]*datastore.Datastore{newStore(t, a, "/app", nil), newStore(t, b, "/app", nil)}
	// All pairs of one part, two and five.
	sizes := []int{10, 300 << 10, 900 << 10}
	for i, s := range sizes {
		for j, u := range sizes {
			k := ds.NewKey(fmt.Sprintf("%d/%d", i, j))
			if err := errors.Join(stores[0].Put(t.Context(), k, noise(1, s)), stores[1].Put(t.Context(), k, noise(2, u))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := stores[1].Node().AddPeer(t.Context(), stores[0].Node().Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	pair := &replicated{Datastore: stores[1], to: stores[0], behind: true}
	for i, s := range sizes {
		for j, u := range sizes {
			k := ds.NewKey(fmt.Sprintf("%d/%d", i, j))
			b, err := pair.Get(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			a, err := stores[0].Get(t.Context(), k)
			if err != nil || !bytes.Equal(a, b) || !bytes.Equal(a, noise(1, s)) && !bytes.Equal(a, noise(2, u)) {
				t.Errorf("%s: %d bytes here and %d there, %v", k, len(a), len(b), err)
			}
			if err := stores[0].Put(t.Context(), k, []byte("settled")); err != nil {
				t.Fatal(err)
			}
			r, err := stores[0].Node().Get(t.Context(), "app"+k.String(), "")
			if err != nil || len(r.Survivors) != 1 {
				t.Errorf("%s: %d survivors of one put, %v", k, len(r.Survivors), err)
			}
		}
	}
}

// What others write below the names of a datastore, and is no value of it, is not
// seen, and does not stay beside a value that is put.
func TestForeignValues(t *testing.T) {
	n := openNode(t, rhizome.Options{Offline: true})
	d := newStore(t, n, "/app", nil)
	part := delta.Path("").Child(strings.Repeat("a", 64)).Child("0")
	steps := []func() (rhizome.Receipt, error){
		func() (rhizome.Receipt, error) { return n.Put(t.Context(), "app/k", "a text") },
		func() (rhizome.Receipt, error) { return n.Put(t.Context(), "app/k", map[string]any{"a": []byte("x")}) },
		func() (rhizome.Receipt, error) { return n.PutAt(t.Context(), "app/k", part, []byte("x")) },
	}
	for i, step := range steps {
		if _, err := step(); err != nil {
			t.Fatal(err)
		}
		if v, err := d.Get(t.Context(), ds.NewKey("k")); !errors.Is(err, ds.ErrNotFound) {
			t.Errorf("step %d: got %q, %v", i, v, err)
		}
		if all, err := rest(t.Context(), d, query.Query{}); err != nil || len(all) > 0 {
			t.Errorf("step %d: %d entries, %v", i, len(all), err)
		}
	}
	if err := d.Put(t.Context(), ds.NewKey("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if r, err := n.Get(t.Context(), "app/k", ""); err != nil || len(r.Survivors) != 1 {
		t.Errorf("%d survivors, %v", len(r.Survivors), err)
	}
}

// A batch of more than one transaction holds is written in several, all of it;
// one that fits is one transaction; and one that fails can be committed again.
func TestBatchSizes(t *testing.T) {
	d := newStore(t, openNode(t, rhizome.Options{Offline: true}), "/app", nil)
	for _, c := range []struct{ keys, size, txns int }{{1000, 100, 1}, {20, 256 << 10, 7}, {30_000, 0, 5}} {
		b, err := d.Batch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		v := noise(byte(c.keys), c.size)
		for i := range c.keys {
			if err := b.Put(t.Context(), ds.NewKey(fmt.Sprintf("%d/%d", c.keys, i)), v); err != nil {
				t.Fatal(err)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Commit(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("commit of a batch whose context has ended: %v", err)
		}
		before := d.Node().Cursor()
		if err := b.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		log, err := d.Node().Log(t.Context(), "", before, 0)
		txns := 0
		for i := range log {
			txns += len(log[i].Txns)
		}
		if err != nil || txns != c.txns {
			t.Errorf("%d values of %d bytes: %d transactions, %v, want %d", c.keys, c.size, txns, err, c.txns)
		}
		all, err := rest(t.Context(), d, query.Query{Prefix: fmt.Sprint(c.keys)})
		if err != nil || len(all) != c.keys {
			t.Errorf("%d of %d keys are there, %v", len(all), c.keys, err)
		}
		before = d.Node().Cursor()
		if err := b.Commit(t.Context()); err != nil || d.Node().Cursor() != before {
			t.Errorf("a batch that was committed is written again, %v", err)
		}
	}
}
