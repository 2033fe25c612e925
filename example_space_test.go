package rhizome_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A transaction is put together before it is committed, all of it or nothing.
func ExampleTxn() {
	ctx := context.Background()
	dir, remove := tempRepo()
	defer remove()
	n, err := rhizome.Open(ctx, rhizome.Options{Dir: dir, Create: true, Offline: true})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()

	t := rhizome.NewTxn().By("ann")
	t.Entity("host/web-1").Put("/os", "debian").Add("/tags", "edge").Inc("/boots", 2).
		Entity("host/web-2").Put("", map[string]any{"os": "plan9"}).IfMatch(rhizome.AbsentETag)
	receipt, err := n.Apply(ctx, t)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt.Deltas, "deltas")
	read, err := n.GetMany(ctx, []rhizome.Key{{Entity: "host/web-1"}, {Entity: "host/web-2", Path: "/os"}, {Entity: "host/web-3"}}, rhizome.ReadOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, k := range read {
		fmt.Printf("%s %v %s\n", k.Entity, k.Found, delta.AppendAnyJSON(nil, k.Reading.Value))
	}
	_, err = n.Apply(ctx, t)
	fmt.Println(strings.Contains(err.Error(), "precondition failed"))
	// Output:
	// 4 deltas
	// host/web-1 true {"boots":2,"os":"debian","tags":["edge"]}
	// host/web-2 true "plan9"
	// host/web-3 false null
	// true
}

// A schema says what a property may hold and how it reads; one is computed of
// others, by an expression that replicates, and one by a function of the program.
func ExampleNode_AddSchema() {
	ctx := context.Background()
	dir, remove := tempRepo()
	defer remove()
	shout := merge.ResolverFunc(func(in *merge.Input) (merge.Output, error) {
		return merge.Output{Value: strings.ToUpper(fmt.Sprint(in.Values[0])), Why: "louder"}, nil
	})
	n, err := rhizome.Open(ctx, rhizome.Options{
		Dir: dir, Create: true, Offline: true, Resolvers: map[string]merge.Resolver{"shout": shout},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()

	if _, _, err := n.AddCEL(ctx, "order-total", "", "deps.price * deps.quantity"); err != nil {
		log.Fatal(err)
	}
	_, _, err = n.AddSchema(ctx, []byte(`{
		"name": "order", "version": 1, "entities": ["order/*"],
		"properties": [
			{"id": "name", "path": "/name", "type": {"type": "string"}, "resolver": "go:shout"},
			{"id": "price", "path": "/price", "type": {"type": "integer"}, "required": true},
			{"id": "quantity", "path": "/quantity", "type": {"type": "integer"}, "default": 1},
			{"id": "total", "path": "/total", "computed": true, "resolver": "order-total", "depends": ["price", "quantity"]}
		]
	}`))
	if err != nil {
		log.Fatal(err)
	}
	_, err = n.Put(ctx, "order/7", map[string]any{"price": "dear"})
	fmt.Println(err)
	if _, err := n.Put(ctx, "order/7", map[string]any{"name": "tea", "price": int64(4), "quantity": int64(3)}); err != nil {
		log.Fatal(err)
	}
	r, err := n.Get(ctx, "order/7", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s by %s\n", delta.AppendAnyJSON(nil, r.Value), r.Rules)
	// Output:
	// invalid: order/7#/price: property "price": is a string, must be integer
	// {"name":"TEA","price":4,"quantity":3,"total":12} by order@1
}

// A view is a question that is kept, and that can be watched.
func ExampleNode_WatchView() {
	ctx := context.Background()
	dir, remove := tempRepo()
	defer remove()
	n, err := rhizome.Open(ctx, rhizome.Options{Dir: dir, Create: true, Offline: true})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()
	if _, err := n.Put(ctx, "host/1", map[string]any{"os": "linux", "cores": int64(8)}); err != nil {
		log.Fatal(err)
	}
	if _, err := n.AddView(ctx, "linux", []byte(`{"entities": ["host/*"], "where": {"/os": "linux"}, "project": ["/cores"]}`)); err != nil {
		log.Fatal(err)
	}
	for item, err := range n.WatchView(ctx, "linux") {
		switch {
		case err != nil:
			log.Fatal(err)
		case item.Ready:
			if _, err := n.Put(ctx, "host/1", map[string]any{"os": "plan9"}); err != nil {
				log.Fatal(err)
			}
		case item.Gone:
			fmt.Println(item.Entity, "is gone")
			return
		default:
			fmt.Println(item.Entity, string(item.Value))
		}
	}
	// Output:
	// host/1 {"cores":8}
	// host/1 is gone
}
