package node

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/storage"
)

// pairsOf yields what a host's store holds, without the space's prefix.
func pairsOf(h *host) iter.Seq2[storage.KV, error] {
	return func(yield func(storage.KV, error) bool) {
		for kv, err := range h.mem.Scan(nil, nil) {
			if !yield(storage.KV{Key: kv.Key[1:], Value: kv.Value}, err) || err != nil {
				return
			}
		}
	}
}

// A store that was copied differs from the node in exactly what either did
// since, whichever of the two is looked at.
func TestDiffPairs(t *testing.T) {
	eachSeed(t, 40, func(t *testing.T, w *world) {
		a, b := w.add("a"), w.add("b")
		w.connect(a, b)
		for range 1 + w.rng.IntN(30) {
			w.randomWrite([]*host{a, b}[w.rng.IntN(2)])
		}
		w.heal()
		w.settle(settleMillis)
		r, err := a.still().DiffPairs(t.Context(), "b", pairsOf(b))
		if err != nil || !r.Equal || !r.SameLog || len(r.Rows) > 0 {
			w.fatalf("equal stores: %+v, %v", r, err)
		}
		w.split(a, b)
		for range 1 + w.rng.IntN(10) {
			w.randomWrite(a)
			w.randomWrite(b)
		}
		a.flush()
		b.flush()
		x, err := a.still().DiffPairs(t.Context(), "b", pairsOf(b))
		w.must(err)
		y, err := b.still().DiffPairs(t.Context(), "a", pairsOf(a))
		w.must(err)
		mine, theirs := rowsOf(t, &a.r.state.rows), rowsOf(t, &b.r.state.rows)
		here, there := without(mine, theirs), without(theirs, mine)
		if x.Here != here || x.There != there || y.Here != there || y.There != here || x.Equal != (here+there == 0 && x.SameLog) {
			w.fatalf("%d here and %d there: %+v and %+v", here, there, x, y)
		}
	})
}

// without counts what one list has and another has not.
func without(a, b []string) (n uint64) {
	in := make(map[string]bool, len(b))
	for _, s := range b {
		in[s] = true
	}
	for _, s := range a {
		if !in[s] {
			n++
		}
	}
	return n
}

// What cannot be read, or takes too long, is an error and no report.
func TestDiffPairsFails(t *testing.T) {
	w := newWorld(t, 1)
	a := w.add("a")
	a.put("k", "", int64(1))
	bad := errors.New("damaged")
	for name, pairs := range map[string]iter.Seq2[storage.KV, error]{
		"an error": func(yield func(storage.KV, error) bool) { yield(storage.KV{}, bad) },
		"a lane that is none": func(yield func(storage.KV, error) bool) {
			yield(storage.KV{Key: []byte("l\x00\x00\x00\x01"), Value: []byte("short")}, nil)
		},
		"a row of no lane": func(yield func(storage.KV, error) bool) {
			yield(storage.KV{Key: []byte("sk"), Value: []byte("\x07\x01\x00\x00\x00\x01\x00\x00")}, nil)
		},
	} {
		if r, err := a.still().DiffPairs(t.Context(), "x", pairs); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.still().DiffPairs(ctx, "x", pairsOf(a)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A node has to have a session to the peer that it is compared with.
func TestDiffWithNobody(t *testing.T) {
	b := newBench(t)
	if _, err := b.Diff(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// A pipe carries what one node sends to another.
type pipe struct{ out chan []byte }

func (p pipe) Send(_ gossip.SessionID, m []byte)  { p.out <- m }
func (p pipe) Drop(gossip.SessionID, error, bool) {}
func (p pipe) Publish([]byte)                     {}
func (p pipe) Learn([]string)                     {}

// Two running nodes are compared over a session, one of them with its history
// dropped, while both go on.
func TestDiffOfNodes(t *testing.T) {
	w := newWorld(t, 1)
	var nodes [2]*Node
	var pipes [2]pipe
	var wires sync.WaitGroup
	for i, name := range []string{"a", "b"} {
		h := w.add(name)
		pipes[i] = pipe{make(chan []byte, 1024)}
		n, err := New(Config{
			Replica: ReplicaConfig{
				DB: storage.NewMemory(), Prefix: []byte("w"), Space: worldSpace, Key: h.key, Random: h.rnd,
				Spread: rand.New(rand.NewPCG(1, uint64(i))), Node: name,
			},
			Transport: pipes[i],
		})
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = n
	}
	for i := range nodes {
		wires.Go(func() {
			for m := range pipes[i].out {
				nodes[1-i].Received(1, m)
			}
		})
	}
	ctx := t.Context()
	put := func(n *Node, entity string) {
		if _, err := n.Commit(ctx, "", []Op{{Kind: OpPut, Entity: entity, Value: int64(1)}}); err != nil {
			t.Fatal(err)
		}
	}
	put(nodes[0], "k")
	put(nodes[0], "k")
	if _, err := nodes[0].Compact(ctx, CompactOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	put(nodes[1], "own")
	nodes[0].Opened(1, "b", "/b", true)
	nodes[1].Opened(1, "a", "/a", false)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		a, err := nodes[0].Diff(ctx, "b")
		if err != nil {
			t.Fatal(err)
		}
		b, err := nodes[1].Diff(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		if a.Equal && b.Equal && a.SameLog {
			break
		}
	}
	if _, err := nodes[1].Get(ctx, "k", ""); err != nil {
		t.Error(err)
	}
	for _, n := range nodes {
		n.Close()
	}
	for i := range pipes {
		close(pipes[i].out)
	}
	wires.Wait()
	if _, err := nodes[0].Diff(ctx, "b"); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed node: %v", err)
	}
}
