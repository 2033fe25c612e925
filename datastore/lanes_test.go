package datastore_test

import (
	"errors"
	"fmt"
	"testing"

	ds "github.com/ipfs/go-datastore"

	"github.com/rhizome-p2p/rhizome"
)

// A batch is written also where each of its keys has values of several nodes, of
// which each takes room in the transaction that puts an end to it.
func TestBatchOverSiblings(t *testing.T) {
	nodes := openAparts(t, 3)
	a := nodes[0]
	const keys = 7500
	write := func(n *rhizome.Node) error {
		d := newStore(t, n, "/app", nil)
		batch, err := d.Batch(t.Context())
		if err != nil {
			return err
		}
		for i := range keys {
			err = errors.Join(err, batch.Put(t.Context(), ds.NewKey(fmt.Sprint(i)), []byte{1}))
		}
		return errors.Join(err, batch.Commit(t.Context()))
	}
	for _, n := range nodes {
		if err := write(n); err != nil {
			t.Fatal(err)
		}
	}
	first := &replicated{Datastore: newStore(t, a, "/app", nil)}
	for _, n := range nodes[1:] {
		if err := n.AddPeer(t.Context(), a.Addrs()[0]); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes[1:] {
		first.to, first.behind = newStore(t, n, "/app", nil), true
		if err := first.catchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r, err := a.Read(t.Context(), "app/0", "", rhizome.ReadOptions{})
	if err != nil || len(r.Survivors) != len(nodes) {
		t.Fatal(r, err)
	}
	if err := write(a); err != nil {
		t.Fatal(err)
	}
}
