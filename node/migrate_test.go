package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

const orderSchema = `{"name": "order", "version": %d, "entities": ["order/*"], "properties": [%s]%s}`

// moved writes version 1 of a schema with properties, runs f, and then writes
// version 2 with others and migrations.
func (b *bench) moved(before string, f func(), after, migrate string) {
	b.t.Helper()
	b.system("$schema/order", "/1", fmt.Sprintf(orderSchema, 1, before, ""))
	f()
	b.system("$schema/order", "/2", fmt.Sprintf(orderSchema, 2, after, `, "migrate": [`+migrate+`]`))
}

// renamed is a bench with a property that was renamed from /cost to /price.
func renamed(t *testing.T) *bench {
	b := newBench(t)
	b.moved(`{"id": "price", "path": "/cost"}`, func() {
		b.put("order/1", "/cost", int64(5))
		b.put("order/1", "/note", "n")
	}, `{"id": "price", "path": "/price"}`, `{"rename": {"from": "/cost", "to": "/price"}}`)
	b.want("order/1", "", `{"note":"n","price":5}`)
	return b
}

// raw returns an entity as it stands.
func (b *bench) raw(entity string) string {
	b.t.Helper()
	r, err := b.Read(b.t.Context(), entity, "", ReadOptions{Raw: true})
	if errors.Is(err, ErrNotFound) {
		return "-"
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return string(delta.AppendAnyJSON(nil, r.Value))
}

// A property that was renamed goes when it is removed at its new path, and comes
// back when that is undone.
func TestRmOfRenamed(t *testing.T) {
	b := renamed(t)
	rec := b.must(Op{Kind: OpRm, Entity: "order/1", Path: "/price"})
	b.want("order/1", "", `{"note":"n"}`)
	if got := b.raw("order/1"); got != `{"note":"n"}` {
		t.Errorf("what stands is %s", got)
	}
	b.must(Op{Kind: OpUndo, Dots: []clock.Dot{rec.Txn}})
	b.want("order/1", "", `{"note":"n","price":5}`)
}

// A put over a property that was renamed leaves nothing to conflict with, and to
// undo it brings back what it overwrote.
func TestPutOverRenamed(t *testing.T) {
	b := renamed(t)
	rec := b.put("order/1", "", map[string]any{"price": int64(7), "size": int64(1)})
	r, err := b.Get(t.Context(), "order/1", "")
	if err != nil || len(r.Conflicts) > 0 || len(r.Survivors) != 3 {
		t.Errorf("conflicts %q, %d survivors, %v", r.Conflicts, len(r.Survivors), err)
	}
	b.want("order/1", "", `{"note":"n","price":7,"size":1}`)
	b.must(Op{Kind: OpUndo, Dots: []clock.Dot{rec.Txn}})
	b.want("order/1", "", `{"note":"n","price":5}`)
}

// What a read shows as the ETag of a renamed property holds the writer, and the
// ETag of nothing does not.
func TestETagOfRenamed(t *testing.T) {
	b := renamed(t)
	r, err := b.Get(t.Context(), "order/1", "/price")
	if err != nil {
		t.Fatal(err)
	}
	put := func(match string, v int64) error {
		_, err := b.Commit(t.Context(), "", []Op{{Kind: OpPut, Entity: "order/1", Path: "/price", Value: v, IfMatch: match}})
		return err
	}
	if err := put(AbsentETag, 6); !errors.Is(err, ErrPrecondition) {
		t.Errorf("a put in the place of nothing: %v", err)
	}
	if err := put(r.ETag, 7); err != nil {
		t.Errorf("a put over what was read: %v", err)
	}
	if err := put(r.ETag, 8); !errors.Is(err, ErrPrecondition) {
		t.Errorf("a put over what was there before: %v", err)
	}
	b.want("order/1", "/price", "7")
}

// A property that is put as it reads already is not written again where equal
// values are skipped, wherever it stands.
func TestSkipEqualOfRenamed(t *testing.T) {
	b := renamed(t)
	op := Op{Kind: OpPut, Entity: "order/1", Value: map[string]any{"price": int64(5), "note": "n"}, SkipEqual: true}
	if rec := b.must(op); rec.Deltas != 0 {
		t.Errorf("%d deltas", rec.Deltas)
	}
	op.Value = map[string]any{"price": int64(6), "note": "n"}
	if rec := b.must(op); rec.Deltas != 2 { // the drop of /cost, and the value
		t.Errorf("%d deltas", rec.Deltas)
	}
}

// What was written before a rename can be undone and negated after it.
func TestUndoAcrossRename(t *testing.T) {
	b := newBench(t)
	var second Receipt
	b.moved(`{"id": "price", "path": "/cost"}`, func() {
		b.put("order/1", "/cost", int64(5))
		second = b.put("order/1", "/cost", int64(6))
	}, `{"id": "price", "path": "/price", "required": true}`, `{"rename": {"from": "/cost", "to": "/price"}}`)
	b.must(Op{Kind: OpUndo, Dots: []clock.Dot{second.Txn}})
	b.want("order/1", "/price", "5")
	r, err := b.Get(t.Context(), "order/1", "/price")
	if err != nil || len(r.Survivors) != 1 {
		t.Fatalf("%v, %v", r.Survivors, err)
	}
	if _, err := b.Commit(t.Context(), "", []Op{
		{Kind: OpNegate, Dots: []clock.Dot{r.Survivors[0].Dot}},
		{Kind: OpPut, Entity: "order/1", Path: "/note", Value: "n"},
	}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a write beside a negation is not judged: %v", err)
	}
	b.must(Op{Kind: OpNegate, Dots: []clock.Dot{r.Survivors[0].Dot}})
	if got := b.raw("order/1"); got != "-" {
		t.Errorf("what stands is %s", got)
	}
}

// The removal of what the guard would not let be written anew can be undone: an
// entity from before its schema, and a schema of two versions.
func TestUndoIsNotJudged(t *testing.T) {
	b := newBench(t)
	b.put("order/1", "/load", int64(1))
	for v := 1; v <= 2; v++ {
		b.system("$schema/order", delta.Path(fmt.Sprintf("/%d", v)), fmt.Sprintf(orderSchema, v, `{"id": "os", "path": "/os", "required": true}`, ""))
	}
	for _, entity := range []string{"order/1", "$schema/order"} {
		was := b.raw(entity)
		rec := b.must(Op{Kind: OpRm, Entity: entity})
		b.must(Op{Kind: OpUndo, Dots: []clock.Dot{rec.Txn}})
		if got := b.raw(entity); got != was {
			t.Errorf("%s is %s, was %s", entity, got, was)
		}
	}
}

// A write migrates what it must of what is read at its path, and no more.
func TestMigrateOnWrite(t *testing.T) {
	put := func(p delta.Path, v any) Op { return Op{Kind: OpPut, Entity: "order/1", Path: p, Value: v} }
	whole := func(p delta.Path, v any) Op {
		return Op{Kind: OpPut, Entity: "order/1", Path: p, Value: v, Whole: true}
	}
	rm := func(p delta.Path) Op { return Op{Kind: OpRm, Entity: "order/1", Path: p} }
	add := func(p delta.Path, v any) Op { return Op{Kind: OpAdd, Entity: "order/1", Path: p, Value: v} }
	vote := func(p delta.Path, v any) Op { return Op{Kind: OpVote, Entity: "order/1", Path: p, Value: v} }
	inc := func(p delta.Path, n int64) Op { return Op{Kind: OpInc, Entity: "order/1", Path: p, N: n} }
	type object = map[string]any
	const split = `{"split": {"from": "/name", "to": ["/first", "/last"], "separator": " "}}`
	const out = `{"rename": {"from": "/a/b", "to": "/c"}}`
	const back = `{"rename": {"from": "/a/x", "to": "/d"}}, {"split": {"from": "/d", "to": ["/a/x", "/b"], "separator": " "}}`
	for _, c := range []struct {
		name      string
		before    []Op
		migrate   string
		op        Op
		want, raw string
	}{
		{"a split, half put", []Op{put("/name", "Ada Lovelace")}, split, put("/first", "A"), `{"first":"A","last":"Lovelace"}`, ""},
		{"a split, half removed", []Op{put("/name", "Ada Lovelace")}, split, rm("/last"), `{"first":"Ada"}`, ""},
		{"a split, put whole", []Op{put("/name", "Ada Lovelace")}, split, put("", object{"first": "A", "last": "L"}), `{"first":"A","last":"L"}`, ""},
		{"what cannot be split", []Op{put("/name", int64(5))}, split, put("/first", "A"), `{"first":"A"}`, ""},
		{"a split of a bag", []Op{add("/name", "a b"), add("/name", "c d")}, split, rm("/first"), `{"last":["b","d"]}`, ""},
		{"a split of a bag, one taken", []Op{add("/name", "a b"), add("/name", "c d")}, split, Op{Kind: OpRemove, Entity: "order/1", Path: "/first", Value: "a"}, `{"first":["c"],"last":["b","d"]}`, `{"last":["b"],"name":["c d"]}`},
		{"a split of one's own vote", []Op{vote("/name", "a b")}, split, vote("/first", "x"), `{"first":"x","last":"b"}`, ""},
		{"a rename of a bag", []Op{add("/cost", "a"), add("/cost", "b")}, renameCost, Op{Kind: OpRemove, Entity: "order/1", Path: "/price", Value: "a"}, `{"price":["b"]}`, `{"cost":["b"]}`},
		{"a rename of a bag, put over", []Op{add("/cost", "a"), add("/cost", "b")}, renameCost, put("/price", "c"), `{"price":"c"}`, ""},
		{"a rename of a vote", []Op{vote("/cost", "a")}, renameCost, vote("/price", "b"), `{"price":"b"}`, ""},
		{"a rename of a counter, counted on", []Op{inc("/cost", 5)}, renameCost, inc("/price", 1), `{"price":6}`, `{"cost":5,"price":1}`},
		{"a rename of a counter, removed", []Op{inc("/cost", 5), put("/x", int64(1))}, renameCost, rm("/price"), `{"x":1}`, ""},
		{"a rename of an object, one part", []Op{put("/cost", object{"net": int64(1), "tax": int64(2)})}, renameCost, put("/price/net", int64(3)), `{"price":{"net":3,"tax":2}}`, `{"cost":{"tax":2},"price":{"net":3}}`},
		{"a rename of an object, all of it", []Op{put("/cost", object{"net": int64(1), "tax": int64(2)}), put("/x", int64(1))}, renameCost, rm("/price"), `{"x":1}`, ""},
		{"a rename of an object, a scalar over it", []Op{put("/cost", object{"net": int64(1), "tax": int64(2)})}, renameCost, put("/price", int64(3)), `{"price":3}`, ""},
		{"a rename of a scalar, an object over it", []Op{put("/cost", int64(1))}, renameCost, put("/price/net", int64(3)), `{"price":{"net":3}}`, ""},
		{"out of a value", []Op{whole("/a", object{"b": int64(1), "x": int64(2)})}, out, put("/c", int64(3)), `{"a":{"x":2},"c":3}`, ""},
		{"out of a value, removed", []Op{whole("/a", object{"b": int64(1), "x": int64(2)})}, out, rm("/c"), `{"a":{"x":2}}`, ""},
		{"an older vote beside a newer", []Op{vote("/a", "x"), vote("/b/x", "y")}, `{"rename": {"from": "/a", "to": "/b/x"}}`, put("/b", "last"), `{"b":"last"}`, ""},
		{"out of a value and back", []Op{whole("/a", object{"x": "u v", "z": int64(1)})}, back, rm("/a/x"), `{"a":{"z":1},"b":"v"}`, ""},
		{"the entity", []Op{put("/cost", int64(1))}, renameCost, rm(""), `-`, ""},
		{"another property", []Op{put("/cost", int64(1))}, renameCost, put("/x", int64(1)), `{"price":1,"x":1}`, `{"cost":1,"x":1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.moved("", func() { b.must(c.before...) }, "", c.migrate)
			was := b.read("order/1", "")
			rec := b.must(c.op)
			b.want("order/1", "", c.want)
			if c.raw == "" {
				c.raw = c.want
			}
			if got := b.raw("order/1"); got != c.raw {
				t.Errorf("what stands is %s, want %s", got, c.raw)
			}
			if c.want != "-" {
				if r, err := b.Get(t.Context(), "order/1", ""); err != nil || len(r.Conflicts) > 0 {
					t.Errorf("conflicts %q, %v", r.Conflicts, err)
				}
			}
			b.must(Op{Kind: OpUndo, Dots: []clock.Dot{rec.Txn}})
			if got := b.read("order/1", ""); got != was {
				t.Errorf("undone it reads %s, before %s", got, was)
			}
		})
	}
}

const renameCost = `{"rename": {"from": "/cost", "to": "/price"}}`

// Somebody else's vote that was split cannot be written anew: it is left where it
// is, and so is what it reads as.
func TestMigrateLeavesVotesOfOthers(t *testing.T) {
	b := newBench(t)
	b.moved("", func() {
		if _, err := b.Commit(t.Context(), "ann", []Op{{Kind: OpVote, Entity: "order/1", Path: "/name", Value: "a b"}}); err != nil {
			t.Fatal(err)
		}
	}, "", `{"split": {"from": "/name", "to": ["/first", "/last"], "separator": " "}}`)
	b.must(Op{Kind: OpRm, Entity: "order/1", Path: "/first"})
	b.want("order/1", "", `{"first":"a","last":"b"}`)
}

// Of what concurrent writers gave, a write to one part of a split leaves the
// other part as it was shown, and without what was hidden there.
func TestMigrateKeepsWhatIsShown(t *testing.T) {
	for _, c := range []struct{ first, second, want string }{
		{"/name", "/name", `"Byron"`},
		{"/name", "/last", `"Ada Byron"`},
		{"/last", "/name", `"Byron"`},
	} {
		w := newWorld(t, 1)
		a, b := w.add("a"), w.add("b")
		a.put("order/1", delta.Path(c.first), "Ada Lovelace")
		w.now += 1000
		b.put("order/1", delta.Path(c.second), "Ada Byron")
		for v, migrate := range []string{"", `, "migrate": [{"split": {"from": "/name", "to": ["/first", "/last"], "separator": " "}}]`} {
			doc, err := delta.ParseJSON([]byte(fmt.Sprintf(orderSchema, v+1, "", migrate)))
			w.must(err)
			res := b.write(Request{Ops: []Op{{Kind: OpPut, Entity: "$schema/order", Path: delta.Path(fmt.Sprintf("/%d", v+1)), Value: doc, Whole: true}}})
			w.must(res[0].Err)
		}
		w.connect(a, b)
		w.drain()
		res := b.write(Request{Ops: []Op{{Kind: OpPut, Entity: "order/1", Path: "/first", Value: "A"}}})
		w.must(res[0].Err)
		r, found, err := merge.ReadWith(b.r.state, "order/1", "/last", b.r.guard.catalog.Rules("order/1"))
		if got := string(delta.AppendAnyJSON(nil, r.Value)); err != nil || !found || got != c.want || len(r.Conflicts) > 0 {
			t.Errorf("%s, then %s: /last is %s with conflicts %q, %v; want %s", c.first, c.second, got, r.Conflicts, err, c.want)
		}
	}
}

// The ETag that a read shows is the one that a writer is held to, and that a
// write hands out, whatever schemas moved; and what is put is what is read, what
// is removed is gone.
func TestETagOfReadIsThatOfWriter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t)
		defer b.Close()
		b.grow(rt, 3, OpPut, OpPut, OpAdd, OpInc, OpRm)
		p := somePath(rt, "p")
		tag := func() string {
			r, err := b.Get(t.Context(), "order/1", p)
			if errors.Is(err, ErrNotFound) {
				return AbsentETag
			}
			if err != nil {
				rt.Fatal(err)
			}
			return r.ETag
		}
		kind := rapid.SampledFrom([]OpKind{OpPut, OpRm}).Draw(rt, "last")
		op := Op{Kind: kind, Entity: "order/1", Path: p, Value: "last", IfMatch: tag(), WantETag: true}
		was := b.read("order/1", "")
		rec, err := b.Commit(t.Context(), "", []Op{op})
		if errors.Is(err, ErrInvalid) {
			return // p was moved away
		}
		if err != nil {
			rt.Fatalf("%s %s of %s: %v", op.Kind, p, was, err)
		}
		if got := tag(); got != rec.ETags[0] {
			rt.Fatalf("%s %s of %s: etag %s, the writer was told %s", op.Kind, p, was, got, rec.ETags[0])
		}
		if got := b.read("order/1", p); kind == OpPut && got != `"last"` || kind == OpRm && got != "-" {
			rt.Fatalf("%s %s of %s: it reads %s", op.Kind, p, was, got)
		}
	})
}

// somePaths are those of the orders of property tests.
var somePaths = []delta.Path{"/a", "/a/x", "/b", "/b/x", "/c", "/c/x", "/d", "/d/x/y"}

func somePath(rt *rapid.T, label string) delta.Path {
	return rapid.SampledFrom(somePaths).Draw(rt, label)
}

// grow has random writes to an order, and versions of its schema between them that
// move what is there.
func (b *bench) grow(rt *rapid.T, versions int, kinds ...OpKind) {
	commit := func(op Op) {
		if _, err := b.Commit(b.t.Context(), "", []Op{op}); err != nil && !errors.Is(err, ErrInvalid) {
			rt.Fatal(err)
		}
	}
	for range versions {
		for range rapid.IntRange(0, 4).Draw(rt, "writes") {
			op := Op{Entity: "order/1", Path: somePath(rt, "at"), Whole: true, N: 1}
			op.Value = rapid.SampledFrom([]any{"x", "x y", map[string]any{"x": "u v", "z": int64(1)}}).Draw(rt, "value")
			op.Kind = rapid.SampledFrom(kinds).Draw(rt, "kind")
			commit(op)
		}
		migrate := fmt.Sprintf(`{"rename": {"from": %q, "to": %q}}`, somePath(rt, "from"), somePath(rt, "to"))
		if rapid.Bool().Draw(rt, "split") {
			migrate = fmt.Sprintf(`{"split": {"from": %q, "to": [%q, %q], "separator": " "}}`, somePath(rt, "from"), somePath(rt, "to"), somePath(rt, "and"))
		}
		n := b.nextOrder()
		x, err := delta.ParseJSON([]byte(fmt.Sprintf(orderSchema, n, "", `, "migrate": [`+migrate+`]`)))
		if err != nil {
			rt.Fatal(err)
		}
		commit(Op{Kind: OpPut, Entity: "$schema/order", Path: delta.Path(fmt.Sprintf("/%d", n)), Value: x, Whole: true})
	}
}

// nextOrder returns the number of the next version of the schema.
func (b *bench) nextOrder() int {
	n := 1
	for _, s := range b.Catalog().Versions() {
		n = max(n, s.Version+1)
	}
	return n
}

// An export has what was moved where the newest schema has it, and so can be
// written where that schema is; what cannot be moved it has as it stands.
func TestExportMoves(t *testing.T) {
	b := newBench(t)
	b.moved("", func() {
		b.put("order/1", "", map[string]any{"name": "Ada Lovelace", "cost": int64(5)})
		b.put("order/2", "", map[string]any{"name": int64(5)})
	}, `{"id": "sum", "path": "/sum", "default": 1}`, renameCost+`, {"split": {"from": "/name", "to": ["/first", "/last"], "separator": " "}}`)
	want := []string{`{"first":"Ada","last":"Lovelace","price":5}`, `{"name":5}`}
	for _, at := range []string{"", "now"} {
		var got []string
		for r, err := range b.ExportAt(t.Context(), "order/", at) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(delta.AppendAnyJSON(nil, r.Value)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("at %q: %s", at, strings.Join(got, " "))
		}
	}
}
