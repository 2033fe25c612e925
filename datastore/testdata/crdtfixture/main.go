// Command crdtfixture writes a small store of go-ds-crdt on go-ds-pebble, as two
// replicas leave it that wrote at once, and what is in it as JSON, by namespace and by key in hexadecimal:
//
//	go -C datastore/testdata/crdtfixture run . ../crdt
//
// It is a module of its own, so that nothing else rests on either library.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/ipld/merkledag"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	crdt "github.com/ipfs/go-ds-crdt"
	pebbleds "github.com/ipfs/go-ds-pebble"
	ipld "github.com/ipfs/go-ipld-format"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: crdtfixture DIR")
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// wire carries messages from one replica to another, while it is up.
type wire struct {
	in, out chan []byte
	up      *bool
	missed  [][]byte
}

func (w *wire) Broadcast(_ context.Context, b []byte) error {
	if !*w.up {
		w.missed = append(w.missed, b)
		return nil
	}
	w.out <- b
	return nil
}

func (w *wire) Next(ctx context.Context) ([]byte, error) {
	select {
	case b := <-w.in:
		return b, nil
	case <-ctx.Done():
		return nil, crdt.ErrNoMoreBroadcast
	}
}

// replica opens a store whose blocks stand in blocks, which the replicas share.
func replica(base ds.Datastore, namespace string, blocks ipld.DAGService, b crdt.Broadcaster) (*crdt.Datastore, error) {
	o := crdt.DefaultOptions()
	o.RebroadcastInterval = time.Hour
	return crdt.New(base, ds.NewKey(namespace), blocks, b, o)
}

func run(ctx context.Context, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	base, err := pebbleds.NewDatastore(filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	blocks := merkledag.NewDAGService(blockservice.New(
		blockstore.NewBlockstore(base), offline.Exchange(blockstore.NewBlockstore(base))))
	up := true
	ab, ba := make(chan []byte, 100), make(chan []byte, 100)
	wa, wb := &wire{in: ba, out: ab, up: &up}, &wire{in: ab, out: ba, up: &up}
	a, err := replica(base, "/app", blocks, wa)
	if err != nil {
		return err
	}
	b, err := replica(dssync.MutexWrap(ds.NewMapDatastore()), "/app", blocks, wb)
	if err != nil {
		return err
	}
	if err := write(ctx, a, b, wa, wb, &up); err != nil {
		return err
	}
	if err := equal(ctx, a, b); err != nil {
		return err
	}
	other, err := replica(base, "/other/ns", blocks, nil)
	if err != nil {
		return err
	}
	if err := other.Put(ctx, ds.NewKey("/k"), []byte("of another namespace")); err != nil {
		return err
	}
	expected := map[string]map[string]value{}
	for name, d := range map[string]*crdt.Datastore{"/app": a, "/other/ns": other} {
		all, err := contents(ctx, d)
		if err != nil {
			return err
		}
		expected[name] = map[string]value{}
		for k, v := range all {
			expected[name][fmt.Sprintf("%x", k)] = value{len(v), fmt.Sprintf("%x", sha256.Sum256(v))}
		}
	}
	text, err := json.MarshalIndent(expected, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "expected.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	for _, d := range []*crdt.Datastore{a, b, other} {
		if err := d.Close(); err != nil {
			return err
		}
	}
	if err := base.Close(); err != nil {
		return err
	}
	// Opening it once more removes the logs that are no longer needed.
	again, err := pebbleds.NewDatastore(filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	return again.Close()
}

// A value is what is told of one: how long it is, and its hash.
type value struct {
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

// write writes to both replicas, apart for some time.
func write(ctx context.Context, a, b *crdt.Datastore, wa, wb *wire, up *bool) error {
	put := func(d *crdt.Datastore, k, v string) {
		if err := d.Put(ctx, ds.NewKey(k), []byte(v)); err != nil {
			log.Fatal(err)
		}
	}
	remove := func(d *crdt.Datastore, k string) {
		if err := d.Delete(ctx, ds.NewKey(k)); err != nil {
			log.Fatal(err)
		}
	}
	for i := range 20 {
		put(a, fmt.Sprintf("/plain/%02d", i), fmt.Sprintf("value %d", i))
	}
	for i := range 10 {
		put(a, "/overwritten", fmt.Sprintf("version %d", i))
	}
	put(a, "/empty", "")
	put(a, "/v", "a key that ends as values do")
	put(a, "/v/p", "and one as priorities do")
	put(a, "/odd#\"/ü/\x01", "odd bytes")
	put(a, "/large", string(bytes.Repeat([]byte("0123456789abcdef"), 17<<10))) // 272 KiB
	for i := range 5 {
		put(a, fmt.Sprintf("/gone/%d", i), "to be removed")
		remove(a, fmt.Sprintf("/gone/%d", i))
	}
	put(a, "/back", "first")
	remove(a, "/back")
	put(a, "/back", "second")
	batch, err := a.Batch(ctx)
	if err != nil {
		return err
	}
	for i := range 50 {
		if err := batch.Put(ctx, ds.NewKey(fmt.Sprintf("/batch/%02d", i)), []byte{byte(i)}); err != nil {
			return err
		}
	}
	if err := batch.Delete(ctx, ds.NewKey("/plain/00")); err != nil {
		return err
	}
	if err := batch.Commit(ctx); err != nil {
		return err
	}
	if err := equal(ctx, a, b); err != nil {
		return err
	}
	*up = false
	for i := range 10 {
		put(a, fmt.Sprintf("/both/%d", i), fmt.Sprintf("of a %d", i*7%10))
		put(b, fmt.Sprintf("/both/%d", i), fmt.Sprintf("of b %d", i*3%10))
	}
	remove(a, "/plain/01")
	put(b, "/plain/01", "written while it was removed")
	remove(b, "/plain/02")
	*up = true
	for i, m := range wa.missed {
		wa.out <- m
		if i < len(wb.missed) {
			wb.out <- wb.missed[i]
		}
	}
	for _, m := range wb.missed[min(len(wa.missed), len(wb.missed)):] {
		wb.out <- m
	}
	return nil
}

// equal waits until two replicas hold the same.
func equal(ctx context.Context, a, b *crdt.Datastore) error {
	for range 3000 {
		x, err := contents(ctx, a)
		if err != nil {
			return err
		}
		y, err := contents(ctx, b)
		if err != nil {
			return err
		}
		s, t := fmt.Sprint(sorted(x)), fmt.Sprint(sorted(y))
		if s == t && fmt.Sprint(a.InternalStats(ctx).Heads) == fmt.Sprint(b.InternalStats(ctx).Heads) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("the replicas did not become equal")
}

func sorted(m map[string][]byte) (out []string) {
	for k, v := range m {
		out = append(out, k+"="+string(v))
	}
	sort.Strings(out)
	return out
}

// contents returns what a store holds.
func contents(ctx context.Context, d *crdt.Datastore) (map[string][]byte, error) {
	r, err := d.Query(ctx, query.Query{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	out := map[string][]byte{}
	for e := range r.Next() {
		if e.Error != nil {
			return nil, e.Error
		}
		out[e.Key] = e.Value
	}
	return out, nil
}
