package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

func ref(entity string) any { return map[string]any{"$ref": entity} }

// dump returns every key and value of a store.
func dump(t testing.TB, r storage.Reader) (out []string) {
	t.Helper()
	for kv, err := range r.Scan(nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%q=%q", kv.Key, kv.Value))
	}
	return out
}

// A transaction that fails in its last operation leaves no trace, neither in
// rows nor in references, dead rows, kills or the tally, whatever stands
// before and after it in the group.
func TestFailedTransactionLeavesNoTrace(t *testing.T) {
	good := []Request{
		{Ops: []Op{{Kind: OpPut, Entity: "a", Value: map[string]any{"r": ref("b"), "x": int64(1)}}, {Kind: OpInc, Entity: "n", N: 2}}},
		{Ops: []Op{{Kind: OpRm, Entity: "a", Path: "/x"}, {Kind: OpPut, Entity: "a", Path: "/y", Value: "y"}}},
	}
	bad := Request{Ops: []Op{
		{Kind: OpPut, Entity: "a", Value: map[string]any{"r": ref("c"), "x": int64(2), "new": true}},
		{Kind: OpRm, Entity: "a"},
		{Kind: OpInc, Entity: "n", N: 5},
		{Kind: OpInc, Entity: "m", N: 5},
		{Kind: OpAdd, Entity: "bag", Value: "v"},
		{Kind: OpRemove, Entity: "bag", Value: "v"},
		{Kind: OpPut, Entity: "fresh", Value: ref("a")},
		{Kind: OpPut, Entity: "a", Value: "no", IfMatch: "nothing like it"},
	}}
	run := func(reqs []Request) ([]string, *host) {
		w := newWorld(t, 1)
		h := w.add("h")
		h.put("a", "", map[string]any{"r": ref("z"), "x": int64(0)})
		res := h.write(reqs...)
		h.flush()
		for i := range reqs {
			failed := len(reqs[i].Ops) == len(bad.Ops)
			if failed != errors.Is(res[i].Err, ErrPrecondition) {
				t.Fatalf("request %d: %v", i, res[i].Err)
			}
			if failed && !strings.Contains(res[i].Err.Error(), "operation 8") {
				t.Errorf("which operation? %v", res[i].Err)
			}
		}
		h.check()
		return dump(t, h.mem), h
	}
	want, _ := run(good)
	got, h := run([]Request{bad, good[0], bad, good[1], bad})
	if !slices.Equal(got, want) {
		t.Fatalf("with failing transactions the store holds\n%q\nwithout\n%q", got, want)
	}
	if len(h.r.state.changed)+len(h.r.state.byEntity)+len(h.r.state.side)+len(h.r.state.journal) > 0 {
		t.Error("the overlay is not empty")
	}
	// All of a group failing writes nothing at all.
	before := dump(t, h.mem)
	if s := h.did(h.r.Write(h.now(), []Request{bad, bad})); s.Commit != nil || len(s.Publish) > 0 {
		t.Error("a group that fails commits something")
	}
	if h.flush(); !slices.Equal(dump(t, h.mem), before) {
		t.Error("a group that fails changes the store")
	}
}

// What no node would take is refused, with what is wrong.
func TestRefusals(t *testing.T) {
	b := newBench(t)
	inc := b.must(Op{Kind: OpInc, Entity: "n", N: 1}).Txn
	b.must(Op{Kind: OpInc, Entity: "max", N: 1<<63 - 1})
	rm := b.put("e", "", "x")
	drop := b.must(Op{Kind: OpRm, Entity: "e"}).Txn
	for _, c := range []struct {
		name    string
		creator string
		ops     []Op
		want    error
	}{
		{"no operations", "", nil, ErrInvalid},
		{"unknown operation", "", []Op{{Kind: "frob", Entity: "e"}}, ErrInvalid},
		{"no entity", "", []Op{{Kind: OpPut, Value: "x"}}, ErrInvalid},
		{"bad path", "", []Op{{Kind: OpPut, Entity: "e", Path: "no-slash", Value: "x"}}, ErrInvalid},
		{"bad value", "", []Op{{Kind: OpAdd, Entity: "e", Value: make(chan int)}}, ErrInvalid},
		{"bad document", "", []Op{{Kind: OpPut, Entity: "e", Value: map[string]any{"a": make(chan int)}}}, ErrInvalid},
		{"value too large", "", []Op{{Kind: OpPut, Entity: "e", Value: strings.Repeat("x", delta.MaxValueBytes+1)}}, ErrInvalid},
		{"creator too long", strings.Repeat("c", delta.MaxCreatorBytes+1), []Op{{Kind: OpInc, Entity: "e", N: 1}}, ErrInvalid},
		{"creator not text", "\xff", []Op{{Kind: OpInc, Entity: "e", N: 1}}, ErrInvalid},
		{"counter past int64", "", []Op{{Kind: OpInc, Entity: "max", N: 1}}, ErrInvalid},
		{"negate nothing", "", []Op{{Kind: OpNegate}}, ErrInvalid},
		{"negate an inc", "", []Op{{Kind: OpNegate, Dots: []clock.Dot{inc}}}, ErrInvalid},
		{"negate a drop", "", []Op{{Kind: OpNegate, Dots: []clock.Dot{drop}}}, ErrInvalid},
		{"negate what is not here", "", []Op{{Kind: OpNegate, Dots: []clock.Dot{{Lane: clock.LaneID{1}, Seq: 1}}}}, ErrNotFound},
		{"negate a delta that is not there", "", []Op{{Kind: OpNegate, Dots: []clock.Dot{{Lane: inc.Lane, Seq: 1, Index: 9}}}}, ErrNotFound},
		{"undo of nothing", "", []Op{{Kind: OpUndo}}, ErrInvalid},
		{"undo of two", "", []Op{{Kind: OpUndo, Dots: []clock.Dot{inc, inc}}}, ErrInvalid},
		{"undo of what is gone", "", []Op{{Kind: OpUndo, Dots: []clock.Dot{rm.Txn}}}, ErrConflict},
	} {
		if _, err := b.Commit(t.Context(), c.creator, c.ops); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := b.Commit(t.Context(), "", []Op{
		{Kind: OpPut, Entity: "e", Value: strings.Repeat("x", 200_000)},
		{Kind: OpPut, Entity: "f", Value: strings.Repeat("x", 250_000)},
		{Kind: OpPut, Entity: "g", Value: strings.Repeat("x", 250_000)},
		{Kind: OpPut, Entity: "h", Value: strings.Repeat("x", 250_000)},
		{Kind: OpPut, Entity: "i", Value: strings.Repeat("x", 250_000)},
	}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "split it") {
		t.Errorf("a transaction past the entry limit: %v", err)
	}
	b.want("e", "", "-")
	b.want("max", "", fmt.Sprint(int64(1<<63-1)))
}

// Transactions that do not fit one entry go into more, none across two.
func TestEntriesAreSplit(t *testing.T) {
	w := newWorld(t, 1)
	h := w.add("h")
	var reqs []Request
	for i := range 12 {
		reqs = append(reqs, Request{Ops: []Op{
			{Kind: OpPut, Entity: fmt.Sprint("e", i), Path: "/a", Value: strings.Repeat("x", 100_000)},
			{Kind: OpPut, Entity: fmt.Sprint("e", i), Path: "/b", Value: strings.Repeat("y", 100_000)},
		}})
	}
	var cids []string
	s := h.did(h.r.Write(h.now(), reqs))
	for i, res := range s.Results {
		if res.Err != nil || res.Receipt.Deltas != 2 {
			t.Fatalf("request %d: %+v", i, res)
		}
		cids = append(cids, res.Receipt.CID)
	}
	h.flush()
	entries := h.entries()
	at := map[string]int{}
	total := 0
	for i, e := range entries {
		at[delta.CID(e.Hash).String()] = i
		total += len(e.Body.Txns)
		if len(e.Raw) > delta.MaxEntryBytes {
			t.Errorf("entry of %d bytes", len(e.Raw))
		}
	}
	if len(entries) < 3 || total != 12 {
		t.Fatalf("%d transactions in %d entries", total, len(entries))
	}
	for i, cid := range cids {
		e := entries[at[cid]]
		if d := s.Results[i].Receipt.Txn; d.Seq != e.Seq {
			t.Errorf("receipt %d names %v and the CID of entry %d", i, d, e.Seq)
		}
	}
	for _, p := range s.Publish {
		if _, err := gossip.ParsePublished(worldSpace, p); err != nil {
			t.Error(err)
		}
	}
	h.check()
}

// A replica with more tips than an entry can name joins them by fillers first.
func TestFillers(t *testing.T) {
	w := newWorld(t, 1)
	h := w.add("h")
	h.put("k", "", "first")
	var batch []gossip.Published
	const others = 600
	for i := range others {
		o := w.add(fmt.Sprint("o", i))
		o.put(fmt.Sprint("e", i), "", int64(i))
		ps, err := gossip.ParsePublished(worldSpace, published(t, o, o.r.lane))
		w.must(err)
		batch = append(batch, ps...)
	}
	w.topic = nil
	h.did(h.r.Published(h.now(), batch))
	if n := len(h.r.log.Tips()); n != others+1 {
		t.Fatalf("%d tips", n)
	}
	h.put("k", "", "second")
	if n := len(h.r.log.Tips()); n != 1 {
		t.Errorf("%d tips after a write", n)
	}
	fillers := 0
	for _, e := range h.entries() {
		if len(e.Body.Deps) > delta.MaxDeps {
			t.Errorf("%d deps", len(e.Body.Deps))
		}
		if len(e.Body.Txns) == 0 {
			fillers++
		}
	}
	if fillers != 2 {
		t.Errorf("%d fillers", fillers)
	}
	late := w.add("late")
	w.connect(late, h)
	w.settleSome(late, h)
}

// If-Match holds each operation to what its caller saw, within a transaction
// too.
func TestIfMatch(t *testing.T) {
	b := newBench(t)
	b.must(Op{Kind: OpPut, Entity: "e", Value: "one", IfMatch: AbsentETag})
	r, err := b.Get(t.Context(), "e", "")
	if err != nil {
		t.Fatal(err)
	}
	rec := b.must(Op{Kind: OpPut, Entity: "e", Value: "two", IfMatch: r.ETag, WantETag: true})
	if now, _ := b.Get(t.Context(), "e", ""); rec.ETags[0] != now.ETag || now.ETag == r.ETag {
		t.Errorf("etags %v, %v after %v", rec.ETags, now.ETag, r.ETag)
	}
	for _, tag := range []string{r.ETag, AbsentETag, "rubbish"} {
		if _, err := b.Commit(t.Context(), "", []Op{{Kind: OpRm, Entity: "e", IfMatch: tag}}); !errors.Is(err, ErrPrecondition) {
			t.Errorf("etag %q: %v", tag, err)
		}
	}
	if _, err := b.Commit(t.Context(), "", []Op{{Kind: OpRm, Entity: "gone", IfMatch: "*"}}); !errors.Is(err, ErrPrecondition) {
		t.Errorf("any of nothing: %v", err)
	}
	rec = b.must(Op{Kind: OpRm, Entity: "e", IfMatch: "*", WantETag: true}, Op{Kind: OpPut, Entity: "e", Value: "x", IfMatch: AbsentETag})
	if !slices.Equal(rec.ETags, []string{AbsentETag, ""}) {
		t.Errorf("etags %q", rec.ETags)
	}
}

// SkipEqual writes only the leaves that do not hold exactly that value.
func TestSkipEqual(t *testing.T) {
	b := newBench(t)
	put := func(v any) Receipt {
		return b.must(Op{Kind: OpPut, Entity: "e", Value: v, SkipEqual: true})
	}
	doc := map[string]any{"a": int64(1), "b": map[string]any{"c": "x"}}
	if rec := put(doc); rec.Deltas != 2 {
		t.Errorf("%d deltas", rec.Deltas)
	}
	if rec := put(doc); rec.Deltas != 0 || rec.Txn != (clock.Dot{}) || rec.CID != "" {
		t.Errorf("equal, and yet %+v", rec)
	}
	doc["a"] = int64(2)
	if rec := put(doc); rec.Deltas != 1 {
		t.Errorf("%d deltas for one change", rec.Deltas)
	}
	b.must(Op{Kind: OpAdd, Entity: "e", Path: "/a", Value: int64(2)})
	if rec := put(doc); rec.Deltas != 1 {
		t.Errorf("%d deltas where a bag's value stands beside", rec.Deltas)
	}
}

// An operation that changes nothing writes nothing.
func TestNothingToDo(t *testing.T) {
	b := newBench(t)
	rec := b.must(Op{Kind: OpRm, Entity: "e"}, Op{Kind: OpRemove, Entity: "e", Value: "x"})
	if rec.Deltas != 0 || rec.CID != "" || b.replica.log.Ordinal() != 0 {
		t.Errorf("%+v", rec)
	}
}

// Votes without a creator are the author's; others keep theirs.
func TestCreators(t *testing.T) {
	b := newBench(t)
	b.must(Op{Kind: OpVote, Entity: "e", Value: "x"})
	b.must(Op{Kind: OpVote, Entity: "e", Value: "y"})
	for _, who := range []string{"ann", "bob"} {
		if _, err := b.Commit(t.Context(), who, []Op{{Kind: OpVote, Entity: "e", Value: "z"}}); err != nil {
			t.Fatal(err)
		}
	}
	b.want("e", "", `"z"`)
	r, err := b.Get(t.Context(), "e", "")
	if err != nil {
		t.Fatal(err)
	}
	var who []string
	for _, s := range r.Survivors {
		who = append(who, s.Creator)
	}
	slices.Sort(who)
	if len(who) != 3 || !slices.Contains(who, b.replica.author.String()) {
		t.Errorf("voters %q", who)
	}
}

// An author whose clock is far ahead raises one alarm, and does not move ours.
func TestClockSkew(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.add("a"), w.add("b")
	b.skew = 3_600_000
	w.connect(a, b)
	b.put("k", "", "one")
	b.put("k", "", "two")
	w.settle(settleMillis)
	if !slices.Equal(a.alarms, []string{"clock-skew"}) {
		t.Errorf("alarms %v", a.alarms)
	}
	a.put("k", "", "three")
	w.settle(settleMillis)
	if got := b.value("k", ""); got != `"three"` {
		t.Errorf("who has seen a value does not overwrite it: %s", got)
	}
	a.r.skewed = make(map[delta.Author]bool)
	for i := range maxSkewed + 5 {
		a.r.skewed[delta.Author{byte(i), byte(i >> 8)}] = true
	}
	b.put("k", "", "four")
	w.settle(settleMillis)
	if len(a.r.skewed) > maxSkewed {
		t.Error("authors are remembered without bound")
	}
}

// The view of a batch in the making is that of the store once it is written:
// rows in key order, changed ones in their new form, those that go left out.
func TestOverlay(t *testing.T) {
	w := newWorld(t, 1)
	h := w.add("h")
	for i := range 5 {
		h.put("e", delta.Path(fmt.Sprintf("/%d", 2*i)), int64(i))
	}
	s := h.r.state
	s.known = nil // so that it must be built, with changes under way
	m := s.mark()
	tally := h.r.fold.Mark()
	for _, op := range []Op{{Kind: OpPut, Path: "/3", Value: "new"}, {Kind: OpPut, Path: "/4", Value: "changed"}, {Kind: OpRm, Path: "/6"}, {Kind: OpPut, Path: "/9", Value: "last"}} {
		op.Entity = "e"
		tw := &txnWriter{r: h.r, origin: merge.Origin{Lane: h.r.signer.Lane, Seq: 99}, index: uint32(s.mark().journal)}
		w.must(tw.op(&op, new(Receipt)))
	}
	w.must(s.buildFilter())
	var got []string
	w.must(s.Rows(merge.AppendPrefix(nil, "e", ""), func(key []byte, row []merge.Survivor) error {
		_, p, _, err := merge.ParseKey(key)
		got = append(got, string(p)+string(delta.AppendAnyJSON(nil, mustAny(t, row[0].Value))))
		return err
	}))
	if want := []string{"/00", "/21", `/3"new"`, `/4"changed"`, "/84", `/9"last"`}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	stop := errors.New("stop")
	for _, at := range []string{"/0", "/3", "/9"} {
		err := s.Rows(merge.AppendPrefix(nil, "e", ""), func(key []byte, _ []merge.Survivor) error {
			if _, p, _, _ := merge.ParseKey(key); string(p) == at {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) {
			t.Errorf("an error at %s is lost", at)
		}
	}
	s.rollback(m)
	h.r.fold.Rollback(tally)
	if len(s.changed)+len(s.side)+len(s.journal) > 0 {
		t.Error("the rollback left something")
	}
	h.check()
}

func mustAny(t testing.TB, v delta.Value) any {
	t.Helper()
	x, err := v.Any()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// The filter never denies a key that was added, and few that were not, also
// when it has grown.
func TestFilter(t *testing.T) {
	f := newFilter()
	key := func(i int) []byte { return fmt.Appendf(nil, "key %d", i) }
	const n = 3 * filterFirstRoom
	for i := range n {
		f.add(key(i))
		f.add(key(i))
	}
	wrong := 0
	for i := range n {
		if !f.has(key(i)) {
			t.Fatalf("key %d is denied", i)
		}
		if f.has(key(n + i)) {
			wrong++
		}
	}
	if len(f.layers) < 2 || wrong > n/50 {
		t.Errorf("%d layers, %d of %d absent keys not denied", len(f.layers), wrong, n)
	}
	if f.bytes() < n*filterBitsPerKey/8 {
		t.Errorf("%d bytes", f.bytes())
	}
}

// A replica that opens on rows it has not seen answers for absent keys as
// before, once it has scanned.
func TestFilterAfterReopening(t *testing.T) {
	w := newWorld(t, 1)
	h := w.add("h")
	for i := range 40 {
		h.put(fmt.Sprint("e", i), "/x", int64(i))
	}
	w.restart(h)
	if h.r.state.known != nil {
		t.Fatal("a filter without a scan")
	}
	for i := range filterAfterMisses + 40 {
		h.put(fmt.Sprint("e", i), "/x", "again")
	}
	if h.r.state.known == nil {
		t.Fatal("no filter")
	}
	for i := range filterAfterMisses + 40 {
		if got := h.value(fmt.Sprint("e", i), ""); got != `{"x":"again"}` {
			t.Fatalf("e%d reads %s", i, got)
		}
	}
	h.check()
}

// A digest that is summed beside the step is waited for: it is that of the rows,
// in memory and on disk, though the sums are made at the last moment, and though a
// transaction failed among those that made them.
func TestDigestIsSummedBeside(t *testing.T) {
	w := newWorld(t, 1)
	h := w.add("h")
	doc := make(map[string]any)
	for i := range settleBeside {
		doc[fmt.Sprint(i)] = int64(i)
	}
	for round := range 3 {
		beside := 0
		h.r.beside = func(f func()) (wait func()) {
			beside++
			return f
		}
		doc["round"] = int64(round)
		put := Op{Kind: OpPut, Entity: "e", Value: doc}
		res := h.write(Request{Ops: []Op{put}}, Request{Ops: []Op{put, {Kind: OpPut, Entity: "e", Value: "no", IfMatch: "nothing like it"}}})
		if res[0].Err != nil || !errors.Is(res[1].Err, ErrPrecondition) {
			t.Fatal(res)
		}
		if beside != 1 {
			t.Errorf("%d sums were made beside the step", beside)
		}
		h.flush()
		h.check()
		w.restart(h)
		h.check()
	}
}

// State rows that cannot be read are corruption, not a surprise.
func TestCorruptState(t *testing.T) {
	for name, spoil := range map[string]func(h *host, b storage.Batch){
		"no meta row":    func(h *host, b storage.Batch) { b.Delete(h.r.state.key(kindMeta, nil)) },
		"short meta row": func(h *host, b storage.Batch) { b.Set(h.r.state.key(kindMeta, nil), []byte("x")) },
		"meta row without counts": func(h *host, b storage.Batch) {
			b.Set(h.r.state.key(kindMeta, nil), make([]byte, 32))
		},
	} {
		w := newWorld(t, 1)
		h := w.add("h")
		h.put("e", "", "x")
		batch := h.mem.NewBatch()
		spoil(h, batch)
		w.must(storage.ApplySync(h.mem, batch))
		if _, err := OpenReplica(h.r.cfg); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := newWorld(t, 1)
	h := w.add("h")
	h.put("e", "", "x")
	h.put("e", "", "y")
	batch := h.mem.NewBatch()
	for _, kind := range []byte{kindState, kindDead, kindKill} {
		lo := h.r.state.key(kind, nil)
		for kv, err := range h.mem.Scan(lo, storage.PrefixEnd(lo)) {
			w.must(err)
			batch.Set(kv.Key, []byte{0xff})
		}
	}
	w.must(storage.ApplySync(h.mem, batch))
	if _, err := h.r.Write(h.now(), []Request{{Ops: []Op{{Kind: OpPut, Entity: "e", Value: "z"}}}}); err == nil {
		t.Error("a write over rows that cannot be read")
	}
}
