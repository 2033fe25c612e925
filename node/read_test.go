package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A read shows the value, every survivor with where it comes from, the
// conflicts, and who refers to the entity.
func TestGet(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.add("a"), w.add("b")
	a.put("e", "/x", "by a")
	w.now += 10
	b.put("e", "/x", "by b")
	a.do(inc("/n", 4))
	a.do(inc("/n", 3))
	a.put("other", "/to", ref("e"))
	a.do(Op{Kind: OpAdd, Entity: "other", Path: "/to", Value: ref("e")})
	w.connect(a, b)
	w.settle(settleMillis)
	n := benchOver(t, a.mem)
	n.Close()
	cfg := configOver(a.mem, "n")
	cfg.Replica.Prefix = []byte("w")
	node, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	r, err := node.Get(t.Context(), "e", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(delta.AppendAnyJSON(nil, r.Value)); got != `{"n":7,"x":"by b"}` {
		t.Errorf("value %s", got)
	}
	if !slices.Equal(r.Conflicts, []delta.Path{"/x"}) || !slices.Equal(r.Incoming, []string{"other#/to"}) {
		t.Errorf("conflicts %q, incoming %q", r.Conflicts, r.Incoming)
	}
	if len(r.Survivors) != 3 {
		t.Fatalf("survivors %+v", r.Survivors)
	}
	for _, s := range r.Survivors {
		if s.CID == "" || s.Author == (delta.Author{}) || s.Time == 0 || s.Txn.Entry() != s.Dot.Entry() {
			t.Errorf("provenance of %+v", s)
		}
		if v, _ := s.Value.Int(); s.Verb == delta.Inc && (v != 3 || s.Total != 7) {
			t.Errorf("inc of %d, total %d", v, s.Total)
		}
		if text, ok := s.Value.Text(); ok && s.Shown != (text == "by b") {
			t.Errorf("%s shown %v", text, s.Shown)
		}
	}
	if _, err := node.Get(t.Context(), "nothing", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := node.Get(t.Context(), "", ""); !errors.Is(err, ErrInvalid) {
		t.Errorf("%v", err)
	}
}

// Lists come in byte order and in pages, a prefix reaches what begins with it
// and nothing else; an export shows what was when it began.
func TestListAndExport(t *testing.T) {
	b := newBench(t)
	names := []string{"a", "a/1", "a/10", "a/2", "ab", "b\x01", "b\u00ff", "c"}
	for _, e := range names {
		b.put(e, "/x", e)
		b.put(e, "/y", int64(1))
	}
	slices.Sort(names)
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          []string
		more          bool
	}{
		{"", "", 0, names, false},
		{"a", "", 0, []string{"a", "a/1", "a/10", "a/2", "ab"}, false},
		{"a/", "", 2, []string{"a/1", "a/10"}, true},
		{"a/", "a/10", 2, []string{"a/2"}, false},
		{"a/", "a/15", 2, []string{"a/2"}, false},
		{"a/", "Z", 1, []string{"a/1"}, true},
		{"a/", "b", 1, nil, false},
		{"x", "", 1, nil, false},
		{"", "c", 1, nil, false},
	} {
		got, more, err := b.List(t.Context(), c.prefix, c.after, c.limit)
		if err != nil || more != c.more || !slices.Equal(got, c.want) {
			t.Errorf("list %q after %q: %q, more %v, %v", c.prefix, c.after, got, more, err)
		}
	}
	var got []string
	for r, err := range b.Export(t.Context(), "a/") {
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			b.put("a/3", "", "too late")
			b.must(Op{Kind: OpRm, Entity: "a/2"})
		}
		got = append(got, r.Entity+string(delta.AppendAnyJSON(nil, r.Value)))
	}
	if want := []string{`a/1{"x":"a/1","y":1}`, `a/10{"x":"a/10","y":1}`, `a/2{"x":"a/2","y":1}`}; !slices.Equal(got, want) {
		t.Errorf("export %q", got)
	}
	for range b.Export(t.Context(), "") {
		break
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.List(ended, "", "", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for _, err := range b.Export(ended, "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
}

// Whoever follows changes sees each transaction once and whole, in an order
// that extends causality, wherever it stops and goes on.
func TestChanges(t *testing.T) {
	a, b := pairOfNodes(t)
	const each = 40
	go func() {
		for i := range each {
			b.must(Op{Kind: OpPut, Entity: fmt.Sprint("b", i), Value: int64(i)}, Op{Kind: OpInc, Entity: "n", N: 1})
		}
	}()
	go func() {
		done := make(chan struct{})
		for i := range each {
			go func() {
				a.must(Op{Kind: OpPut, Entity: fmt.Sprint("a", i), Value: int64(i)}, Op{Kind: OpInc, Entity: "n", N: 1})
				done <- struct{}{}
			}()
		}
		for range each {
			<-done
		}
	}()
	seen := map[clock.Dot]bool{}
	var last string
	heads := map[clock.LaneID]uint64{}
	for since := "0"; len(seen) < 2*each; since = last {
		taken := 0
		for c, err := range a.Changes(t.Context(), "", since) {
			if err != nil {
				t.Fatal(err)
			}
			if seen[c.Txn] || len(c.Deltas) != 2 || c.CID == "" || c.Deltas[0].Dot != c.Txn {
				t.Fatalf("%+v, seen before: %v", c, seen[c.Txn])
			}
			if c.Txn.Seq < heads[c.Txn.Lane] {
				t.Fatalf("%v after %d", c.Txn, heads[c.Txn.Lane])
			}
			heads[c.Txn.Lane] = c.Txn.Seq
			seen[c.Txn] = true
			last = c.Cursor
			if taken++; taken == 7 || len(seen) == 2*each {
				break
			}
		}
	}
	// A prefix shows the deltas under it and no empty transactions.
	n := 0
	for c, err := range a.Changes(t.Context(), "b1", "0") {
		if err != nil || len(c.Deltas) != 1 || !strings.HasPrefix(c.Deltas[0].Entity, "b1") {
			t.Fatalf("%+v, %v", c, err)
		}
		if n++; n == 11 {
			break
		}
	}
	// From now on nothing of before is seen.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	now := a.Cursor()
	a.put("later", "", "x")
	for c := range a.Changes(ctx, "", now) {
		if c.Deltas[0].Entity != "later" {
			t.Errorf("%+v", c)
		}
		cancel() // and the wait for more ends
	}
}

// Changes end with the node, and with a cursor that is not this node's.
func TestCursors(t *testing.T) {
	b := newBench(t)
	b.put("e", "", "x")
	for _, cursor := range []string{"x", "n-", "n-x", "other-1", "n-1.x", "n-1.0", "n-0.1", "n-1.-2", "-1"} {
		for _, err := range b.Changes(t.Context(), "", cursor) {
			if !errors.Is(err, ErrCursor) || !errors.Is(err, ErrInvalid) {
				t.Errorf("cursor %q: %v", cursor, err)
			}
		}
		if _, err := b.Log(t.Context(), "", cursor, 0); !errors.Is(err, ErrCursor) {
			t.Errorf("log from %q: %v", cursor, err)
		}
	}
	ended := make(chan int)
	go func() {
		n := 0
		for range b.Changes(t.Context(), "", "0") {
			n++
		}
		ended <- n
	}()
	b.Close()
	if n := <-ended; n > 1 {
		t.Errorf("%d changes", n)
	}
}

// The log shows entries in the order of application, or one lane's with what
// its closing set aside, and an entry by any of its names with its past.
func TestLogAndShow(t *testing.T) {
	w := newWorld(t, 1)
	a := w.add("a")
	a.put("k", "", "one")
	lane := a.r.signer.Lane
	b := w.clone(a, "b")
	w.split(a, b)
	a.put("k", "", "two")
	a.do(inc("/n", 2))
	b.put("k", "", "other two")
	w.heal()
	w.settle(settleMillis)
	cfg := configOver(a.mem, "n")
	cfg.Replica.Prefix = []byte("w")
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	all, err := n.Log(t.Context(), "", "", 0)
	if err != nil || uint64(len(all)) != a.r.log.Entries() {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	first, err := n.Log(t.Context(), "", "0", 1)
	if err != nil || len(first) != 1 || first[0].CID != all[0].CID {
		t.Fatalf("%+v, %v", first, err)
	}
	if rest, err := n.Log(t.Context(), "", first[0].Cursor, 0); err != nil || len(rest) != len(all)-1 {
		t.Errorf("%d entries after the first, %v", len(rest), err)
	}
	own, err := n.Log(t.Context(), lane.String(), "", 0)
	if err != nil || len(own) != 3 || own[0].Closed || !own[1].Closed || !own[2].Closed || own[2].Txns[0].Deltas[0].Verb != delta.Inc {
		t.Fatalf("the closed lane: %+v, %v", own, err)
	}
	if one, err := n.Log(t.Context(), lane.String(), "0", 1); err != nil || len(one) != 1 {
		t.Errorf("one of the lane: %v, %v", one, err)
	}
	for _, ref := range []string{all[len(all)-1].CID, all[len(all)-1].ID.String(), all[len(all)-1].ID.String() + ":0", all[len(all)-1].Body} {
		e, err := n.Show(t.Context(), ref)
		if err != nil || e.CID != all[len(all)-1].CID || len(e.Past) == 0 || e.Closed {
			t.Errorf("show %s: %+v, %v", ref, e, err)
		}
	}
	// A cursor inside an entry that went skips nothing of the next one.
	whole, part := n.firstOf(t, "n-2"), n.firstOf(t, "n-2.1")
	if whole.Txn != part.Txn {
		t.Errorf("after n-2 comes %v, after n-2.1 %v", whole.Txn, part.Txn)
	}
	if e, err := n.Show(t.Context(), own[1].ID.String()); err != nil || !e.Closed || !slices.Equal(e.Past, []clock.EntryID{{Lane: lane, Seq: 1}}) {
		t.Errorf("show what was set aside: %+v, %v", e, err)
	}
	for ref, want := range map[string]error{
		"rubbish": ErrInvalid, "a:b": ErrInvalid, lane.String() + ":1:x": ErrInvalid, lane.String() + ":99": ErrNotFound,
		delta.CID(clock.Hash{1}).String(): ErrNotFound,
	} {
		if _, err := n.Show(t.Context(), ref); !errors.Is(err, want) {
			t.Errorf("show %s: %v", ref, err)
		}
	}
	for lane, want := range map[string]error{"rubbish": ErrInvalid, clock.LaneID{1}.String(): ErrNotFound} {
		if _, err := n.Log(t.Context(), lane, "", 0); !errors.Is(err, want) {
			t.Errorf("log of %s: %v", lane, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Show(ended, delta.CID(clock.Hash{1}).String()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	var s Status
	if err := n.Fill(t.Context(), &s, true); err != nil || len(s.Forks) != 1 || s.Forks[0].Seq != 2 || s.Forks[0].Kept != 2 {
		t.Errorf("forks %+v, %v", s.Forks, err)
	}
	report, err := n.Verify(t.Context(), nil)
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("verify: %q, %v", report.Problems, err)
	}
}

// firstOf returns the first change after a cursor.
func (n *Node) firstOf(t *testing.T, cursor string) Change {
	t.Helper()
	for c, err := range n.Changes(t.Context(), "", cursor) {
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Fatal("no change")
	return Change{}
}

// Rows and entries that cannot be read end a read with what is wrong.
func TestReadsOfDamage(t *testing.T) {
	b := newBench(t)
	b.put("e", "", ref("f"))
	batch := b.db.NewBatch()
	for _, kind := range []byte{kindState, 'e', 'o'} {
		lo := b.rows.key(kind, nil)
		for kv, err := range b.db.Scan(lo, storage.PrefixEnd(lo)) {
			if err != nil {
				t.Fatal(err)
			}
			batch.Set(kv.Key, []byte{0xff})
		}
	}
	batch.Set(append(b.rows.key(kindState, nil), 'x'), []byte("y"))
	batch.Set(append(b.rows.key(kindRef, nil), "e\x00\x00\x00\x00zzz"...), nil)
	if err := storage.ApplySync(b.db, batch); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), "e", ""); err == nil {
		t.Error("get")
	}
	if _, _, err := b.List(t.Context(), "", "", 0); err == nil {
		t.Error("list")
	}
	if _, err := b.Log(t.Context(), "", "", 0); err == nil {
		t.Error("log")
	}
	if _, err := b.Log(t.Context(), b.replica.signer.Lane.String(), "", 0); err == nil {
		t.Error("log of the lane")
	}
	if _, err := b.Show(t.Context(), clock.EntryID{Lane: b.replica.signer.Lane, Seq: 1}.String()); err == nil {
		t.Error("show")
	}
	if _, err := b.Show(t.Context(), delta.CID(clock.Hash{1}).String()); err == nil {
		t.Error("show by CID")
	}
	for _, err := range b.Export(t.Context(), "") {
		if err == nil {
			t.Error("export")
		}
	}
	for _, err := range b.Changes(t.Context(), "", "0") {
		if err == nil {
			t.Error("changes")
		}
	}
}
