package feed

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/node"
)

// What comes in, in whatever spelling and order, goes out as the same set of
// deltas; to import it again, or what was exported, writes nothing.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h, other := newHost(t, rt, "a"), newHost(t, rt, "b")
		defer h.Close()
		defer other.Close()
		all := anyFeed().Draw(rt, "feed")
		var texts []string
		for i := range all {
			texts = append(texts, spell(rt, &all[i]))
		}
		r := h.take(texts...)
		if r.Read != uint64(len(all)) || r.Written != r.Read || r.Skipped != 0 {
			rt.Fatalf("%d deltas: %+v", len(all), r)
		}
		out := h.out()
		if got, want := lines(parsed(rt, out)), lines(all); !slices.Equal(got, want) {
			rt.Fatalf("exported\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, again := range [][]string{texts, out} {
			if r := h.take(again...); r.Written != 0 || r.Changes != 0 || r.Skipped != uint64(len(all)) {
				rt.Fatalf("imported again: %+v", r)
			}
		}
		slices.Reverse(out)
		other.take(out...)
		slices.Reverse(out)
		if got := other.out(); !slices.Equal(got, out) {
			rt.Fatalf("another node exports\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(out, "\n"))
		}
		if got, want := other.shows(), expected(all); !slices.Equal(got, want) {
			rt.Fatalf("bags hold\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// expected returns what the bags of a feed show, by the rule and not by the code.
func expected(all []Delta) (out []string) {
	negated, negation := map[string]bool{}, map[string]bool{}
	for i := range all {
		for _, p := range all[i].Pointers {
			if p.Role == Negates {
				negated[p.Entity], negation[all[i].ID] = true, true
			}
		}
	}
	for i := range all {
		d := &all[i]
		if negated[d.ID] && !negation[d.ID] {
			continue
		}
		for _, p := range d.Pointers {
			if p.Role != Negates && p.Entity != "" && p.Context != "" {
				out = append(out, delta.Key(entityOf(p.Entity), delta.Path("").Child(p.Context))+" -> "+edgeOf(d.ID))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Two nodes that do not know of each other import parts of a feed, which may
// overlap, and meet. They hold the same, and after one more import on either of
// them no bag shows what is negated.
func TestConcurrentImports(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newPair(t, rt)
		defer p.close()
		all := anyFeed().Draw(rt, "feed")
		var at [2][]string
		for i := range all {
			where := rapid.IntRange(0, 2).Draw(rt, "where")
			for j := range at {
				if where == j || where == 2 {
					at[j] = append(at[j], spell(rt, &all[i]))
				}
			}
		}
		p.a.take(at[0]...)
		p.b.take(at[1]...)
		p.connect()
		p.a.take()
		p.settle()
		for _, h := range []*host{p.a, p.b} {
			if got, want := lines(parsed(rt, h.out())), lines(all); !slices.Equal(got, want) {
				rt.Fatalf("exported\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if got, want := h.shows(), expected(all); !slices.Equal(got, want) {
				rt.Fatalf("bags hold\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		if n, err := Reconcile(t.Context(), p.b); n != 0 || err != nil {
			rt.Fatalf("there was more to hide: %d, %v", n, err)
		}
	})
}

const (
	role = `{"role":"actor","target":{"id":"keanu","context":"roles"}},{"role":"film","target":{"id":"matrix","context":"cast"}}`
	gone = `-` // what a key without survivors reads as
)

func negates(id string) string { return `{"role":"negates","target":{"id":"` + id + `"}}` }

// A hyper-edge shows under each of its roles, under its own creator's name, and
// the index of references leads back.
func TestHyperEdge(t *testing.T) {
	h := newHost(t, t, "a")
	defer h.Close()
	h.take(edge("x", "alice", role))
	h.want("keanu", `{"roles":[{"$ref":"feed/x"}]}`)
	h.want("matrix#/cast", `[{"$ref":"feed/x"}]`)
	r, err := h.Get(t.Context(), "feed/x", "")
	if err != nil || !slices.Equal(r.Incoming, []string{"keanu#/roles", "matrix#/cast"}) || r.Survivors[0].Creator != "alice" {
		t.Errorf("the edge reads %+v, %v", r, err)
	}
}

// markless is a node on which Reconcile finds nothing to do.
type markless struct{ *host }

func (m markless) Export(ctx context.Context, prefix string) iter.Seq2[node.Reading, error] {
	if prefix == markPrefix {
		return func(func(node.Reading, error) bool) {}
	}
	return m.host.Export(ctx, prefix)
}

// On one node a negation hides its delta with the transaction that writes the
// later of the two, whichever that is and whoever made it: there is nothing left
// for Reconcile.
func TestNegationInEachOrder(t *testing.T) {
	x, n := edge("x", "alice", role), edge("n", "bob", negates("x"))
	for name, runs := range map[string][]string{
		"after":               {x, n},
		"before":              {n, x},
		"with it":             {x + "\n" + n},
		"with it, turned":     {n + "\n" + x},
		"by the same creator": {edge("x", "bob", role) + "\n" + n},
		"by a later name":     {edge("x", "carol", role) + "\n" + n},
		"twice":               {x + "\n" + n, edge("m", "carol", negates("x"))},
		"of several":          {x, edge("y", "alice", role), edge("n", "bob", negates("x")+","+negates("y"))},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, t, "a")
			defer h.Close()
			for _, text := range runs {
				if r, err := Import(t.Context(), markless{h}, strings.NewReader(text)); err != nil || len(r.Problems) > 0 {
					t.Errorf("%+v, %v", r, err)
				}
			}
			h.want("keanu", gone)
			h.want("matrix", gone)
			if n, err := Reconcile(t.Context(), h); n != 0 || err != nil {
				t.Errorf("%d more were to hide, %v", n, err)
			}
			if out := h.out(); len(out) < 2 {
				t.Errorf("exported %v", out)
			}
		})
	}
	// A delta and its negation by one creator are one transaction, which writes
	// no member only to remove it.
	h := newHost(t, t, "a")
	defer h.Close()
	if r := h.take(edge("x", "bob", role), n); r.Changes != 3 {
		t.Errorf("%+v", r)
	}
}

// A delta and its negation are written on two nodes at once: both are there when
// the nodes meet, and the next import hides what is negated on both.
func TestNegationMeetsDelta(t *testing.T) {
	p := newPair(t, t)
	defer p.close()
	p.a.take(edge("x", "alice", role), edge("n", "bob", negates("x")))
	p.b.take(edge("x", "alice", role))
	p.connect()
	p.b.want("keanu#/roles", `[{"$ref":"feed/x"}]`)
	if r := p.b.take(); r.Read != 0 || r.Changes != 2 {
		t.Errorf("an empty import: %+v", r)
	}
	p.settle()
	for _, h := range []*host{p.a, p.b} {
		h.want("keanu", gone)
		h.want("matrix", gone)
	}
}

// The negation of a negation is reported with its line, kept, and changes
// nothing, in whatever order the three come.
func TestNegationOfNegation(t *testing.T) {
	texts := map[string]string{
		"x": edge("x", "alice", role),
		"n": edge("n", "bob", negates("x")+","+`{"role":"why","target":{"id":"case","context":"acts"}}`),
		"m": edge("m", "carol", negates("n")),
	}
	for _, order := range []string{"x n m", "m n x", "n m x", "x m n", "n x m", "m x n"} {
		for _, together := range []bool{true, false} {
			h := newHost(t, t, "a")
			var problems []Problem
			var in []string
			for _, id := range strings.Fields(order) {
				in = append(in, texts[id])
			}
			if together {
				problems = h.take(in...).Problems
			} else {
				for _, s := range in {
					problems = append(problems, h.take(s).Problems...)
				}
			}
			if len(problems) != 1 || problems[0].ID != "m" && problems[0].ID != "n" || !strings.Contains(problems[0].Text, "changes nothing") {
				t.Errorf("%s: %+v", order, problems)
			}
			h.want("keanu", gone)
			h.want("case#/acts", `[{"$ref":"feed/n"}]`)
			if len(h.out()) != 3 {
				t.Errorf("%s: exported %v", order, h.out())
			}
			h.Close()
		}
	}
	h := newHost(t, t, "a")
	defer h.Close()
	r := h.take(edge("s", "alice", negates("s")), edge("t", "alice", role))
	if len(r.Problems) != 1 || r.Problems[0].At != "/pointers/0" || r.Written != 2 || r.Negations != 1 {
		t.Errorf("one that negates itself: %+v", r)
	}
}

// Another delta under an id that is taken is reported and not written, whether
// the first is in the same feed or here already; a different order of pointers
// is no difference.
func TestConflictingIDs(t *testing.T) {
	h := newHost(t, t, "a")
	defer h.Close()
	one, two := edge("x", "alice", role), edge("x", "bob", role)
	r := h.take(edge("y", "bob", ""), one, two)
	if r.Written != 2 || len(r.Problems) != 1 || r.Problems[0] != (Problem{3, "x", "/id", r.Problems[0].Text}) {
		t.Errorf("%+v", r)
	}
	r = h.take(two, edge("x", "alice", `{"role":"film","target":{"id":"matrix","context":"cast"}},{"role":"actor","target":{"id":"keanu","context":"roles"}}`))
	if r.Written != 0 || r.Skipped != 1 || len(r.Problems) != 1 || r.Problems[0].Line != 1 {
		t.Errorf("%+v", r)
	}
	if out := h.out(); len(out) != 2 || out[0] != one {
		t.Errorf("exported %v", out)
	}
	// The first line wins, whatever the creators' names.
	if r := h.take(edge("z", "carol", ""), edge("z", "alice", "")); r.Written != 1 || len(r.Problems) != 1 || r.Problems[0].Line != 2 {
		t.Errorf("%+v", r)
	}
	h.must(node.Op{Kind: node.OpPut, Entity: "feed/odd", Path: "/delta", Value: int64(5)})
	if r := h.take(edge("odd", "alice", "")); r.Written != 0 || len(r.Problems) != 1 {
		t.Errorf("over something else: %+v", r)
	}
}

// Different deltas under one id, written at once on two nodes, are both kept and
// both exported.
func TestConcurrentConflict(t *testing.T) {
	p := newPair(t, t)
	defer p.close()
	one, two := edge("x", "alice", role), edge("x", "bob", role)
	p.a.take(one)
	p.b.take(two)
	p.connect()
	for _, h := range []*host{p.a, p.b} {
		out := h.out()
		slices.Sort(out)
		if !slices.Equal(out, []string{one, two}) {
			t.Errorf("exported %v", out)
		}
		if r := h.take(one, two); r.Skipped != 2 || len(r.Problems) != 0 {
			t.Errorf("%+v", r)
		}
	}
}

// What cannot be taken is reported with line, id and place, and the rest goes on.
func TestProblemsDoNotStopTheRest(t *testing.T) {
	h := newHost(t, t, "a")
	defer h.Close()
	r := h.take(
		edge("one", "alice", ""), `{"id":"two"`, `{"id":"three","timestamp":1,"creator":"a","pointers":[{"role":"r","target":[1]}]}`,
		edge("long", strings.Repeat("c", delta.MaxCreatorBytes+1), ""), edge("big", "a", `{"role":"r","target":"`+strings.Repeat("x", delta.MaxValueBytes)+`"}`),
		"", edge("four", "alice", ""),
	)
	want := []Problem{{Line: 2}, {Line: 3, ID: "three", At: "/pointers/0/target"}, {Line: 4, ID: "long", At: "/creator"}, {Line: 5, ID: "big"}}
	if r.Read != 6 || r.Written != 2 || len(r.Problems) != len(want) {
		t.Fatalf("%+v", r)
	}
	for i, p := range r.Problems {
		if p.Line != want[i].Line || p.ID != want[i].ID || p.At != want[i].At || p.Text == "" {
			t.Errorf("problem %d: %v", i, p.String())
		}
	}
	if got := r.Problems[1].String(); got != `line 3: delta "three": /pointers/0/target: is neither an entity nor a string, number, bool or null` {
		t.Errorf("a problem prints as %s", got)
	}
}

// members returns n pointers to entities with a context.
func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"role":"r","target":{"id":"e%d","context":"c"}},`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// A delta of more pointers than one transaction takes is reported, and does not
// take with it those that were to be committed with it.
func TestTooLarge(t *testing.T) {
	h := newHost(t, t, "a")
	defer h.Close()
	r := h.take(edge("one", "alice", role), edge(strings.Repeat("i", 900), "alice", members(2000)), edge("two", "alice", role))
	if r.Written != 2 || len(r.Problems) != 1 || r.Problems[0].Line != 2 || !strings.Contains(r.Problems[0].Text, "transaction too large") {
		t.Errorf("%+v", r)
	}
	h.want("keanu#/roles", `[{"$ref":"feed/one"},{"$ref":"feed/two"}]`)
}

// A delta with more members than a transaction should remove is hidden in
// several, and an import of many deltas takes several windows.
func TestManyMembers(t *testing.T) {
	h := newHost(t, t, "a")
	defer h.Close()
	texts := []string{edge("x", "alice", members(2*maxWindow+1))}
	for i := range 2 * maxWindow {
		texts = append(texts, edge(fmt.Sprintf("d%d", i), fmt.Sprintf("creator %d", i%3), role))
	}
	if r := h.take(texts...); r.Written != uint64(len(texts)) || len(r.Problems) != 0 {
		t.Errorf("%+v", r)
	}
	h.want("e7#/c", `[{"$ref":"feed/x"}]`)
	h.take(edge("n", "bob", negates("x")))
	for _, s := range h.shows() {
		if strings.HasSuffix(s, "feed/x") {
			t.Fatalf("%s is still shown", s)
		}
	}
}

// meddler is a node in which somebody else writes before each commit, or which
// fails where it is told to.
type meddler struct {
	*host
	before func(ops []node.Op)
	fail   string
}

var errTest = errors.New("the disk is full")

func (m *meddler) Commit(ctx context.Context, creator string, ops []node.Op) (node.Receipt, error) {
	if m.before != nil {
		m.before(ops)
	}
	if m.fail == "commit" || m.fail == "reconcile" && creator == "" {
		return node.Receipt{}, errTest
	}
	return m.host.Commit(ctx, creator, ops)
}

func (m *meddler) Read(ctx context.Context, entity string, p delta.Path, o node.ReadOptions) (node.Reading, error) {
	if m.fail == "get "+entity {
		return node.Reading{}, errTest
	}
	return m.host.Read(ctx, entity, p, o)
}

func (m *meddler) Log(ctx context.Context, lane, since string, limit int) ([]node.LogEntry, error) {
	if m.fail == "log" {
		return nil, errTest
	}
	return m.host.Log(ctx, lane, since, limit)
}

func (m *meddler) Export(ctx context.Context, prefix string) iter.Seq2[node.Reading, error] {
	if m.fail == "export" {
		return func(yield func(node.Reading, error) bool) { yield(node.Reading{}, errTest) }
	}
	return m.host.Export(ctx, prefix)
}

// What another import wrote between plan and commit is not written over: it is
// found at the second try, as the same or as a conflict.
func TestRacingImports(t *testing.T) {
	h := newHost(t, t, "a")
	defer h.Close()
	same, other := edge("same", "alice", role), edge("other", "alice", role)
	m := &meddler{host: h}
	m.before = func([]node.Op) {
		m.before = nil
		h.take(same, edge("other", "bob", ""))
	}
	r, err := Import(t.Context(), m, strings.NewReader(same+"\n"+other+"\n"+edge("third", "alice", role)))
	if err != nil || r.Skipped != 1 || r.Written != 1 || len(r.Problems) != 1 || r.Problems[0].ID != "other" {
		t.Errorf("%+v, %v", r, err)
	}
	h.want("keanu#/roles", `[{"$ref":"feed/same"},{"$ref":"feed/third"}]`)

	// Somebody who writes and takes away all the time is given up on.
	put := false
	m.before = func(ops []node.Op) {
		if put = len(ops) > 0 && ops[0].IfMatch == node.AbsentETag; put {
			h.must(node.Op{Kind: node.OpPut, Entity: ops[0].Entity, Path: ops[0].Path, Value: int64(1)})
		}
	}
	r, err = Import(t.Context(), &vanishing{m, &put}, strings.NewReader(edge("never", "alice", role)))
	if err != nil || r.Written != 0 || len(r.Problems) != 1 || r.Problems[0].ID != "never" {
		t.Errorf("%+v, %v", r, err)
	}
}

// vanishing is a node on which what was put is gone again before it is read.
type vanishing struct {
	*meddler
	put *bool
}

func (v *vanishing) Read(ctx context.Context, entity string, p delta.Path, o node.ReadOptions) (node.Reading, error) {
	if *v.put && entity == "feed/never" {
		v.must(node.Op{Kind: node.OpRm, Entity: entity})
	}
	return v.meddler.Read(ctx, entity, p, o)
}

// An error of the node ends the import with what it was about; what was committed
// before is in. So does one of the context.
func TestNodeErrors(t *testing.T) {
	lane := strings.Repeat("0", 32)
	for _, fail := range []string{"commit", "get feed/x", "get feed/$negated/x", "get feed/y", "log", "export", "reconcile"} {
		h := newHost(t, t, "a")
		m := &meddler{host: h}
		if fail == "reconcile" {
			h.take(edge("n", "bob", negates("z")), edge("z", "alice", ""))
			h.must(node.Op{Kind: node.OpAdd, Entity: "keanu", Path: "/roles", Value: delta.Ref("feed/z")})
			h.must(node.Op{Kind: node.OpPut, Entity: "feed/z", Path: deltaPath, Whole: true, Value: valueOf(t, edge("z", "alice", role))})
		}
		m.fail = fail
		feed := edge("x", "alice", role) + "\n" + edge("n2", "alice", negates("y")) + "\n" + edge(lane+":1:0", "alice", "")
		_, err := Import(t.Context(), m, strings.NewReader(feed))
		if !errors.Is(err, errTest) {
			t.Errorf("%s fails: %v", fail, err)
		}
		h.Close()
	}
	h := newHost(t, t, "a")
	defer h.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Import(ctx, h, strings.NewReader(edge("x", "alice", role))); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
	r, err := Import(t.Context(), h, strings.NewReader("["+edge("x", "alice", role)))
	if !errors.Is(err, ErrForm) || r.Written != 0 {
		t.Errorf("an array without an end: %+v, %v", r, err)
	}
}

func valueOf(t *testing.T, text string) any {
	t.Helper()
	d, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d.value()
}

// A report lists a bounded number of problems and counts the others.
func TestUnlistedProblems(t *testing.T) {
	h := newHost(t, t, "a")
	defer h.Close()
	r := h.take(strings.Repeat("?\n", maxProblems+3))
	if len(r.Problems) != maxProblems || r.Unlisted != 3 || r.Read != maxProblems+3 {
		t.Errorf("%d listed, %d not", len(r.Problems), r.Unlisted)
	}
}

// Deltas that are made by hand are held to the same rules as those that are
// parsed.
func TestAddChecks(t *testing.T) {
	h := newHost(t, t, "a")
	defer h.Close()
	at := time.UnixMilli(1)
	for _, d := range []Delta{
		{},
		{ID: "x", Time: at},
		{ID: "\xff", Time: at, Creator: "a"},
		{ID: "x", Time: time.Date(12000, 1, 1, 0, 0, 0, 1, time.UTC), Creator: "a"},
		{ID: "x", Time: at, Creator: "a", Pointers: []Pointer{{}}},
		{ID: "x", Time: at, Creator: "a", Pointers: []Pointer{{Role: "r", Value: "\xff"}}},
		{ID: "x", Time: at, Creator: "a", Pointers: []Pointer{{Role: "\xff"}}},
		{ID: "x", Time: at, Creator: "a", Pointers: []Pointer{{Role: "r", Entity: "e", Value: 1}}},
		{ID: "x", Time: at, Creator: "a", Pointers: []Pointer{{Role: "r", Value: 1}}},
		{ID: "x", Time: at, Creator: "a", Pointers: []Pointer{{Role: "r", Context: "c"}}},
		{ID: "x", Time: at, Creator: "a", Pointers: []Pointer{{Role: Negates}}},
		{ID: "x", Time: at, Creator: "a", Pointers: []Pointer{{Role: "r", Entity: "e", Context: "$ref"}}},
	} {
		im := NewImporter(h)
		if err := im.Add(t.Context(), 1, d); err != nil {
			t.Fatal(err)
		}
		if err := im.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := im.Report(); r.Written != 0 || len(r.Problems) != 1 {
			t.Errorf("%+v: %+v", d, r)
		}
	}
}
