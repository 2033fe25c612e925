package node

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// An archive holds every entry that any host ever held: what a replica holds
// that never compacts and misses nothing.
type archive map[clock.EntryID]*delta.Entry

// harvest adds the raw entries that a host holds.
func (a archive) harvest(h *host) {
	h.w.t.Helper()
	for rec, err := range h.r.log.InOrder(h.r.db, 0) {
		h.w.must(err)
		if old := a[rec.ID()]; old != nil && old.Hash == delta.HashHeader(&rec.Header) {
			continue
		}
		rec.Raw, rec.Sig = bytes.Clone(rec.Raw), bytes.Clone(rec.Sig)
		e, err := rec.Entry()
		h.w.must(err)
		a[e.ID()] = e
	}
}

// twin folds the archive up to a vector, each lane after its causes.
func (a archive) twin(t testing.TB, v *clock.Vector) (*merge.MemState, merge.Tally) {
	t.Helper()
	state := new(merge.MemState)
	fold := merge.Fold{State: state}
	done := map[clock.LaneID]uint64{}
	met := func(id clock.EntryID) bool { return id.Seq <= done[id.Lane] }
	for moved := true; moved; {
		moved = false
		for _, l := range v.Lanes() {
			for done[l] < v.Seq(l) {
				e := a[clock.EntryID{Lane: l, Seq: done[l] + 1}]
				if e == nil {
					t.Fatalf("the archive lacks %v:%d", l, done[l]+1)
				}
				if !slices.ContainsFunc(e.Body.Deps, func(d delta.Dep) bool { return !met(d.EntryID) }) && killsMet(e, met) {
					if err := fold.Apply(e); err != nil {
						t.Fatal(err)
					}
					done[l]++
					moved = true
					continue
				}
				break
			}
		}
	}
	for _, l := range v.Lanes() {
		if done[l] != v.Seq(l) {
			t.Fatalf("lane %v of the archive stops at %d of %d", l, done[l], v.Seq(l))
		}
	}
	return state, fold.Tally
}

// checkTips holds a host's tips to the archive: every entry up to its vector that
// none names in prev or deps is one. Others may be too.
func (a archive) checkTips(h *host) {
	h.w.t.Helper()
	v := h.r.log.Vector()
	named := map[clock.LaneID]uint64{}
	for id, e := range a {
		if v.Covers(id) {
			for i := range e.Body.Deps {
				d := e.Body.Deps[i].EntryID
				named[d.Lane] = max(named[d.Lane], d.Seq)
			}
		}
	}
	tips := map[clock.LaneID]uint64{}
	for _, tip := range h.r.log.Tips() {
		tips[tip.Lane] = tip.Head.Seq
	}
	for _, l := range v.Lanes() {
		if seq := v.Seq(l); named[l] < seq && tips[l] != seq {
			h.w.fatalf("%s does not list the tip %v:%d", h.name, l, seq)
		}
	}
}

func killsMet(e *delta.Entry, met func(clock.EntryID) bool) bool {
	for i := range e.Body.Txns {
		for j := range e.Body.Txns[i].Deltas {
			for _, k := range e.Body.Txns[i].Deltas[j].Kills {
				for _, d := range append(slices.Clone(k.Dots), k.Bounds...) {
					if d.Lane != e.Lane && !met(d.Entry()) {
						return false
					}
				}
			}
		}
	}
	return true
}

// compact lets a host drop some prefix of its history. The drop itself may
// come now, later, or only after a crash.
func (w *world) compact(h *host, a archive) {
	w.t.Helper()
	a.harvest(h)
	to := h.r.log.Ordinal()
	if n := to - min(to, h.r.log.History()); n > 0 && w.chance(60) {
		to -= w.rng.Uint64N(n + 1)
	}
	if to == 0 {
		return
	}
	s, c, err := h.r.Checkpoint(h.now(), CompactRequest{To: to, Force: w.chance(50)})
	if err != nil && !h.r.adopting() {
		w.fatalf("%s: checkpoint: %v", h.name, err)
	}
	if h.did(s, nil); c == nil {
		return
	}
	w.seen["compacted"]++
	if w.chance(20) {
		w.seen["checkpoint without truncation"]++
		return // the next tick drops it, or what opens after a crash
	}
	h.did(h.r.Truncate(h.now()))
}

// noteState counts what a state stream came upon, each adoption once a case.
func (h *host) noteState() {
	w := h.w
	if w.seen == nil {
		return
	}
	if _, n := h.r.States(); n > h.adopted {
		h.adopted = n
		w.seen["adopted"]++
		for _, c := range slices.Sorted(maps.Keys(h.cases)) {
			w.seen["adopted: "+c]++
		}
		h.cases = nil
	}
	a := h.r.adopt
	if a == nil || a.theirs == nil {
		if h.cases["begun"] {
			w.seen["interrupted stream"]++
		}
		h.cases = nil
		return
	}
	if h.cases == nil {
		h.cases = map[string]bool{"begun": true}
		for _, s := range a.start.vector.Lanes() {
			h.cases["both below each other's floor"] = h.cases["both below each other's floor"] || h.r.log.Floor(s) > a.theirs.Seq(s)
		}
		h.cases["fresh"] = a.start.vector.Len() == 0
		h.cases["incomparable vectors"] = a.start.vector.Compare(a.theirs) == clock.Concurrent
		h.cases["staged rows of an earlier stream"] = h.r.staged()
	}
	h.cases["entries while it streams"] = h.cases["entries while it streams"] || h.r.log.Vector().Root() != a.start.vector.Root()
	for c, is := range h.cases {
		if !is {
			delete(h.cases, c)
		}
	}
}

// checkCompacted holds a settled world to the twin: every host's state is what
// all entries fold to, and nothing acknowledged is lost, whoever dropped what.
func (w *world) checkCompacted(a archive) {
	w.t.Helper()
	for _, h := range w.hosts {
		a.harvest(h)
	}
	first := w.hosts[0].r.log.Vector()
	state, tally := a.twin(w.t, first)
	want := rowsOf(w.t, state)
	for _, h := range w.hosts {
		h.check()
		if got := rowsOf(w.t, &h.r.state.rows); !slices.Equal(got, want) {
			w.fatalf("%s has the rows\n%q\nwhere the entries fold to\n%q", h.name, got, want)
		}
		if h.r.tally() != tally {
			w.fatalf("%s has the tally %v, the entries fold to %v", h.name, h.r.tally(), tally)
		}
		for _, rec := range h.acked {
			if !first.Covers(rec.Txn.Entry()) {
				w.fatalf("%s acknowledged %v, and it is lost", h.name, rec.Txn)
			}
		}
		held := uint64(0)
		for _, l := range first.Lanes() {
			held += first.Seq(l) - h.r.log.Floor(l)
		}
		if h.r.log.Entries() != held || len(h.entries()) != int(held) {
			w.fatalf("%s counts %d raw entries, has %d and should have %d", h.name, h.r.log.Entries(), len(h.entries()), held)
		}
		a.checkTips(h)
	}
}

// stepCompacting is step with compactions.
func (w *world) stepCompacting(a archive) {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	switch n := w.rng.IntN(100); {
	case n < 6:
		w.compact(h, a)
	case n < 16:
		if len(h.jobs) > 0 {
			h.finish()
		}
	default:
		w.step(8)
	}
}

// stream lets states stream and disturbs them: gossip that was late arrives amid
// one, hosts write, drop and crash, sessions break.
func (w *world) stream(a archive, rounds int) {
	for range rounds {
		for _, h := range w.hosts {
			for len(h.jobs) > 0 {
				w.disturb(a)
				if len(h.jobs) > 0 {
					h.finish()
				}
			}
			for len(h.out) > 0 {
				h.sync()
			}
		}
		for _, l := range slices.Clone(w.links) {
			for side := range l.queue {
				if l.open && len(l.queue[side]) > 0 {
					w.deliver(l, side)
				}
			}
		}
		if w.disturb(a); w.chance(20) {
			w.tick()
		}
		if o, h := w.hosts[w.rng.IntN(len(w.hosts))], w.hosts[w.rng.IntN(len(w.hosts))]; w.chance(30) && o != h {
			w.connect(o, h)
		}
	}
}

// disturb lets one thing happen, now and then.
func (w *world) disturb(a archive) {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	switch n := w.rng.IntN(200); {
	case n < 16:
		w.randomWrite(h)
		h.flush()
	case n < 50 && h.r.adopting():
		w.arrives(h)
	case n < 54:
		w.compact(h, a)
	case n < 58 && len(w.links) > 0:
		w.disconnect(w.links[w.rng.IntN(len(w.links))])
	case n < 60:
		w.crash(h)
	}
}

// arrives hands a host all that was published to it.
func (w *world) arrives(h *host) {
	w.t.Helper()
	late := w.topic
	w.topic = nil
	for _, p := range late {
		if p.to != h {
			w.topic = append(w.topic, p)
			continue
		}
		entries, err := gossip.ParsePublished(worldSpace, p.message)
		w.must(err)
		h.did(h.r.Published(h.now(), entries))
	}
}

// runCompacting is one schedule: random writes, losses, cuts, crashes and
// compactions, then streams of states that are disturbed, then peace.
func (w *world) runCompacting() {
	w.lossy = true
	a := archive{}
	for i := range 2 + w.rng.IntN(4) {
		h := w.add(string(rune('a' + i)))
		h.skew = w.rng.Int64N(4000) - 2000
	}
	for range 100 + w.rng.IntN(400) {
		w.stepCompacting(a)
	}
	clear(w.cut)
	w.stream(a, w.rng.IntN(150))
	w.heal()
	w.settle(settleMillis)
	w.checkCompacted(a)

	late := w.add("late")
	w.connect(late, w.hosts[w.rng.IntN(len(w.hosts)-1)])
	w.settle(settleMillis)
	w.checkCompacted(a)
	for _, h := range w.hosts {
		if h.restarted(); h.r.Digest() != w.hosts[0].r.Digest() {
			w.fatalf("%s opens to another state", h.name)
		}
		if h.r.undone != nil {
			w.fatalf("%s opens with a compaction half done", h.name)
		}
	}
}

// mustSee are the cases that schedules have to come upon.
var mustSee = []string{
	"adopted", "adopted: both below each other's floor", "adopted: entries while it streams",
	"adopted: incomparable vectors", "adopted: fresh", "adopted: staged rows of an earlier stream",
	"interrupted stream", "checkpoint without truncation", "crash between checkpoint and truncation",
}

// Whatever each host drops of its history, and whenever, alone: all end up with
// what a replica holds that never dropped anything, and no edit is lost.
func TestCompacting(t *testing.T) {
	const shards = 2
	seeds := 400
	if raceEnabled {
		seeds = 60
	}
	if *seedsFlag > 0 {
		seeds = *seedsFlag
	}
	var mu sync.Mutex
	seen := map[string]int{}
	t.Run("seeds", func(t *testing.T) {
		for shard := range shards {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				for seed := uint64(1 + shard); seed <= uint64(seeds); seed += shards {
					if *seedFlag > 0 && seed != *seedFlag {
						continue
					}
					w := newWorld(t, seed)
					w.replay = fmt.Sprintf("go test ./node -run '^TestCompacting$' -seeds %d -seed %d", seed, seed)
					w.seen = map[string]int{}
					w.runCompacting()
					mu.Lock()
					for c, n := range w.seen {
						seen[c] += n
					}
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("%d schedules: %v", seeds, seen)
	for _, c := range mustSee {
		if seen[c] == 0 && *seedFlag == 0 && seeds >= 400 {
			t.Errorf("no schedule came upon this: %s", c)
		}
	}
}

// restarted opens a host anew, in place.
func (h *host) restarted() {
	h.stop()
	h.mem = h.mem.Crash()
	h.start(nil)
}

// drop compacts a host, all of it, at once.
func (w *world) drop(h *host) {
	w.t.Helper()
	s, _, err := h.r.Checkpoint(h.now(), CompactRequest{Force: true})
	if errors.Is(err, ErrBusy) {
		return
	}
	h.did(s, err)
	h.did(h.r.Truncate(h.now()))
	h.flush()
}

// A lane that forked above the floor is closed as ever, whatever was dropped
// before. Where one forked below it and the two that wrote it meet, all agree,
// both sides' edits live on, and nothing that was counted is lost. (Where others
// have taken the state of one side over before, and dropped or never had the
// entries, nobody can tell the branches apart: docs/compaction.md.)
func TestForkedAndCompacted(t *testing.T) {
	for _, c := range []struct {
		name  string
		exact bool
		drops func(w *world, a, b *host, when string) []*host
	}{
		{"before", true, func(_ *world, a, _ *host, when string) []*host {
			if when == "before" {
				return []*host{a}
			}
			return nil
		}},
		{"one side after", false, func(_ *world, a, _ *host, when string) []*host {
			if when == "after" {
				return []*host{a}
			}
			return nil
		}},
		{"both sides after", false, func(_ *world, a, b *host, when string) []*host {
			if when == "after" {
				return []*host{a, b}
			}
			return nil
		}},
		{"at random", false, func(w *world, a, b *host, _ string) (out []*host) {
			for _, h := range []*host{a, b} {
				if h != nil && w.chance(40) {
					out = append(out, h)
				}
			}
			return out
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachSeed(t, 40, func(t *testing.T, w *world) {
				a := w.add("a")
				drop := func(b *host, when string) {
					for _, h := range c.drops(w, a, b, when) {
						w.drop(h)
					}
				}
				a.put("before", "", "both")
				w.inc(a, 10)
				for range w.rng.IntN(20) {
					a.put("before", "/x", int64(w.rng.IntN(100)))
				}
				drop(nil, "before")
				b := w.clone(a, "b")
				w.split(a, b)
				for i := range 1 + w.rng.IntN(40) {
					a.put(fmt.Sprintf("a%d", i), "", int64(i))
				}
				w.inc(a, 1)
				drop(b, "amid")
				for i := range 1 + w.rng.IntN(40) {
					b.put(fmt.Sprintf("b%d", i), "", int64(i))
				}
				w.inc(b, 5)
				a.put("a-last", "", "a")
				b.put("b-last", "", "b")
				drop(b, "after")
				w.connect(a, b)
				w.calm = true // whoever crashes no longer knows what it never sent
				w.unrest(60)
				w.heal()
				for _, h := range w.hosts {
					if c.name == "at random" && w.chance(20) {
						w.drop(h)
					}
				}
				w.settle(settleMillis)
				values := map[string]string{"a0": "0", "b0": "0", "a-last": `"a"`, "b-last": `"b"`}
				if c.exact {
					values["c"] = `{"n":16}`
				}
				w.checkBranches(values)
				for _, h := range w.hosts {
					if n := h.value("c", "/n"); len(n) < 2 { // 11, 15, 16 or 26: none of the three is lost
						w.fatalf("%s counts %s", h.name, n)
					}
				}
			})
		})
	}
}

// A write that fails while a host drops history, or takes a state over, is as if
// it had never been, or as if it had been whole: opened again, the host goes on
// and ends with what all entries fold to.
func TestCompactFaults(t *testing.T) {
	for _, at := range []storage.FaultPoint{storage.FaultApply, storage.FaultWait} {
		for _, persist := range []bool{false, true} {
			t.Run(fmt.Sprintf("at=%d/persist=%v", at, persist), func(t *testing.T) {
				fired := 0
				for n := 1; ; n++ {
					w := newWorld(t, 7)
					w.seen = map[string]int{} // for small pages
					a := archive{}
					src, dst := w.add("src"), w.add("dst")
					w.connect(src, dst)
					for range 20 {
						w.randomWrite(src)
					}
					w.settle(settleMillis)
					w.split(src, dst)
					for range 30 {
						w.randomWrite(src)
						w.randomWrite(dst)
					}
					src.flush()
					dst.flush()
					w.topic = nil
					a.harvest(src)
					a.harvest(dst)
					w.drop(src)
					// From here on the store of dst fails at its n-th write: of a
					// compaction, of staged pages, of the join.
					resume := dst.stop()
					dst.mem = dst.mem.Crash()
					dst.faulty = storage.NewFaulty(dst.mem, storage.Fault{At: at, N: n, Persist: persist})
					dst.start(resume)
					s, _, err := dst.r.Checkpoint(dst.now(), CompactRequest{To: dst.r.log.Ordinal() / 2, Force: true})
					dst.did(s, err)
					if !dst.failed {
						dst.flush()
						dst.did(dst.r.Truncate(dst.now()))
						dst.flush()
					}
					clear(w.cut)
					w.connect(src, dst)
					for range 40 {
						if dst.failed {
							break
						}
						w.drain()
						w.tick()
					}
					if !dst.failed {
						if fired < 5 {
							t.Fatalf("only %d writes could fail", fired)
						}
						t.Logf("%d writes, each failed once", fired)
						return
					}
					fired++
					dst.faulty, dst.failed = nil, false
					w.crash(dst)
					w.heal()
					w.settle(settleMillis)
					w.checkCompacted(a)
				}
			})
		}
	}
}
