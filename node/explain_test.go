package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

func (b *bench) explain(entity string, p delta.Path) Explanation {
	b.t.Helper()
	x, err := b.Explain(b.t.Context(), entity, p, ReadOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return x
}

// An explanation has what each property had to go by, which resolver decided and
// why, and what was killed there, by whom.
func TestExplain(t *testing.T) {
	b := viewBench(t, 0)
	first := b.put("host/1", "/load", int64(3))
	second := b.put("host/1", "/load", int64(4))
	b.must(Op{Kind: OpAdd, Entity: "host/1", Path: "/tags", Value: "x"})
	third := b.must(Op{Kind: OpRemove, Entity: "host/1", Path: "/tags", Value: "x"})
	x := b.explain("host/1", "")
	if x.Rules != "host@1" || string(delta.AppendAnyJSON(nil, x.Value)) != `{"double":8,"home":{"$ref":"site/a"},"load":4}` {
		t.Errorf("%s reads %v", x.Rules, x.Value)
	}
	var lines []string
	for _, p := range x.Properties {
		lines = append(lines, fmt.Sprintf("%s %s %s %v %v %d", p.Path, p.ID, p.Resolver, p.Inputs, p.Value, len(p.Survivors)))
	}
	want := []string{"/double double go:double map[load:4] 8 0", "/home home  map[] map[$ref:site/a] 0", "/load load last-write-wins map[] 4 1"}
	if !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
	if len(x.Killed) != 2 || x.Killed[0].Path != "/tags" || x.Killed[1].Path != "/load" || x.Killed[1].Dot != first.Txn {
		t.Fatalf("killed %+v", x.Killed)
	}
	by := x.Killed[1].By
	if len(by) != 1 || by[0].Dot != second.Txn || !by[0].Known || by[0].Verb != delta.Assign || by[0].Author != b.replica.author {
		t.Errorf("killed by %+v, want %v", by, second.Txn)
	}
	if by := x.Killed[0].By; len(by) != 1 || by[0].Dot != third.Txn || by[0].Verb != delta.Remove {
		t.Errorf("killed by %+v, want %v", by, third.Txn)
	}

	// A failing resolver is told, with what it had.
	b.put("host/1", "/load", int64(7))
	if p := b.explain("host/1", "/double").Properties[0]; !p.Absent || p.Error == nil || p.Error.Kind != merge.ErrorFailed || p.Inputs["load"] != int64(7) {
		t.Errorf("%+v", p)
	}
	// What is gone altogether is explained as long as it is kept.
	b.must(Op{Kind: OpRm, Entity: "host/1"})
	if x := b.explain("host/1", "/load"); !x.Absent || len(x.Killed) != 3 || x.Horizon != "" {
		t.Errorf("%+v", x)
	}
	if _, err := b.Compact(t.Context(), CompactOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Explain(t.Context(), "host/1", "", ReadOptions{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("below the horizon: %v", err)
	}
	b.put("host/1", "/note", "x")
	if x := b.explain("host/1", ""); x.Horizon == "" || x.Since.IsZero() {
		t.Errorf("no horizon is told: %+v", x)
	}
}

// A later bound that reaches a dead survivor is told as one that killed it, too.
func TestExplainTwoKillers(t *testing.T) {
	w := newWorld(t, 3)
	a, b := w.add("a"), w.add("b")
	w.connect(a, b)
	a.write(Request{Ops: []Op{{Kind: OpPut, Entity: "k", Value: int64(1)}}})
	w.settle(60_000)
	w.split(a, b)
	a.write(Request{Ops: []Op{{Kind: OpPut, Entity: "k", Value: int64(2)}}})
	b.write(Request{Creator: "bob", Ops: []Op{{Kind: OpRm, Entity: "k"}}})
	w.connect(a, b)
	w.settle(60_000)
	for _, h := range []*host{a, b} {
		x, err := h.still().Explain(t.Context(), "k", "", ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Killed) != 1 || len(x.Killed[0].By) != 2 {
			t.Fatalf("%s: killed %+v", h.name, x.Killed)
		}
		verbs := map[delta.Verb]string{}
		for _, k := range x.Killed[0].By {
			verbs[k.Verb] = k.Creator
		}
		if _, ok := verbs[delta.Assign]; !ok || verbs[delta.Drop] != "bob" {
			t.Errorf("%s: killed by %v", h.name, verbs)
		}
	}
}

// Of many that were killed the newest are listed, and that there are more is
// told.
func TestExplainIsBounded(t *testing.T) {
	b := newBench(t)
	for i := range 5 * maxKilled {
		b.put("k", "", int64(i))
	}
	x := b.explain("k", "")
	if len(x.Killed) != maxKilled || !x.More {
		t.Fatalf("%d killed, more %v", len(x.Killed), x.More)
	}
	if v, _ := x.Killed[0].Value.Int(); v != 5*maxKilled-2 {
		t.Errorf("the newest is %d", v)
	}
}

// A countingDB counts what is read of its snapshots.
type countingDB struct {
	storage.DB
	reads atomic.Int64
}

type countingSnapshot struct {
	storage.Snapshot
	reads *atomic.Int64
}

func (c *countingDB) Snapshot() storage.Snapshot { return &countingSnapshot{c.DB.Snapshot(), &c.reads} }

func (c *countingSnapshot) Get(key []byte) ([]byte, error) {
	c.reads.Add(1)
	return c.Snapshot.Get(key)
}

func (c *countingSnapshot) Scan(lo, hi []byte) iter.Seq2[storage.KV, error] {
	return func(yield func(storage.KV, error) bool) {
		c.reads.Add(1)
		for kv, err := range c.Snapshot.Scan(lo, hi) {
			c.reads.Add(1)
			if !yield(kv, err) {
				return
			}
		}
	}
}

// An explanation of a key that was written often, and of an entity that was
// dropped often, reads each dead row, each kept kill and each entry a few times,
// and lists the first killers of each survivor beside how many they are.
func TestExplainReadsOnce(t *testing.T) {
	const writes = 400
	for name, ops := range map[string]func(i int) []Op{
		"one key": func(i int) []Op {
			return []Op{{Kind: OpPut, Entity: "host/1", Path: "/load", Value: int64(i)}}
		},
		"one entity": func(i int) []Op {
			return []Op{{Kind: OpPut, Entity: "host/1", Path: delta.Path(fmt.Sprintf("/%d", i)), Value: int64(i)}, {Kind: OpRm, Entity: "host/1"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := &countingDB{DB: storage.NewMemory()}
			n, err := New(configOver(db, "n"))
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			b := &bench{Node: n, t: t}
			var all []Op
			for i := range writes {
				all = append(all, ops(i)...)
			}
			b.must(all[:len(all)/2]...)
			b.must(all[len(all)/2:]...)
			db.reads.Store(0)
			x := b.explain("host/1", "")
			if got := db.reads.Load(); got > 8*writes {
				t.Errorf("%d reads of the store for %d writes", got, writes)
			}
			for i := range x.Killed {
				k := &x.Killed[i]
				if len(k.By) != min(k.KilledBy, maxKillers) || k.KilledBy == 0 || !slices.IsSortedFunc(k.By, func(a, b Killer) int { return a.Dot.Compare(b.Dot) }) {
					t.Fatalf("%v was killed by %d, of whom %d are listed", k.Dot, k.KilledBy, len(k.By))
				}
				if k.By[0].Dot.Compare(k.Dot) <= 0 || !k.By[0].Known {
					t.Errorf("%v was killed by %+v", k.Dot, k.By[0])
				}
			}
			if oldest := x.Killed[len(x.Killed)-1]; name == "one key" && oldest.KilledBy != writes-1 {
				t.Errorf("the oldest was killed by %d, want %d", oldest.KilledBy, writes-1)
			}
		})
	}
}

// What an explanation tells of killers is what the kept kills of each row say,
// one survivor and one kill at a time.
func TestExplainKillers(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		b.scribble(r)
	}
	m := b.pin()
	defer m.close()
	view := b.rows
	view.r = m.snap
	want := make(map[clock.Dot]map[clock.Dot]bool)
	err := view.deadIn(m.eras, nil, func(row []byte, killer clock.Dot, s *merge.Survivor) error {
		by := map[clock.Dot]bool{killer: true}
		want[s.Dot] = by
		return view.killsOf(m.eras, row, func(killer clock.Dot, k *delta.Kill) bool {
			if k.Hits(s.Dot) {
				by[killer] = true
			}
			return true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, e := range []string{"host/1", "host/2", "host/12", "site/a", "site/b", "disk/1", "x"} {
		x, err := b.Explain(t.Context(), e, "", ReadOptions{})
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range x.Killed {
			k := &x.Killed[i]
			told++
			first := slices.SortedFunc(maps.Keys(want[k.Dot]), clock.Dot.Compare)
			first = first[:min(len(first), maxKillers)]
			if k.KilledBy != len(want[k.Dot]) || !slices.EqualFunc(k.By, first, func(k Killer, d clock.Dot) bool { return k.Dot == d }) {
				t.Errorf("%v was killed by %d, first by %+v, want %d, first by %v", k.Dot, k.KilledBy, k.By, len(want[k.Dot]), first)
			}
		}
	}
	if told != len(want) {
		t.Errorf("%d dead are told of, want %d", told, len(want))
	}
}

// An explanation ends with its context.
func TestExplainHeedsContext(t *testing.T) {
	b := newBench(t)
	b.put("k", "", int64(1))
	b.put("k", "", int64(2))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Explain(ctx, "k", "", ReadOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// Options that mean nothing together, and what is not there, are refused.
func TestReadOptionsRefused(t *testing.T) {
	b := viewBench(t, 0)
	b.put("host/1", "/load", int64(1))
	for _, c := range []struct {
		o    ReadOptions
		want error
	}{
		{ReadOptions{View: "none"}, ErrNotFound},
		{ReadOptions{View: "all", Raw: true}, ErrInvalid},
		{ReadOptions{Expand: -1}, ErrInvalid},
		{ReadOptions{Expand: 99}, ErrInvalid},
		{ReadOptions{At: "soon"}, ErrInvalid},
	} {
		if _, err := b.Read(t.Context(), "host/1", "", c.o); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.o, err, c.want)
		}
	}
	if _, err := b.Explain(t.Context(), "host/1", "", ReadOptions{At: "now"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an explanation of the past: %v", err)
	}
	if _, err := b.Explain(t.Context(), "", "", ReadOptions{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an empty key: %v", err)
	}
	if _, err := b.Explain(t.Context(), "host/1", "", ReadOptions{View: "none"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("by a view that is not there: %v", err)
	}
}

// References are followed to a depth, each entity once, from the newest state
// and from a past one.
func TestReadExpanded(t *testing.T) {
	b := newBench(t)
	ref := func(e string) any { return map[string]any{"$ref": e} }
	b.put("a", "/next", ref("b"))
	b.put("b", "/next", ref("c"))
	b.put("c", "/next", ref("a"))
	then := b.Cursor()
	b.put("c", "/x", int64(1))
	for _, c := range []struct {
		o    ReadOptions
		want string
		refs []string
	}{
		{ReadOptions{}, `{"next":{"$ref":"b"}}`, nil},
		{ReadOptions{Expand: 1}, `{"next":{"$ref":"b","$value":{"next":{"$ref":"c"}}}}`, []string{"b"}},
		{ReadOptions{Expand: 5}, `{"next":{"$ref":"b","$value":{"next":{"$ref":"c","$value":{"next":{"$ref":"a"},"x":1}}}}}`, []string{"b", "c"}},
		{ReadOptions{Expand: 5, At: then}, `{"next":{"$ref":"b","$value":{"next":{"$ref":"c","$value":{"next":{"$ref":"a"}}}}}}`, []string{"b", "c"}},
	} {
		r, err := b.Read(t.Context(), "a", "", c.o)
		if err != nil {
			t.Fatal(err)
		}
		var refs []string
		for i := range r.Refs {
			refs = append(refs, r.Refs[i].Entity)
		}
		if got := string(delta.AppendAnyJSON(nil, r.Value)); got != c.want || !slices.Equal(refs, c.refs) {
			t.Errorf("%+v: %s with %v, want %s with %v", c.o, got, refs, c.want, c.refs)
		}
	}
}

// A resolver that finds values which contradict each other raises an alarm, once.
func TestConflictAlarm(t *testing.T) {
	w := newWorld(t, 4)
	a, b := w.add("a"), w.add("b")
	a.write(Request{Ops: []Op{{Kind: OpPut, Entity: "host/1", Path: "/owner", Value: "ann"}}})
	b.write(Request{Ops: []Op{{Kind: OpPut, Entity: "host/1", Path: "/owner", Value: "bob"}}})
	b.write(Request{Ops: []Op{{Kind: OpPut, Entity: "$schema/host", Path: "/1", Whole: true, Value: map[string]any{
		"name": "host", "version": int64(1), "entities": []any{"host/*"},
		"properties": []any{map[string]any{"id": "owner", "path": "/owner", "resolver": "conflict"}},
	}}}})
	w.connect(a, b)
	w.settle(60_000)
	n := a.still()
	n.log = slog.New(slog.DiscardHandler)
	for range 3 {
		r, err := n.Get(t.Context(), "host/1", "/owner")
		if err != nil || r.Value != nil || len(r.Conflicts) != 1 {
			t.Fatalf("%+v %v", r, err)
		}
	}
	if alarms := n.Alarms(); len(alarms) != 1 || alarms[0].Kind != "conflict" || !strings.Contains(alarms[0].Text, "host/1#/owner") {
		t.Errorf("alarms %+v", alarms)
	}
}

// A write that the schema refuses is the caller's mistake: the node goes on, and
// nothing of the transaction is there.
func TestGuard(t *testing.T) {
	b := viewBench(t, 0)
	rows := b.replica.tally()
	for _, ops := range [][]Op{
		{{Kind: OpPut, Entity: "host/1", Path: "/x", Value: int64(1)}, {Kind: OpPut, Entity: "host/1", Path: "/load", Value: "heavy"}},
		{{Kind: OpPut, Entity: "host/1", Path: "/double", Value: int64(1)}},
		{{Kind: OpPut, Entity: "$view/v", Value: int64(1)}},
		{{Kind: OpPut, Entity: "$schema/host", Path: "/2", Whole: true, Value: map[string]any{}}},
		{{Kind: OpInc, Entity: "host/1", Path: "/tags", N: 1}},
	} {
		if _, err := b.Commit(t.Context(), "", ops); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: %v", ops, err)
		}
	}
	if b.replica.tally() != rows {
		t.Error("something of a refused transaction is there")
	}
	b.put("host/1", "/load", int64(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Commit(ctx, "", []Op{{Kind: OpPut, Entity: "host/1", Value: int64(1)}}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
