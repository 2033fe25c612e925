package rhizome_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/rhizome-p2p/rhizome"
)

// tempRepo makes a directory for an example.
func tempRepo() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "rhizome")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

// A program opens a node, writes a document, and reads a property of it.
func Example() {
	ctx := context.Background()
	dir, remove := tempRepo()
	defer remove()

	n, err := rhizome.Open(ctx, rhizome.Options{Dir: dir, Create: true, Offline: true})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()

	doc := map[string]any{"os": "debian", "cpu": map[string]any{"cores": int64(8)}}
	if _, err := n.Put(ctx, "host/web-1", doc); err != nil {
		log.Fatal(err)
	}
	r, err := n.Get(ctx, "host/web-1", "/cpu/cores")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Value)

	_, err = n.Get(ctx, "host/web-2", "")
	fmt.Println(errors.Is(err, rhizome.ErrNotFound))
	// Output:
	// 8
	// true
}

// Operations that belong together are committed together: all of them, or none
// where one is refused.
func ExampleNode_Commit() {
	ctx := context.Background()
	dir, remove := tempRepo()
	defer remove()
	n, err := rhizome.Open(ctx, rhizome.Options{Dir: dir, Create: true, Offline: true})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()

	rec, err := n.Commit(ctx, "alice", []rhizome.Op{
		{Kind: rhizome.OpPut, Entity: "order/7", Value: map[string]any{"item": "tea", "for": map[string]any{"$ref": "person/bob"}}},
		{Kind: rhizome.OpAdd, Entity: "person/bob", Path: "/orders", Value: "order/7"},
		{Kind: rhizome.OpInc, Entity: "stats", Path: "/orders", N: 1},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rec.Deltas, "deltas")

	bob, err := n.Get(ctx, "person/bob", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(bob.Value, "referred to by", bob.Incoming)

	_, err = n.Commit(ctx, "alice", []rhizome.Op{
		{Kind: rhizome.OpInc, Entity: "stats", Path: "/orders", N: 1},
		{Kind: rhizome.OpPut, Entity: "order/7", Value: "x", IfMatch: "an-old-etag"},
	})
	fmt.Println(errors.Is(err, rhizome.ErrPrecondition))
	stats, err := n.Get(ctx, "stats", "/orders")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Value)
	// Output:
	// 4 deltas
	// map[orders:[order/7]] referred to by [order/7#/for]
	// true
	// 1
}

// Two nodes find each other by an invite, and one watches what the other
// writes.
func ExampleNode_Changes() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dirA, removeA := tempRepo()
	defer removeA()
	dirB, removeB := tempRepo()
	defer removeB()
	listen := []string{"/ip4/127.0.0.1/tcp/0"}

	a, err := rhizome.Open(ctx, rhizome.Options{Dir: dirA, Create: true, Listen: listen})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	invite, err := a.Invite(ctx)
	if err != nil {
		log.Fatal(err)
	}
	b, err := rhizome.Open(ctx, rhizome.Options{Dir: dirB, Create: true, Join: invite, Listen: listen})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	if _, err := a.Put(ctx, "greeting", "hello from a"); err != nil {
		log.Fatal(err)
	}
	for change, err := range b.Changes(ctx, "", "0") {
		if err != nil {
			log.Fatal(err)
		}
		for _, d := range change.Deltas {
			text, _ := d.Value.Text()
			fmt.Println(d.Verb, d.Entity, text)
		}
		break
	}
	// Output:
	// assign greeting hello from a
}

// History goes, and the state stays. What the past was can be read as far back as
// history is kept.
func ExampleNode_Compact() {
	ctx := context.Background()
	dir, remove := tempRepo()
	defer remove()
	n, err := rhizome.Open(ctx, rhizome.Options{Dir: dir, Create: true, Offline: true})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()
	for i := range int64(3) {
		if _, err := n.Put(ctx, "host/web-1", i); err != nil {
			log.Fatal(err)
		}
	}
	then := n.Cursor()
	if _, err := n.Put(ctx, "host/web-1", "now"); err != nil {
		log.Fatal(err)
	}
	report, err := n.Compact(ctx, rhizome.CompactOptions{To: then})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Dropped, "entries dropped")
	r, err := n.Read(ctx, "host/web-1", "", rhizome.ReadOptions{At: then})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("it was", r.Value)
	_, err = n.Read(ctx, "host/web-1", "", rhizome.ReadOptions{At: "0"})
	fmt.Println(errors.Is(err, rhizome.ErrHorizon))
	// Output:
	// 3 entries dropped
	// it was 2
	// true
}
