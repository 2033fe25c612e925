package node

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
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

// noteStates counts what state streams came upon.
func (w *world) noteStates() {
	for _, h := range w.hosts {
		if a := h.r.adopt; a != nil && a.theirs != nil {
			w.seen["adopting"]++
			if a.start.vector.Compare(a.theirs) == clock.Concurrent {
				w.seen["incomparable cuts"]++
			}
			if h.r.log.Vector().Root() != a.start.vector.Root() {
				w.seen["entries while a state streams"]++
			}
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
		if h.r.fold.Tally != tally {
			w.fatalf("%s has the tally %v, the entries fold to %v", h.name, h.r.fold.Tally, tally)
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
		if h.r.staged() {
			w.seen["left staged"]++
		}
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
	w.noteStates()
}

// Whatever each host drops of its history, and whenever, alone: all end up with
// what a replica holds that never dropped anything, and no edit is lost.
func TestCompacting(t *testing.T) {
	seen := map[string]int{}
	eachSeed(t, 300, func(t *testing.T, w *world) {
		w.lossy, w.seen = true, seen
		a := archive{}
		for i := range 2 + w.rng.IntN(4) {
			h := w.add(string(rune('a' + i)))
			h.skew = w.rng.Int64N(4000) - 2000
		}
		for range 100 + w.rng.IntN(400) {
			w.stepCompacting(a)
		}
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
		}
	})
	t.Log(fmt.Sprint(seen))
}

// restarted opens a host anew, in place.
func (h *host) restarted() {
	h.stop()
	h.mem = h.mem.Crash()
	h.start(nil)
}
