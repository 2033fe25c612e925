package node

import (
	"errors"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// Own entries that no peer is known to hold stay unless forced; what peers are
// known to hold is remembered beyond the process.
func TestOwnEntriesAreHeld(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.add("a"), w.add("b")
	plan := func(force bool) (entries uint64, held bool) {
		c, held, err := a.r.PlanCheckpoint(a.now(), CompactRequest{Force: force})
		w.must(err)
		if c != nil {
			entries = c.Entries
		}
		return entries, held
	}
	a.put("k", "", int64(1))
	w.topic = nil
	if n, held := plan(false); n != 1 || held {
		t.Errorf("alone: %d would go, held %v", n, held)
	}
	w.connect(a, b)
	w.settle(settleMillis)
	w.split(a, b)
	a.put("k", "", int64(2))
	w.topic = nil
	if n, held := plan(false); n != 1 || !held {
		t.Errorf("with an unsent edit: %d would go, held %v", n, held)
	}
	if n, held := plan(true); n != 2 || held {
		t.Errorf("forced: %d would go, held %v", n, held)
	}
	if l, err := a.r.UnseenBy(a.r.log.Ordinal()); err != nil || !slices.Equal(l, []string{"b"}) {
		t.Errorf("unseen by %v: %v", l, err)
	}
	if l, err := a.r.UnseenBy(1); err != nil || len(l) != 0 {
		t.Errorf("what b had when it left is unseen by %v: %v", l, err)
	}
	clear(w.cut)
	w.connect(a, b)
	w.settle(settleMillis)
	for range 2 {
		w.now += compactMillis
		w.tick()
	}
	w.split(a, b)
	a.put("k", "", int64(3))
	w.topic = nil
	a.restarted()
	if n, held := plan(false); n != 2 || !held {
		t.Errorf("after a restart: %d would go, held %v", n, held)
	}
	if l, err := a.r.UnseenBy(a.r.log.Ordinal()); err != nil || !slices.Equal(l, []string{"b"}) {
		t.Errorf("unseen by %v: %v", l, err)
	}
	if l, err := a.r.UnseenBy(2); err != nil || len(l) != 0 {
		t.Errorf("unseen by %v: %v", l, err)
	}
}

// By policy a replica drops what the policy says, and cuts its history in eras
// that go one by one.
func TestRetention(t *testing.T) {
	w := newWorld(t, 1)
	a := w.add("a")
	a.r.cfg.Retention = compaction.Policy{Bytes: 1 << 20}
	text := string(make([]byte, 4000))
	most := 0
	for i := range 900 {
		a.put("k", "", text)
		if i%10 == 0 {
			w.now += compactMillis
			w.tick()
			most = max(most, len(a.r.state.eras))
		}
	}
	a.flush()
	if n := a.r.log.RawBytes(); n > 3<<20 || most < 2 || most > maxEras {
		t.Errorf("%d raw bytes, %d eras at most", n, most)
	}
	before, err := a.mem.DiskBytes()
	w.must(err)
	if before > 16<<20 {
		t.Errorf("%d bytes in the store", before)
	}
	a.r.cfg.Retention = compaction.Policy{Mode: compaction.Minimal}
	for range 4 {
		w.now += compactMillis
		w.tick()
	}
	a.flush()
	if n := a.r.log.Entries(); n != 0 {
		t.Errorf("%d entries with the least retention", n)
	}
}

// A store without eras, as the first format has it, is taken over with a horizon
// at its vector.
func TestStoreWithoutEras(t *testing.T) {
	w := newWorld(t, 1)
	a := w.add("a")
	a.put("k", "", int64(1))
	a.put("k", "", int64(2))
	b := a.mem.NewBatch()
	b.Delete(a.r.state.key(kindEras, nil))
	w.must(storage.ApplySync(a.mem, b))
	a.restarted()
	lane := a.r.log.Vector().Lanes()[0]
	if a.r.log.HorizonOf(lane) != 2 || a.value("k", "") != "2" {
		t.Errorf("horizon %d, k = %s", a.r.log.HorizonOf(lane), a.value("k", ""))
	}
	lo := a.r.state.key(kindDead, nil)
	for range a.mem.Scan(lo, storage.PrefixEnd(lo)) {
		t.Error("a dead row of the old layout is left")
	}
	a.restarted() // and again, with eras
	for name, row := range map[string][]byte{"short": {1}, "another sum": append([]byte{0, 0, 0, 0}, 1, 1, 1), "none": {0, 0, 0, 0}} {
		if _, _, err := parseEras(row); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// One dot with two rows: where no entry says which, the greater sum stays, on
// whichever side it was.
func TestDuel(t *testing.T) {
	w := newWorld(t, 1)
	a := w.add("a")
	a.put("k", "", int64(1))
	w.drop(a)
	key := merge.AppendKey(nil, "k", "", "")
	row, err := a.r.state.Row(key)
	w.must(err)
	mine := row[0].Sum(key)
	var greater, less *merge.Survivor
	for n := int64(2); greater == nil || less == nil; n++ {
		s := row[0]
		s.Value = delta.Int(n)
		if sumLess(mine, s.Sum(key)) {
			greater = &s
		} else {
			less = &s
		}
	}
	duel := func(s *merge.Survivor) string {
		a.r.begin(a.now())
		w.must(a.r.duel(key, s))
		a.did(a.r.end())
		a.flush()
		a.check()
		return a.value("k", "")
	}
	if got := duel(less); got != "1" {
		t.Errorf("the lesser row won: %s", got)
	}
	if got, want := duel(greater), string(delta.AppendAnyJSON(nil, must(greater.Value.Any()))); got != want {
		t.Errorf("the greater row lost: %s, want %s", got, want)
	}
	if other := *greater; true {
		other.Dot.Index++
		if got := duel(&other); got == "1" {
			t.Errorf("a dot that is not here duels: %s", got)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// What a broken stream left goes when nobody goes on with it.
func TestStagedRowsGo(t *testing.T) {
	w := newWorld(t, 1)
	a := w.add("a")
	a.put("k", "", int64(1))
	key := merge.AppendKey(nil, "k", "", "")
	row := must(a.r.state.Row(key))
	a.r.begin(a.now())
	a.r.state.stage(a.r.batch, &compaction.Row{Key: key, Survivor: row[0]})
	a.did(a.r.end())
	a.flush()
	for i := range 14 {
		if staged := a.r.staged(); staged != (i < 12) && (i < 10 || i > 12) {
			t.Errorf("after %d minutes staged is %v", i, staged)
		}
		w.now += compactMillis
		w.tick()
		a.flush()
	}
	if a.r.staged() {
		t.Error("it is there for ever")
	}
}

// A peer has one state served at a time, and one that is held for long goes when
// another peer asks.
func TestServedMakesRoom(t *testing.T) {
	w := newWorld(t, 1)
	a := w.add("a")
	a.put("k", "", int64(1))
	serve := func(id gossip.SessionID, peer string) {
		a.r.begin(a.now())
		w.must(a.r.serve(gossip.Serve{From: id, Peer: peer, Pull: 1, Theirs: new(clock.Vector)}))
		a.did(a.r.end())
	}
	serve(1, "x")
	serve(2, "x")
	if len(a.r.serving) != 1 || a.r.serving[2] == nil {
		t.Errorf("one peer has %d", len(a.r.serving))
	}
	for i := range maxServed {
		w.now++
		serve(gossip.SessionID(10+i), string(rune('a'+i)))
	}
	if len(a.r.serving) != maxServed || a.r.serving[2] == nil {
		t.Errorf("%d are served", len(a.r.serving))
	}
	w.now += servedMost + 10
	serve(20, "late")
	if len(a.r.serving) != maxServed || a.r.serving[20] == nil || a.r.serving[2] != nil {
		t.Errorf("%d are served, the late one is not", len(a.r.serving))
	}
}

// A comparison whose session ends says so, and one lists no more rows than it
// may.
func TestInspectionEnds(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.add("a"), w.add("b")
	a.put("k", "", int64(1))
	l := w.connect(a, b)
	w.settle(settleMillis)
	var got error
	id := l.ids[0]
	s, ok, err := a.r.Inspect(a.now(), id, "b", func(_ DiffReport, err error) { got = err })
	if a.did(s, err); !ok {
		t.Fatal("it does not begin")
	}
	if _, again, _ := a.r.Inspect(a.now(), id, "b", nil); again {
		t.Error("two run at once")
	}
	w.disconnect(l)
	w.tick()
	if !errors.Is(got, errGone) || a.r.inspecting != nil {
		t.Errorf("it ended with %v", got)
	}
	var d DiffReport
	for range maxDiffRows + 1 {
		d.add(DiffRow{Here: true})
	}
	if len(d.Rows) != maxDiffRows || !d.More || d.Here != maxDiffRows+1 {
		t.Errorf("%d rows of %d, more %v", len(d.Rows), d.Here, d.More)
	}
}

// What others see of a replica is what it holds.
func TestSurfaces(t *testing.T) {
	w := newWorld(t, 1)
	a := w.add("a")
	a.put("k", "", int64(1))
	n := a.still()
	if v := n.Vector(); v.Root() != a.r.Log().Vector().Root() {
		t.Errorf("vector %v", v)
	}
	if rows := rowsOf(t, a.r.View()); len(rows) != 1 || !a.r.Wrote(a.r.signer.Lane) || a.r.Wrote(clock.LaneID{}) {
		t.Errorf("rows %q", rows)
	}
	if p, err := ParseRetention("window", "1h", "2MiB"); err != nil || p.Bytes != 2<<20 || p.Mode != compaction.Window {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := ParseRetention("all", "", ""); err == nil {
		t.Error("a mode that is none")
	}
	if (fileLanes{}).Number(clock.LaneID{}) != 0 {
		t.Error("lanes of another store have numbers here")
	}
	if text := (&HorizonError{}).Error(); text == "" {
		t.Error("an error without words")
	}
}
