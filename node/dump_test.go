package node

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// load makes a store of a dump.
func load(t testing.TB, d *Dump, prefix string) *storage.Memory {
	t.Helper()
	mem := storage.NewMemory()
	b := mem.NewBatch()
	var last []byte
	for kv, err := range d.Pairs() {
		if err != nil {
			t.Fatal(err)
		}
		if last != nil && bytes.Compare(kv.Key, last) <= 0 {
			t.Fatalf("key %x after %x", kv.Key, last)
		}
		last = bytes.Clone(kv.Key)
		b.Set(append([]byte(prefix), kv.Key...), kv.Value)
	}
	if err := storage.ApplySync(mem, b); err != nil {
		t.Fatal(err)
	}
	return mem
}

// A dump holds all but what is staged, as of its moment, and opens as what it
// says of itself.
func TestDump(t *testing.T) {
	b := newBench(t)
	for i := range 20 {
		b.put("e", "/x", int64(i))
		b.put("e", "/to", ref("f"))
	}
	w := b.db.NewBatch()
	w.Set(b.rows.key(kindStaged, []byte("left behind")), []byte("x"))
	if err := storage.ApplySync(b.db, w); err != nil {
		t.Fatal(err)
	}
	d := b.Dump()
	b.put("e", "/x", "later")
	c := benchOver(t, load(t, d, "n"))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d.Entries != 40 || d.Rows != 2 || d.Lanes != 1 || c.replica.Digest() != d.Digest || c.replica.log.Root() != d.Root {
		t.Errorf("%+v", d)
	}
	if r, err := c.Verify(t.Context(), nil); err != nil || len(r.Problems) > 0 || r.Entries != 40 {
		t.Errorf("%+v %v", r, err)
	}
	if c.replica.staged() {
		t.Error("staged rows came along")
	}
	for range d.Pairs() {
		break
	}
}

// Whatever the schedule of writes, losses, crashes and
// dropped histories: a host whose store is lost and comes back from an older
// dump, as a new incarnation, ends up equal with all others. No lane is closed
// over it, and nothing is lost that another host held.
func TestRestoredFromDump(t *testing.T) {
	late := 0
	eachSeed(t, 120, func(t *testing.T, w *world) {
		w.lossy = true
		w.seen = map[string]int{}
		a := archive{}
		for i := range 2 + w.rng.IntN(3) {
			w.add(string(rune('a' + i)))
		}
		for range 50 + w.rng.IntN(200) {
			w.stepCompacting(a)
		}
		h := w.hosts[w.rng.IntN(len(w.hosts))]
		d := h.r.Dump()
		mem := load(t, d, "w")
		root, digest := d.Root, d.Digest
		w.must(d.Close())
		for range w.rng.IntN(200) {
			w.stepCompacting(a)
		}
		for _, o := range w.hosts {
			o.flush()
			a.harvest(o)
		}
		// The disk is gone. What others hold of this host's they keep.
		w.dropLinks(h)
		others := w.hosts[(h.at+1)%len(w.hosts)].r.log.Vector().Clone()
		if h.r.log.Vector().Root() != root {
			late++
		}
		h.mem, h.acked = mem, nil
		h.start(nil)
		if h.r.Digest() != digest {
			t.Fatalf("it opens with digest %v, the dump has %v\nreplay: %s", h.r.Digest(), digest, w.replay)
		}
		own := h.r.Resumable()
		h.put("after", "/restored", "yes") // before it meets anybody
		if own != nil || h.r.Resumable() == nil {
			t.Fatalf("it went on with a lane\nreplay: %s", w.replay)
		}
		w.heal()
		w.settleButPending(settleMillis)
		for _, o := range w.hosts {
			o.check()
			if got := o.value("after", "/restored"); got != `"yes"` {
				t.Errorf("%s has %s of what was written after the restore\nreplay: %s", o.name, got, w.replay)
			}
			if l := o.r.log.ClosedLanes(); len(l) > 0 {
				t.Errorf("%s has closed %v\nreplay: %s", o.name, l, w.replay)
			}
			for _, l := range others.Lanes() {
				if o.r.log.Vector().Seq(l) < others.Seq(l) {
					t.Errorf("%s lacks entries that another host held\nreplay: %s", o.name, w.replay)
				}
			}
		}
	})
	if late == 0 && *seedFlag == 0 {
		t.Error("no dump was out of date")
	}
}

// settleButPending is settle for a world that has lost entries for ever: what
// came after them waits in vain.
func (w *world) settleButPending(limitMillis int64) {
	w.t.Helper()
	for end := w.now + limitMillis; ; w.tick() {
		w.drain()
		same := true
		for _, h := range w.hosts {
			same = same && h.r.log.Root() == w.hosts[0].r.log.Root() && h.r.Digest() == w.hosts[0].r.Digest()
		}
		if same {
			return
		}
		if w.now >= end {
			w.fatalf("no agreement after %d ms:\n%s", limitMillis, w.describe())
		}
	}
}

// Entries that were read from a damaged store are taken in as far as they chain
// on, go out to peers, and are their author's own again.
func TestSalvaged(t *testing.T) {
	w := newWorld(t, 1)
	a := w.add("a")
	for i := range 10 {
		a.put("e", "/x", int64(i))
	}
	a.flush()
	entries := a.entries()
	lane := a.r.lane

	// The same author, with nothing left.
	again := w.addKey("a", a.key, storage.NewMemory(), nil)
	b := w.add("b")
	w.hosts = w.hosts[1:]
	w.connect(again, b)
	take := func(want int, from ...*delta.Entry) {
		t.Helper()
		s, n, err := again.r.Salvaged(again.now(), lane, from)
		again.did(s, err)
		if n != want {
			t.Errorf("took %d entries, want %d", n, want)
		}
	}
	take(0, entries[3:]...) // what is before them is not there
	take(4, entries[:4]...) //
	take(0, entries[:4]...) // held already
	take(2, entries[4], entries[5], entries[8])
	w.settle(settleMillis)
	if got := b.value("e", "/x"); got != "5" {
		t.Errorf("a peer has %s", got)
	}
	if again.r.Resumable() != nil {
		t.Error("it goes on with the lane")
	}
	for _, e := range again.entries() {
		if !e.Local {
			t.Errorf("%v is not its own any more", e.ID())
		}
	}
	head, closed := (&Node{replica: again.r}).Held(lane.ID(worldSpace))
	if head.Seq != 6 || closed {
		t.Errorf("held up to %d", head.Seq)
	}
	again.put("e", "/x", "new")
	w.settle(settleMillis)
	b.check()

	// A stranger's are not its own, whatever they say.
	s, n, err := b.r.Salvaged(b.now(), lane, entries[6:])
	b.did(s, err)
	if n != 4 {
		t.Errorf("took %d", n)
	}
	w.settle(settleMillis)
	for _, e := range b.entries() {
		if e.Local {
			t.Errorf("%v is said to be of b", e.ID())
		}
	}
}

// What entries behind a gap did is done again in another lane: what survives
// among them, and the amounts of counters, beside all that stands.
func TestWriteAgain(t *testing.T) {
	w := newWorld(t, 2)
	a := w.add("a")
	a.put("e", "/x", "lost")
	a.put("e", "/x", "old")
	a.put("e", "/x", "new")
	a.do(Op{Kind: OpAdd, Entity: "e", Path: "/tags", Value: "t"}, Op{Kind: OpInc, Entity: "e", Path: "/n", N: 3})
	a.do(Op{Kind: OpInc, Entity: "e", Path: "/n", N: 4})
	a.put("gone", "", "x")
	a.do(Op{Kind: OpRm, Entity: "gone"})
	a.flush()
	entries := a.entries()
	old := a.r.lane

	again := w.addKey("a", a.key, storage.NewMemory(), nil)
	b := w.add("b")
	w.hosts = w.hosts[1:]
	w.connect(again, b)
	b.put("e", "/x", "theirs")
	w.settle(settleMillis)
	again.did(again.r.WriteAgain(again.now(), entries[1:]))
	w.settle(settleMillis)
	for _, h := range w.hosts {
		h.check()
		if got := h.value("e", "/n"); got != "7" {
			t.Errorf("%s counts %s", h.name, got)
		}
		if got := h.value("gone", ""); got == `"x"` {
			t.Errorf("%s has what was removed", h.name)
		}
		row, err := h.r.state.Row(merge.AppendKey(nil, "e", "/x", ""))
		if err != nil || len(row) != 2 {
			t.Errorf("%s has %d values: %v", h.name, len(row), err)
		}
	}
	if again.r.lane == old {
		t.Error("it went on with the lane that has a gap")
	}
}

// A compaction that changes no row still writes down what it did to the eras:
// the time below which the past is gone is there for the next process.
func TestErasOutliveTheProcess(t *testing.T) {
	b := newBench(t)
	for i := range 4 {
		b.put("e", "/x", int64(i))
	}
	b.query(func() {
		r := b.replica
		now := r.now + 1
		if _, c, err := r.Checkpoint(now, CompactRequest{To: 2}); err != nil || c == nil {
			t.Fatalf("%v %v", c, err)
		}
		if _, err := r.Truncate(now); err != nil {
			t.Fatal(err)
		}
		e, past, err := r.state.readEras()
		if err != nil || past == 0 || past != r.state.past || len(e) != len(r.state.eras) {
			t.Errorf("eras %v, past %v, want %v and %v: %v", e, past, r.state.eras, r.state.past, err)
		}
	})
}

// A node takes in what was salvaged in the turn of its replica, and shows it.
func TestNodeSalvages(t *testing.T) {
	a := newBench(t)
	for i := range 6 {
		a.put("e", "/x", int64(i))
	}
	w := &host{w: newWorld(t, 1), r: a.replica}
	var entries []*delta.Entry
	a.query(func() { entries = w.entries() })
	lane := a.LaneKeys()[0]
	cfg := configOver(storage.NewMemory(), "n") // the same author
	cfg.Replica.Random = rand.NewChaCha8([32]byte{9})
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if n, err := b.Salvaged(lane, entries[:3]); n != 3 || err != nil {
		t.Fatalf("took %d, %v", n, err)
	}
	if n, err := b.Salvaged(lane, entries[4:]); n != 0 || err != nil {
		t.Fatalf("behind a gap: took %d, %v", n, err)
	}
	if err := b.WriteAgain(entries[4:]); err != nil {
		t.Fatal(err)
	}
	b.query(func() {
		if row, err := b.replica.state.Row(merge.AppendKey(nil, "e", "/x", "")); err != nil || len(row) != 2 {
			t.Errorf("%d values: %v", len(row), err)
		}
	})
	if head, closed := b.Held(lane.ID(worldSpace)); head.Seq != 3 || closed || len(b.LaneKeys()) != 2 {
		t.Errorf("held up to %d of the old lane, %d lanes", head.Seq, len(b.LaneKeys()))
	}
	if r, err := b.Verify(t.Context(), nil); err != nil || len(r.Problems) > 0 {
		t.Errorf("%+v %v", r, err)
	}
}
