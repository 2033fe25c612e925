package node

import (
	"context"
	"errors"
	"iter"
	"testing"

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
