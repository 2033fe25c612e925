package node

import (
	"errors"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// Undo writes back what a transaction overwrote, key by key, where nothing has
// changed since.
func TestUndo(t *testing.T) {
	put := func(p string, v any) Op { return op(OpPut, p, v) }
	doc := map[string]any{"a": int64(1), "b": map[string]any{"c": "x"}}
	for _, c := range []struct {
		name    string
		before  []Op // each its own transaction
		txn     []Op // what is undone
		since   []Op
		want    string // of the entity after
		skipped []string
		err     error
	}{
		{name: "put of a new key", txn: []Op{put("", "new")}, want: "-"},
		{name: "put over a value", before: []Op{put("", "old")}, txn: []Op{put("", "new")}, want: `"old"`},
		{
			name: "put, and changed since", before: []Op{put("", "old")}, txn: []Op{put("", "new")}, since: []Op{put("", "newer")},
			want: `"newer"`, err: ErrConflict,
		},
		{
			name: "put, and removed since", before: []Op{put("", "old")}, txn: []Op{put("", "new")}, since: []Op{op(OpRm, "", nil)},
			want: "-", err: ErrConflict,
		},
		{
			name: "put of a document, one leaf changed since", before: []Op{put("/a", "old")}, txn: []Op{put("", doc)},
			since: []Op{put("/b/c", "y")}, want: `{"a":"old","b":{"c":"y"}}`, skipped: []string{"e#/b/c"},
		},
		{name: "put over a document", before: []Op{put("", doc)}, txn: []Op{put("/b", int64(5))}, want: `{"a":1,"b":{"c":"x"}}`},
		{name: "put below a value", before: []Op{put("", "scalar")}, txn: []Op{put("/b", int64(5))}, want: `"scalar"`},
		{name: "put twice in one", before: []Op{put("", int64(0))}, txn: []Op{put("", int64(1)), put("", int64(2))}, want: "0"},
		{name: "put and rm in one", before: []Op{put("", doc)}, txn: []Op{put("/new", int64(1)), op(OpRm, "", nil)}, want: `{"a":1,"b":{"c":"x"}}`},
		{name: "rm", before: []Op{put("", doc)}, txn: []Op{op(OpRm, "", nil)}, want: `{"a":1,"b":{"c":"x"}}`},
		{
			name: "rm, and one leaf put since", before: []Op{put("", doc)}, txn: []Op{op(OpRm, "", nil)}, since: []Op{put("/a", "now")},
			want: `{"a":"now","b":{"c":"x"}}`, skipped: []string{"e"},
		},
		{
			name: "rm, and all put since", before: []Op{put("", "x")}, txn: []Op{op(OpRm, "", nil)}, since: []Op{put("", "now")},
			want: `"now"`, err: ErrConflict,
		},
		{name: "rm of nothing else", before: []Op{put("/a", "x"), put("/b", "y")}, txn: []Op{op(OpRm, "/a", nil)}, want: `{"a":"x","b":"y"}`},
		{name: "add", before: []Op{op(OpAdd, "", "x")}, txn: []Op{op(OpAdd, "", "y")}, want: `["x"]`},
		{name: "add, and removed since", txn: []Op{op(OpAdd, "", "y")}, since: []Op{op(OpRemove, "", "y")}, want: "-", err: ErrConflict},
		{name: "remove", before: []Op{op(OpAdd, "", "x"), op(OpAdd, "", "y")}, txn: []Op{op(OpRemove, "", "x")}, want: `["x","y"]`},
		{
			name: "remove, and added since", before: []Op{op(OpAdd, "", "x")}, txn: []Op{op(OpRemove, "", "x")}, since: []Op{op(OpAdd, "", "x")},
			want: `["x"]`,
		},
		{name: "first vote", txn: []Op{op(OpVote, "", "x")}, want: "-"},
		{name: "second vote", before: []Op{op(OpVote, "", "x")}, txn: []Op{op(OpVote, "", "y")}, want: `"x"`},
		{
			name: "vote, and voted since", before: []Op{op(OpVote, "", "x")}, txn: []Op{op(OpVote, "", "y")}, since: []Op{op(OpVote, "", "z")},
			want: `"z"`, err: ErrConflict,
		},
		{name: "inc", before: []Op{inc("", 5)}, txn: []Op{inc("", 3)}, want: "5"},
		{name: "inc, and more since", before: []Op{inc("", 5)}, txn: []Op{inc("", 3)}, since: []Op{inc("", 10)}, want: "15"},
		{name: "rm of a counter", before: []Op{inc("", 5), inc("", 6)}, txn: []Op{op(OpRm, "", nil)}, want: "11"},
		{
			name: "rm of a counter, and of all, in one", before: []Op{inc("/n", 5), put("/a", "x")},
			txn: []Op{op(OpRm, "/n", nil), op(OpRm, "", nil)}, want: `{"a":"x","n":5}`,
		},
		{name: "two votes in one", before: []Op{op(OpVote, "", "x")}, txn: []Op{op(OpVote, "", "y"), op(OpVote, "", "z")}, want: `"x"`},
		{name: "negate", before: []Op{put("", "x")}, txn: []Op{{Kind: OpNegate}}, want: `"x"`},
		{name: "negate, and put since", before: []Op{put("", "x")}, txn: []Op{{Kind: OpNegate}}, since: []Op{put("", "y")}, want: `"y"`, err: ErrConflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			var last Receipt
			for _, o := range c.before {
				last = b.must(o)
			}
			for i := range c.txn {
				if c.txn[i].Kind == OpNegate {
					c.txn[i].Dots = []clock.Dot{last.Txn}
				}
			}
			txn := b.must(c.txn...)
			for _, o := range c.since {
				b.must(o)
			}
			rec, err := b.Commit(t.Context(), "", []Op{{Kind: OpUndo, Dots: []clock.Dot{txn.Txn}}})
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			b.want("e", "", c.want)
			if !slices.Equal(rec.Skipped, c.skipped) {
				t.Errorf("skipped %q, want %q", rec.Skipped, c.skipped)
			}
			if c.err == nil && len(c.since) == 0 {
				again(t, b, rec, c.txn, c.want)
			}
		})
	}
}

// again undoes the undo: the key reads as the transaction left it.
func again(t *testing.T, b *bench, rec Receipt, txn []Op, undone string) {
	t.Helper()
	redo, err := b.Commit(t.Context(), "", []Op{{Kind: OpUndo, Dots: []clock.Dot{rec.Txn}}})
	if err != nil {
		t.Errorf("undo of the undo: %v", err)
		return
	}
	if _, err := b.Commit(t.Context(), "", []Op{{Kind: OpUndo, Dots: []clock.Dot{redo.Txn}}}); err != nil {
		t.Errorf("undo of the undo of the undo: %v", err)
	}
	b.want("e", "", undone)
}

func op(kind OpKind, p string, v any) Op {
	return Op{Kind: kind, Entity: "e", Path: delta.Path(p), Value: v}
}
func inc(p string, n int64) Op { return Op{Kind: OpInc, Entity: "e", Path: delta.Path(p), N: n} }

// A value that somebody else overwrote too does not come back.
func TestUndoOfConcurrentPuts(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.add("a"), w.add("b")
	w.connect(a, b)
	a.put("e", "", "old")
	w.settle(settleMillis)
	w.split(a, b)
	mine := a.put("e", "", "by a")
	b.put("e", "", "by b")
	w.heal()
	w.settle(settleMillis)
	a.do(Op{Kind: OpUndo, Dots: []clock.Dot{mine.Txn}})
	w.settle(settleMillis)
	for _, h := range w.hosts {
		if got := h.value("e", ""); got != `"by b"` {
			t.Errorf("%s reads %s", h.name, got)
		}
	}
	w.checkAgreement()
}

// What stood there by another author comes back too where a transaction writes
// the key twice.
func TestUndoOfTwoPutsOverAnothers(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.add("a"), w.add("b")
	w.connect(a, b)
	b.put("e", "", "by b")
	w.settle(settleMillis)
	txn := a.do(op(OpPut, "", "one"), op(OpPut, "", "two"))
	rec := a.do(Op{Kind: OpUndo, Dots: []clock.Dot{txn.Txn}})
	if got := a.value("e", ""); got != `"by b"` || len(rec.Skipped) > 0 {
		t.Errorf("reads %s, skipped %q", got, rec.Skipped)
	}
}

// Undo of another's transaction, after a restart, from what the store holds.
func TestUndoElsewhere(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.add("a"), w.add("b")
	w.connect(a, b)
	a.put("e", "", "old")
	txn := a.do(op(OpRm, "", nil))
	w.settle(settleMillis)
	w.crash(b)
	b.do(Op{Kind: OpUndo, Dots: []clock.Dot{txn.Txn}})
	if got := b.value("e", ""); got != `"old"` {
		t.Errorf("reads %s", got)
	}
}

// Dead rows and kept kills that cannot be read are corruption.
func TestCorruptUndo(t *testing.T) {
	for _, kind := range []byte{kindDead, kindKill} {
		for _, value := range [][]byte{nil, {9}, make([]byte, 16), append(make([]byte, 17), 3)} {
			w := newWorld(t, 1)
			h := w.add("h")
			h.put("e", "", "x")
			txn := h.put("e", "", "y")
			batch := h.mem.NewBatch()
			lo := h.r.state.key(kind, nil)
			for kv, err := range h.mem.Scan(lo, storage.PrefixEnd(lo)) {
				w.must(err)
				batch.Set(kv.Key, value)
			}
			w.must(storage.ApplySync(h.mem, batch))
			_, err := h.r.Write(h.now(), []Request{{Ops: []Op{{Kind: OpUndo, Dots: []clock.Dot{txn.Txn}}}}})
			if kind == kindDead && !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("dead row %x: %v", value, err)
			}
		}
	}
}
