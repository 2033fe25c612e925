package crdtside

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/ipld/merkledag"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/rhizome-p2p/rhizome/bench/internal/side"
)

// dags returns two plain services whose hosts are connected.
func dags(t *testing.T) (a, b *plainDAG) {
	t.Helper()
	var nets [2]*network
	var out [2]*plainDAG
	for i := range out {
		ctx, cancel := context.WithCancel(context.Background())
		n, err := newNetwork(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cancel()
			if err := n.close(); err != nil {
				t.Error(err)
			}
		})
		d, err := newDAG(ctx, dssync.MutexWrap(ds.NewMapDatastore()), n, Plain)
		if err != nil {
			t.Fatal(err)
		}
		nets[i], out[i] = n, d.(*plainDAG)
	}
	if err := nets[1].connect(t.Context(), nets[0].address()); err != nil {
		t.Fatal(err)
	}
	return out[0], out[1]
}

func node(text string) ipld.Node {
	n := merkledag.NodeWithData([]byte(text))
	if err := n.SetCidBuilder(merkledag.V1CidPrefix()); err != nil {
		panic(err)
	}
	return n
}

// TestExchange: blocks come from the peer that has them, one or many at once, and
// stay; what nobody has is said not to be found.
func TestExchange(t *testing.T) {
	a, b := dags(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var cids []cid.Cid
	for _, text := range []string{"one", "two", "three"} {
		n := node(text)
		if err := a.Add(ctx, n); err != nil {
			t.Fatal(err)
		}
		cids = append(cids, n.Cid())
	}
	if n, err := b.Get(ctx, cids[0]); err != nil || n.Cid() != cids[0] {
		t.Fatalf("get: %v, %v", n, err)
	}
	got := make(map[cid.Cid]bool)
	for o := range b.GetMany(ctx, cids) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		got[o.Node.Cid()] = true
	}
	if len(got) != len(cids) {
		t.Errorf("%d of %d blocks", len(got), len(cids))
	}
	if ok, err := b.blocks.Has(ctx, cids[2]); !ok || err != nil {
		t.Errorf("a block that came is kept: %v, %v", ok, err)
	}
	if _, err := b.Get(ctx, node("absent").Cid()); !ipld.IsNotFound(err) {
		t.Errorf("a block that nobody has: %v", err)
	}
	absent := 0
	for o := range b.GetMany(ctx, []cid.Cid{cids[0], node("absent").Cid()}) {
		if ipld.IsNotFound(o.Err) {
			absent++
		}
	}
	if absent != 1 {
		t.Errorf("%d of two blocks are absent", absent)
	}
}

// liar is a blockstore that has other blocks under their names.
type liar struct{ blockstore.Blockstore }

func (l liar) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	if _, err := l.Blockstore.Get(ctx, c); err != nil {
		return nil, err
	}
	return blocks.NewBlockWithCid(node("another").RawData(), c)
}

// TestExchangeChecks: a block that does not hash to its name is refused.
func TestExchangeChecks(t *testing.T) {
	a, b := dags(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n := node("true")
	if err := a.Add(ctx, n); err != nil {
		t.Fatal(err)
	}
	a.exchange.blocks = liar{a.blocks}
	if got, err := b.Get(ctx, n.Cid()); err == nil {
		t.Errorf("got %v", got)
	}
}

// TestReplicas: what is put, batched and removed at one replica is so at the
// other, with either exchange, and survives being closed.
func TestReplicas(t *testing.T) {
	for name, x := range map[string]Exchange{"bitswap": Bitswap, "plain": Plain} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			oa := side.Options{Dir: t.TempDir(), Network: true, Sync: true}
			a := open(t, oa, x)
			b := open(t, side.Options{Dir: t.TempDir(), Network: true, Sync: true, Join: a.Dial()}, x)
			check(t, b.Ready(ctx, 1))
			check(t, a.Ready(ctx, 1))
			check(t, a.Put(ctx, side.Key(0), side.Value(1, 0)))
			check(t, a.PutBatch(ctx, []side.Item{{Key: side.Key(1), Value: side.Value(1, 1)}, {Key: side.Key(2), Value: side.Value(1, 2)}}))
			check(t, b.Await(ctx, 3))
			got := 0
			check(t, b.List(ctx, side.Prefix, func(it side.Item) error {
				i, err := side.Index(it.Key)
				if err != nil || string(it.Value) != string(side.Value(1, i)) {
					t.Errorf("%s: %v", it.Key, err)
				}
				got++
				return nil
			}))
			if got != 3 {
				t.Errorf("%d keys", got)
			}
			check(t, a.Remove(ctx, side.Key(0)))
			check(t, a.Close())
			again := open(t, side.Options{Dir: oa.Dir}, x)
			if _, err := again.Get(ctx, side.Key(0)); !errors.Is(err, side.ErrNotFound) {
				t.Errorf("a removed key: %v", err)
			}
			check(t, again.Close())
			check(t, b.Close())
		})
	}
}

func open(t *testing.T, o side.Options, x Exchange) *Replica {
	t.Helper()
	r, err := Open(o, x)
	check(t, err)
	return r
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// That memory is in use while a database closes is no failure; all else is.
func TestOnDisk(t *testing.T) {
	other := errors.New("leaking disk")
	if onDisk(nil) != nil || onDisk(errors.New("leaked memtable reservation: 262144")) != nil || !errors.Is(onDisk(other), other) {
		t.Error("the wrong errors are left out")
	}
}
