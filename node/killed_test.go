package node

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
)

// What a migration has moved is told when it was killed, too, at the path at which
// it is read now, with those that killed it where it was written and where it is
// read now; and no longer at the path at which it was written.
func TestExplainRenamed(t *testing.T) {
	b := newBench(t)
	var old, newer Receipt
	b.moved(`{"id": "price", "path": "/cost"}`, func() {
		old = b.put("order/1", "/cost", int64(5))
		newer = b.put("order/1", "/cost", int64(6))
	}, `{"id": "price", "path": "/price"}`, `{"rename": {"from": "/cost", "to": "/price"}}`)
	last := b.put("order/1", "/price", int64(7))
	for _, p := range []delta.Path{"/price", ""} {
		x := b.explain("order/1", p)
		if len(x.Killed) != 2 {
			t.Fatalf("at %q, killed %+v", p, x.Killed)
		}
		for i, want := range []struct{ was, by Receipt }{{newer, last}, {old, newer}} {
			k := &x.Killed[i]
			if k.Path != "/price" || k.Dot != want.was.Txn || !slices.ContainsFunc(k.By, func(k Killer) bool { return k.Dot == want.by.Txn && k.Known }) {
				t.Errorf("at %q, %+v, want %v, killed by %v", p, k, want.was.Txn, want.by.Txn)
			}
		}
	}
	if x, err := b.Explain(t.Context(), "order/1", "/cost", ReadOptions{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("where nothing is read: %+v, %v", x.Killed, err)
	}
}

// Each that was killed is told as it was read while it lived: where moves have it
// and as what, once for each place.
func TestExplainMoved(t *testing.T) {
	type object = map[string]any
	put := func(p delta.Path, x any) Op { return Op{Kind: OpPut, Entity: "order/1", Path: p, Value: x} }
	const split = `{"split": {"from": "/name", "to": ["/first", "/last"], "separator": " "}}`
	for name, c := range map[string]struct {
		ops     []Op
		migrate string
		at      []delta.Path
	}{
		"a split":         {[]Op{put("/name", "Ada Lovelace")}, split, []delta.Path{"", "/first", "/last", "/name"}},
		"a split bag":     {[]Op{{Kind: OpAdd, Entity: "order/1", Path: "/name", Value: "a b"}, {Kind: OpAdd, Entity: "order/1", Path: "/name", Value: "c d"}}, split, []delta.Path{"", "/last"}},
		"an object":       {[]Op{put("/cost", object{"net": int64(1), "tax": int64(2)}), put("/x", int64(1))}, renameCost, []delta.Path{"", "/price", "/price/net", "/cost"}},
		"a part of whole": {[]Op{{Kind: OpPut, Entity: "order/1", Path: "/a", Value: object{"b": int64(1), "z": int64(2)}, Whole: true}}, `{"rename": {"from": "/a/b", "to": "/c"}}`, []delta.Path{"", "/a", "/c"}},
		"a counter":       {[]Op{{Kind: OpInc, Entity: "order/1", Path: "/cost", N: 5}}, renameCost, []delta.Path{"", "/price"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.moved("", func() { b.must(c.ops...) }, "", c.migrate)
			living := make(map[delta.Path][]string)
			for _, p := range c.at {
				r, err := b.Read(t.Context(), "order/1", p, ReadOptions{})
				if err == nil {
					living[p] = told(r.Survivors)
				}
			}
			if len(living[c.at[1]]) == 0 {
				t.Fatalf("nothing is read at %s", c.at[1])
			}
			b.must(Op{Kind: OpRm, Entity: "order/1"})
			b.put("order/1", "/left", int64(1))
			for _, p := range c.at {
				var dead []Survivor
				if len(living[p]) > 0 {
					for _, k := range b.explain("order/1", p).Killed {
						dead = append(dead, k.Survivor)
					}
				} else if x, err := b.Explain(t.Context(), "order/1", p, ReadOptions{}); err == nil {
					t.Errorf("%q: %+v, where nothing was read", p, x.Killed)
				}
				if got := told(dead); !slices.Equal(got, living[p]) {
					t.Errorf("%q: the dead are %q, the living were %q", p, got, living[p])
				}
			}
		})
	}
}

// told returns survivors as text, in order.
func told(all []Survivor) (out []string) {
	for i := range all {
		s := &all[i]
		out = append(out, fmt.Sprintf("%s %s %x %d %v", s.Path, s.Verb, s.Value, s.Total, s.Dot))
	}
	slices.Sort(out)
	return out
}

// One that could not be moved is told as it was written, where readers were shown
// the error.
func TestExplainUnmoved(t *testing.T) {
	b := newBench(t)
	b.moved("", func() { b.put("order/1", "/name", int64(5)) }, "", `{"split": {"from": "/name", "to": ["/first", "/last"], "separator": " "}}`)
	r, err := b.Get(t.Context(), "order/1", "")
	if err != nil || len(r.Errors) == 0 {
		t.Fatalf("%+v %v", r, err)
	}
	b.must(Op{Kind: OpRm, Entity: "order/1"})
	for _, e := range r.Errors {
		x := b.explain("order/1", e.Path)
		if len(x.Killed) != 1 || x.Killed[0].Path != e.Path || !slices.Equal(x.Killed[0].Value, delta.Int(5)) {
			t.Errorf("%s: %+v", e.Path, x.Killed)
		}
	}
}
