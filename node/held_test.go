package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
)

// A view that somebody watches is never the one that goes when there are too many.
func TestWatchedViewStays(t *testing.T) {
	b := newBench(t)
	const many = maxKeptViews + 16
	x, err := delta.ParseJSON([]byte(`{"entities": ["nothing/*"]}`))
	if err != nil {
		t.Fatal(err)
	}
	var ops []Op
	for i := range many {
		ops = append(ops, Op{Kind: OpPut, Entity: fmt.Sprintf("%sv%d", catalog.ViewPrefix, i), Value: x, Whole: true})
	}
	b.must(ops...)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 3000 {
				name := fmt.Sprintf("v%d", rand.IntN(many))
				k, err := b.views.keep(name, true)
				if err != nil {
					t.Error(err)
					return
				}
				b.views.mu.Lock()
				kept := b.views.kept[name] == k
				b.views.mu.Unlock()
				for range 4 {
					runtime.Gosched()
					k.mu.Lock()
					kept = kept && !k.dropped
					k.mu.Unlock()
				}
				k.unpin()
				if !kept {
					t.Errorf("view %s was dropped while it was watched", name)
					return
				}
			}
		})
	}
	all.Wait()
}

// What a write to one path leaves at all others is what was shown there before.
func TestMigrationLeavesTheRest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t)
		defer b.Close()
		b.grow(rt, 2, OpPut, OpPut, OpAdd, OpInc, OpRm, OpVote)
		p := somePath(rt, "p")
		before, err := b.Get(t.Context(), "order/1", "")
		if errors.Is(err, ErrNotFound) || err == nil && (len(before.Conflicts) > 0 || len(before.Errors) > 0) {
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		was := b.read("order/1", "")
		rawWas := b.raw("order/1")
		if rules := b.Catalog().Rules("order/1"); rules != nil {
			for _, move := range rules.Moves {
				for _, value := range []any{"x y"} {
					if to, err := move(p, value); err != nil || len(to) != 1 || to[0].Path != p {
						return // p was moved away
					}
				}
			}
		}
		kind := rapid.SampledFrom([]OpKind{OpPut, OpRm}).Draw(rt, "last")
		last := rapid.SampledFrom([]any{"last", map[string]any{"x": "last", "z": int64(2)}}).Draw(rt, "last value")
		rec, err := b.Commit(t.Context(), "", []Op{{Kind: kind, Entity: "order/1", Path: p, Value: last}})
		if errors.Is(err, ErrInvalid) {
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		now := b.read("order/1", "")
		for _, q := range somePaths {
			if q == p || strings.HasPrefix(string(q), string(p)+"/") || strings.HasPrefix(string(p), string(q)+"/") {
				continue
			}
			if got, want := at(now, q), at(was, q); got != want {
				rt.Fatalf("%s %s of %s (stands %s): now %s (stands %s); %s is %s, was %s", kind, p, was, rawWas, now, b.raw("order/1"), q, got, want)
			}
		}
		after, err := b.Get(t.Context(), "order/1", "")
		if left := kind == OpRm && at(now, p) != "-"; rec.Deltas == 0 || left || err == nil && len(after.Conflicts) > 0 {
			return // somebody else's vote is still read there, and what is brought back is newer
		}
		undone, err := b.Commit(t.Context(), "", []Op{{Kind: OpUndo, Dots: []clock.Dot{rec.Txn}}})
		if errors.Is(err, ErrConflict) {
			return // what was mixed before cannot all be restored
		}
		if err != nil {
			rt.Fatal(err)
		}
		if got := b.read("order/1", ""); got != was && len(undone.Skipped) == 0 {
			rt.Fatalf("%s %s of %s (stands %s): now %s; undone it is %s", kind, p, was, rawWas, now, got)
		}
	})
}

func at(doc string, p delta.Path) string {
	if doc == "-" {
		return "-"
	}
	x, err := delta.ParseJSON([]byte(doc))
	if err != nil {
		return err.Error()
	}
	for _, n := range p.Segments() {
		m, _ := x.(map[string]any)
		var ok bool
		if x, ok = m[n]; !ok {
			return "-"
		}
	}
	return string(delta.AppendAnyJSON(nil, x))
}

// A view that has become too large to keep counts for nothing any more.
func TestTooLargeViewCountsForNothing(t *testing.T) {
	b := viewBench(t, 2000)
	b.put("x", "/n", "small")
	w := watch(t, b, "all")
	w.until(t, b.scratch("all"))
	b.put("x", "/n", strings.Repeat("x", 1000))
	b.show("all", "")
	b.views.mu.Lock()
	k, full := b.views.kept["all"], b.views.size
	b.views.mu.Unlock()
	if full == 0 {
		t.Fatal("the view is not kept")
	}
	for i := range 4 { // what pushes it over comes with a rebuild, all at once
		k.mu.Lock()
		k.running = true // no pass until all is there
		k.mu.Unlock()
		b.put(fmt.Sprintf("y%d", i), "/n", strings.Repeat("y", 1000))
	}
	b.system(catalog.ViewPrefix+"all", "", `{"entities": ["**"], "description": "again"}`)
	k.mu.Lock()
	k.running = false
	k.wake()
	k.mu.Unlock()
	b.show("all", "")
	b.views.mu.Lock()
	defer b.views.mu.Unlock()
	if b.views.size != 0 {
		t.Errorf("%d bytes are accounted for", b.views.size)
	}
}

// Names of which there is no view leave nothing behind.
func TestUnknownViewsAreNotCounted(t *testing.T) {
	b := newBench(t)
	for i := range 10 {
		for _, err := range b.WatchView(t.Context(), fmt.Sprint(i)) {
			if !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		}
	}
	if n := len(b.views.asked); n != 0 {
		t.Errorf("%d names are remembered", n)
	}
}
