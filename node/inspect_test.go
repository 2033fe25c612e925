package node

import (
	"fmt"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// diff compares a host's state with that of a peer.
func (w *world) diff(a, b *host) DiffReport {
	w.t.Helper()
	l := w.linked(a, b)
	id := l.ids[0]
	if l.ends[1] == a {
		id = l.ids[1]
	}
	var out *DiffReport
	s, ok, err := a.r.Inspect(a.now(), id, b.name, func(r DiffReport, err error) {
		w.must(err)
		out = &r
	})
	if a.did(s, err); !ok {
		w.fatalf("%s does not begin to compare", a.name)
	}
	w.drain()
	if out == nil {
		w.fatalf("the comparison did not end")
	}
	return *out
}

// A comparison finds exactly the rows in which two states differ, says which of
// them are only on their way, and changes nothing.
func TestInspect(t *testing.T) {
	eachSeed(t, 30, func(t *testing.T, w *world) {
		a, b := w.add("a"), w.add("b")
		for i := range 200 {
			a.put(fmt.Sprintf("e%d", i), "", int64(i))
		}
		w.connect(a, b)
		w.settle(settleMillis)
		w.drop(a)
		if r := w.diff(a, b); !r.Equal || !r.SameLog || len(r.Rows) > 0 {
			w.fatalf("equal states differ in %+v", r)
		}
		// b loses a row without a kill, as no replica should.
		key := b.r.state.key(kindState, merge.AppendKey(nil, "e7", "", ""))
		batch := b.mem.NewBatch()
		batch.Delete(key)
		w.must(storage.ApplySync(b.mem, batch))
		for range 2 {
			r := w.diff(a, b)
			if r.Equal || !r.SameLog || len(r.Rows) != 1 || r.Rows[0].Entity != "e7" || !r.Rows[0].Here || r.Rows[0].New {
				w.fatalf("a row that b lost: %+v", r)
			}
			if r = w.diff(b, a); len(r.Rows) != 1 || r.Rows[0].Here || r.Rows[0].New || string(r.Rows[0].Value) != string(delta.Int(7)) {
				w.fatalf("seen from b: %+v", r)
			}
		}

		w.disconnect(w.linked(a, b))
		a.do(Op{Kind: OpPut, Entity: "new", Value: "here"})
		b.do(Op{Kind: OpPut, Entity: "e9", Value: "there"})
		w.topic = nil
		l := w.connect(a, b)
		a.flush()
		b.flush()
		w.deliver(l, 0) // a hello each way, and no more: entries would make them equal
		w.deliver(l, 1)
		root := a.r.log.Root()
		r := w.diff(a, b)
		got := map[string]DiffRow{}
		for _, x := range r.Rows {
			got[fmt.Sprint(x.Entity, " ", x.Here, " ", x.New)] = x
		}
		if r.Equal || r.SameLog || len(r.Rows) != 4 || r.Here != 3 || r.There != 1 {
			w.fatalf("after an edit on either side: %+v", r)
		}
		for _, want := range []string{"new true true", "e9 true false", "e9 false true", "e7 true false"} {
			if _, ok := got[want]; !ok {
				w.fatalf("no row %q among %v", want, got)
			}
		}
		if root == a.r.log.Root() {
			w.fatalf("what was compared did not come afterwards")
		}
	})
}
