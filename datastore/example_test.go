package datastore_test

import (
	"context"
	"fmt"
	"log"
	"os"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/datastore"
)

// A program that used go-ds-crdt opens its datastore by another constructor; all
// else stays.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// Was: crdt.New(pebble, ds.NewKey("/app"), ipfslite, broadcaster, opts)
	opts := datastore.DefaultOptions()
	opts.PutHook = func(k ds.Key, v []byte) {} // called for writes here and elsewhere
	store, err := datastore.Open(ctx, rhizome.Options{Dir: dir, Create: true, Offline: true}, ds.NewKey("/app"), opts)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	if err := store.Put(ctx, ds.NewKey("/hosts/web-1"), []byte("Oslo")); err != nil {
		log.Fatal(err)
	}
	batch, err := store.Batch(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"web-2", "db-1"} {
		if err := batch.Put(ctx, ds.NewKey("/hosts/"+name), []byte("Bergen")); err != nil {
			log.Fatal(err)
		}
	}
	if err := batch.Commit(ctx); err != nil { // one transaction
		log.Fatal(err)
	}
	for e, err := range ds.QueryIter(ctx, store, query.Query{Prefix: "/hosts"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %s\n", e.Key, e.Value)
	}

	// The key is an entity like any other one.
	r, err := store.Node().Get(ctx, "app/hosts/web-1", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s\n", r.Entity, r.Value)

	// Output:
	// /hosts/db-1 Bergen
	// /hosts/web-1 Oslo
	// /hosts/web-2 Bergen
	// app/hosts/web-1 Oslo
}
