package node

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/storage"
)

func (b *bench) compact(o CompactOptions) CompactReport {
	b.t.Helper()
	rep, err := b.Compact(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	return rep
}

func (b *bench) sound() VerifyReport {
	b.t.Helper()
	rep, err := b.Verify(b.t.Context(), nil)
	if err != nil || len(rep.Problems) > 0 {
		b.t.Errorf("verify: %q, %v", rep.Problems, err)
	}
	return rep
}

// Compact drops what it says, up to where it is told, and what can be read stays
// as it was.
func TestCompact(t *testing.T) {
	b := newBench(t)
	var txns []Receipt
	for i := range 10 {
		txns = append(txns, b.put("k", "/n", int64(i)))
	}
	lane := txns[0].Txn.Lane
	middle := b.Cursor()
	for i := range 10 {
		txns = append(txns, b.put("k", "/n", int64(10+i)))
	}
	dry := b.compact(CompactOptions{DryRun: true})
	if dry.Dropped != 20 || dry.Checkpoint != 0 || dry.Freed == 0 || fmt.Sprint(dry.Floor) != fmt.Sprintf("[%v:20]", lane) {
		t.Errorf("dry run: %+v", dry)
	}
	if all, err := b.Checkpoints(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("a dry run recorded %v, %v", all, err)
	}
	for _, bad := range []string{"nonsense", "1-2-3", "-5h", "n-99", "other-1", "5:x"} {
		if _, err := b.Compact(t.Context(), CompactOptions{To: bad}); !errors.Is(err, ErrInvalid) {
			t.Errorf("--to %s: %v", bad, err)
		}
	}
	for _, early := range []string{"1h", "30d", "2001-01-01T00:00:00Z", "0"} {
		if rep := b.compact(CompactOptions{To: early}); rep.Dropped != 0 || rep.Checkpoint != 0 {
			t.Errorf("--to %s: %+v", early, rep)
		}
	}
	parts := 0
	rep := b.compact(CompactOptions{To: middle, Progress: func(int, int) { parts++ }})
	if rep.Dropped != 10 || rep.Checkpoint != 1 || rep.Cursor != middle || fmt.Sprint(rep.Floor) != fmt.Sprintf("[%v:10]", lane) || parts == 0 {
		t.Errorf("to the middle: %+v, %d parts", rep, parts)
	}
	if rep := b.compact(CompactOptions{To: middle}); rep.Dropped != 0 {
		t.Errorf("to the middle again: %+v", rep)
	}
	b.want("k", "/n", "19")
	if got := b.sound(); got.Entries != 10 || got.Rows != 1 {
		t.Errorf("%+v", got)
	}
	if rep := b.compact(CompactOptions{To: clock.EntryID{Lane: lane, Seq: 15}.String()}); rep.Dropped != 5 {
		t.Errorf("to an entry: %+v", rep)
	}
	b.must(Op{Kind: OpRm, Entity: "k"})
	if rep := b.compact(CompactOptions{}); rep.Dropped != 6 || rep.Held {
		t.Errorf("to the end: %+v", rep)
	}
	if got := b.sound(); got.Entries != 0 || got.Rows != 0 {
		t.Errorf("%+v", got)
	}
	all, err := b.Checkpoints(t.Context())
	if err != nil || len(all) != 3 || !all[2].Done || all[2].Entries != 6 || all[0].Ordinal != 10 {
		t.Errorf("checkpoints: %+v, %v", all, err)
	}
	b.put("k", "/n", int64(1))
	b.Close()
	if _, err := b.Compact(t.Context(), CompactOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Own entries stay while peers are known and none is known to hold them.
func TestCompactHolds(t *testing.T) {
	b := newBench(t)
	b.put("k", "", int64(1))
	rep := b.compact(CompactOptions{Known: []string{"p2", "p1"}})
	if !rep.Held || rep.Dropped != 0 {
		t.Errorf("%+v", rep)
	}
	rep = b.compact(CompactOptions{Force: true, Known: []string{"p2", "p1"}})
	if rep.Held || rep.Dropped != 1 || fmt.Sprint(rep.UnseenBy) != "[p1 p2]" {
		t.Errorf("%+v", rep)
	}
	c := newBench(t)
	c.KnowPeers()
	c.put("k", "", int64(1))
	if rep := c.compact(CompactOptions{DryRun: true}); !rep.Held || rep.Dropped != 0 {
		t.Errorf("%+v", rep)
	}
}

// A patient store notes what was applied while something before it was not yet
// on disk.
type patient struct {
	storage.DB
	flying, hasty, applied atomic.Int32
}

type patientCommit struct {
	storage.Commit
	p *patient
}

func (p *patient) Apply(b storage.Batch) (storage.Commit, error) {
	p.applied.Add(1)
	if p.flying.Add(1) > 1 {
		p.hasty.Add(1)
	}
	c, err := p.DB.Apply(b)
	return &patientCommit{c, p}, err
}

func (c *patientCommit) Wait() error {
	defer c.p.flying.Add(-1)
	return c.Commit.Wait()
}

// The record of a compaction is on disk before anything is dropped.
func TestCheckpointComesFirst(t *testing.T) {
	b := newBench(t)
	for range 5 {
		b.put("k", "", "v")
	}
	p := &patient{DB: b.db}
	b.query(func() { b.replica.db = p })
	b.compact(CompactOptions{})
	if p.applied.Load() != 2 || p.hasty.Load() != 0 {
		t.Errorf("%d batches, %d of them before the one before was on disk", p.applied.Load(), p.hasty.Load())
	}
	if b.sound().Entries != 0 {
		t.Error("nothing was dropped")
	}
}

// What is gone from the raw history is said to be, and where one can go on.
func TestHistoryEnds(t *testing.T) {
	b := newBench(t)
	first := b.put("a", "", int64(1))
	early := b.Cursor()
	b.put("a", "", int64(2))
	if b.LogStart() != "" {
		t.Errorf("the log starts at %q", b.LogStart())
	}
	b.compact(CompactOptions{})
	start := b.LogStart()
	if start != b.Cursor() {
		t.Errorf("the log starts at %q, now is %q", start, b.Cursor())
	}
	last := b.put("a", "", int64(3))
	gone := func(what string, err error) {
		t.Helper()
		var g *GoneError
		if !errors.As(err, &g) || !errors.Is(err, ErrGone) || g.Cursor != start || !strings.Contains(err.Error(), start) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, since := range []string{"0", early} {
		_, err := b.Log(t.Context(), "", since, 0)
		gone("log since "+since, err)
		_, err = b.Log(t.Context(), first.Txn.Lane.String(), since, 0)
		gone("log of the lane since "+since, err)
		for _, err := range b.Changes(t.Context(), "", since) {
			gone("changes since "+since, err)
		}
	}
	for _, lane := range []string{"", first.Txn.Lane.String()} {
		if log, err := b.Log(t.Context(), lane, "", 0); err != nil || len(log) != 1 || log[0].ID != last.Txn.Entry() {
			t.Errorf("log of lane %q: %v, %v", lane, log, err)
		}
	}
	for c, err := range b.Changes(t.Context(), "", start) {
		if err != nil || c.Txn != last.Txn {
			t.Errorf("changes from the start: %v, %v", c, err)
		}
		break
	}
	_, err := b.Show(t.Context(), first.Txn.String())
	gone("show", err)
	if _, err := b.Show(t.Context(), first.CID); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), start) {
		t.Errorf("show by CID: %v", err)
	}
	if _, err := b.Show(t.Context(), clock.EntryID{Lane: first.Txn.Lane, Seq: 9}.String()); !errors.Is(err, ErrNotFound) {
		t.Errorf("show of what never was: %v", err)
	}
	e, err := b.Show(t.Context(), last.Txn.String())
	if err != nil || !e.PastCut || len(e.Past) != 1 || e.Past[0].Seq != 2 {
		t.Errorf("show above the floor: %+v, %v", e, err)
	}
	for kind, want := range map[OpKind]error{OpUndo: ErrHorizon, OpNegate: ErrGone} {
		if _, err := b.Commit(t.Context(), "", []Op{{Kind: kind, Dots: []clock.Dot{first.Txn}}}); !errors.Is(err, want) {
			t.Errorf("%s below the horizon: %v", kind, err)
		}
	}
	b.must(Op{Kind: OpUndo, Dots: []clock.Dot{last.Txn}})
	b.want("a", "", "2")
}

// A watcher that has not yet seen what is compacted away is told so.
func TestWatcherFallsBehind(t *testing.T) {
	b := newBench(t)
	b.put("a", "", int64(0))
	n := 0
	var err error
	for _, err = range b.Changes(t.Context(), "", "0") {
		if err != nil {
			break
		}
		if n++; n == 1 {
			for i := range 5 {
				b.put("a", "", int64(i))
			}
			b.compact(CompactOptions{})
		}
	}
	var g *GoneError
	if !errors.As(err, &g) || n != 1 || g.Cursor != b.Cursor() {
		t.Errorf("after %d changes: %v", n, err)
	}
}

// The past is read as it was, by any name for it, down to the horizon.
func TestGetAt(t *testing.T) {
	b := newBench(t)
	b.put("gone", "", ref("e"))
	r1 := b.put("e", "/x", int64(1))
	at1 := b.Cursor()
	b.put("e", "/x", int64(2))
	b.must(Op{Kind: OpRm, Entity: "gone"})
	at2 := b.Cursor()
	b.must(Op{Kind: OpRm, Entity: "e"})
	read := func(entity, at string) string {
		t.Helper()
		r, err := b.Read(t.Context(), entity, "", ReadOptions{At: at})
		switch {
		case errors.Is(err, ErrNotFound):
			return "-"
		case err != nil:
			return err.Error()
		}
		return fmt.Sprint(r.Value)
	}
	export := func(at string) (out []string) {
		t.Helper()
		for r, err := range b.ExportAt(t.Context(), "", at) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprint(r.Entity, r.Value))
		}
		return out
	}
	for at, want := range map[string]string{
		at1: "map[x:1]", at2: "map[x:2]", r1.Txn.Entry().String(): "map[x:1]", "0": "-", "now": "-", "": "-", "2001-01-01T00:00:00Z": "-", "9000d": "-",
		"0s": "-",
	} {
		if got := read("e", at); got != want {
			t.Errorf("as of %q it is %s, want %s", at, got, want)
		}
	}
	if got := fmt.Sprint(export(at1), export(at2), export("now"), export("")); got != "[emap[x:1] gonemap[$ref:e]] [emap[x:2]] [] []" {
		t.Error(got)
	}
	b.compact(CompactOptions{To: at2})
	if got := read("e", at2); got != "map[x:2]" {
		t.Error(got)
	}
	for _, at := range []string{"0", at1, r1.Txn.Entry().String(), "2001-01-01T00:00:00Z"} {
		_, err := b.Read(t.Context(), "e", "", ReadOptions{At: at})
		var h *HorizonError
		if !errors.As(err, &h) || !errors.Is(err, ErrHorizon) || h.Cursor != at2 || h.Time.IsZero() {
			t.Errorf("as of %s: %v", at, err)
		}
	}
	if got := read("e", clock.EntryID{Lane: r1.Txn.Lane, Seq: 9}.String()); got != "-" {
		t.Error(got)
	}
	if _, err := b.Read(t.Context(), "e", "", ReadOptions{At: "sometime"}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// A cursor inside an entry shows what stood before the next of its transactions.
func TestGetInsideEntry(t *testing.T) {
	w := newWorld(t, 1)
	h := w.add("a")
	h.write(Request{Ops: []Op{{Kind: OpPut, Entity: "k", Value: int64(1)}}}, Request{Ops: []Op{{Kind: OpPut, Entity: "k", Value: int64(2)}}})
	h.flush()
	n := h.still()
	for at, want := range map[string]string{"a-1.1": "1", "a-1": "2"} {
		r, err := n.Read(t.Context(), "k", "", ReadOptions{At: at})
		if err != nil || fmt.Sprint(r.Value) != want {
			t.Errorf("at %s: %v, %v", at, r.Value, err)
		}
	}
}

// Who follows a node that takes over a peer's state is told that changes came
// which cannot be listed.
func TestWatcherOfAdoption(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.add("a"), w.add("b")
	a.put("k", "", int64(1))
	a.put("k", "", int64(2))
	w.topic = nil // b was away
	if _, _, err := a.r.Checkpoint(a.now(), CompactRequest{}); err != nil {
		t.Fatal(err)
	}
	a.did(a.r.Truncate(a.now()))
	n := b.still()
	n.changed = make(chan struct{})
	ended, since := make(chan error, 1), n.Cursor()
	go func() {
		for c, err := range n.Changes(t.Context(), "", since) {
			if err == nil {
				err = fmt.Errorf("a change: %+v", c)
			}
			ended <- err
			return
		}
		ended <- nil
	}()
	w.connect(a, b)
	w.settle(settleMillis)
	served, _ := a.r.States()
	if _, adopted := b.r.States(); adopted != 1 || served != 1 {
		t.Fatalf("%d states adopted, %d served", adopted, served)
	}
	n.history.Store(b.r.log.History())
	n.show(b.r.log.Ordinal())
	var g *GoneError
	if err := <-ended; !errors.As(err, &g) || g.Cursor != n.LogStart() {
		t.Errorf("the watcher got %v", err)
	}
	if rep, err := n.Verify(t.Context(), nil); err != nil || len(rep.Problems) > 0 {
		t.Errorf("verify: %q, %v", rep.Problems, err)
	}
	a.put("k", "", int64(3))
	w.settle(settleMillis)
	n.show(b.r.log.Ordinal())
	for c, err := range n.Changes(t.Context(), "", g.Cursor) {
		if err != nil || len(c.Deltas) != 1 {
			t.Errorf("from the cursor that it names comes %+v, %v", c, err)
		}
		break
	}
}
