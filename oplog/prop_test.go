package oplog

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/storage"
)

// A history is what a few authors wrote who met now and then, and the proofs
// against those who forked.
type history struct {
	writers []*writer
	entries []*delta.Entry // in an order that extends causality
	proofs  []*Proof
}

// drawHistory lets authors write and receive at random. Each keeps a log of its
// own, so that deps are what Log.Deps says. With forks, the author of the first
// lane works on up to three machines that do not know of each other.
func drawHistory(t *rapid.T, forks bool) *history {
	h := new(history)
	var machines []*replica
	var writes []*writer
	for i := range rapid.IntRange(2, 4).Draw(t, "writers") {
		h.writers = append(h.writers, writerNamed(string(rune('a'+i))))
	}
	writes = append(writes, h.writers...)
	if forks {
		for range rapid.IntRange(1, 2).Draw(t, "clones") {
			writes = append(writes, h.writers[0])
		}
	}
	for range writes {
		machines = append(machines, newReplica(t, storage.NewMemory(), h.writers...))
	}
	for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
		m := rapid.IntRange(0, len(machines)-1).Draw(t, "machine")
		r := machines[m]
		if len(h.entries) > 0 && rapid.Bool().Draw(t, "receive") {
			for range 3 {
				r.receive(rapid.SampledFrom(h.entries).Draw(t, "entry"))
			}
			continue
		}
		var kills []clock.EntryID
		for _, l := range r.vector.Lanes() {
			if rapid.IntRange(0, 3).Draw(t, "kill") == 0 {
				kills = append(kills, clock.EntryID{Lane: l, Seq: rapid.Uint64Range(1, r.vector.Seq(l)).Draw(t, "killed")})
			}
		}
		w := writes[m]
		e := w.write(t, r.vector.Head(w.signer.Lane), fmt.Sprint(m, "/", i), r.Deps(w.signer.Lane), kills...)
		h.entries = append(h.entries, e)
		if r.receive(e) == 0 {
			t.Fatalf("%v is not ready for its own author", e.ID())
		}
	}
	h.findForks()
	return h
}

// findForks proves every pair of entries under one name.
func (h *history) findForks() {
	sorted := slices.Clone(h.entries)
	slices.SortFunc(sorted, byID)
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1], sorted[i]; a.ID() == b.ID() {
			h.proofs = append(h.proofs, &Proof{Key: h.writers[0].LaneKey, A: chainOf(a), B: chainOf(b)})
		}
	}
}

// deliver gives a fresh replica the history in a drawn order, with duplicates,
// in batches of any size, opening it anew now and then; what was lost meanwhile
// comes again at the end, as anti-entropy would bring it. The proofs come
// somewhere in between.
func (h *history) deliver(t *rapid.T) *replica {
	r := newReplica(t, storage.NewMemory(), h.writers...)
	order := rapid.Permutation(h.entries).Draw(t, "order")
	order = append(order, rapid.SliceOfN(rapid.SampledFrom(h.entries), 0, 5).Draw(t, "again")...)
	proofs := rapid.Permutation(h.proofs).Draw(t, "proofs")
	for _, e := range order {
		r.receive(e)
		if len(proofs) > 0 && rapid.IntRange(0, 5).Draw(t, "prove") == 0 {
			r.close(proofs[0])
			proofs = proofs[1:]
		}
		switch rapid.IntRange(0, 5).Draw(t, "end of batch") {
		case 0:
			r.mustFlush()
			r.check()
			r.reopen() // what waited is forgotten
		case 1, 2:
			r.mustFlush()
			r.check()
		}
	}
	for _, p := range proofs {
		r.close(p)
	}
	for again := true; again; {
		again = false
		for _, e := range h.entries {
			again = r.receive(e) > 0 || again
		}
	}
	r.mustFlush()
	r.check()
	return r
}

// In whatever order a history arrives, all of it is admitted, and all logs come
// to one vector and one root.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t, false)
		r := h.deliver(t)
		if r.Entries() != uint64(len(h.entries)) || r.Ordinal() != uint64(len(h.entries)) || r.Pending.Len() != 0 {
			t.Fatalf("%d of %d entries admitted, %d wait", r.Entries(), len(h.entries), r.Pending.Len())
		}
		for _, e := range h.entries {
			if got, err := r.HashAt(e.ID()); err != nil || got != e.Hash {
				t.Fatalf("%v is %v, %v", e.ID(), got, err)
			}
		}
		if o := h.deliver(t); o.Root() != r.Root() || o.vector.Compare(&r.vector) != clock.Equal {
			t.Fatalf("two logs: %v and %v", &r.vector, &o.vector)
		}
	})
}

// With an author who forked it is the same, once all have the proofs: the lane
// is closed at the smallest seq that was signed twice, and nothing else is lost.
func TestAnyOrderForked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t, true)
		r := h.deliver(t)
		var want clock.Vector
		first := uint64(clock.MaxSeq)
		for _, p := range h.proofs {
			first = min(first, p.Seq())
		}
		for _, e := range h.entries {
			if e.Lane != h.writers[0].signer.Lane || e.Seq < first {
				if e.Seq > want.Seq(e.Lane) {
					want.Set(e.Lane, clock.Head{Seq: e.Seq, Hash: e.Hash})
				}
			}
		}
		if r.vector.Root() != want.Root() {
			t.Fatalf("admitted %v, want %v", &r.vector, &want)
		}
		at, closed := r.ClosedAt(h.writers[0].signer.Lane)
		if closed != (len(h.proofs) > 0) || closed && at != first || len(r.ClosedLanes()) != min(1, len(h.proofs)) {
			t.Fatalf("closed at %d, want %d", at, first)
		}
		if o := h.deliver(t); o.Root() != r.Root() {
			t.Fatalf("two logs: %v and %v", &r.vector, &o.vector)
		}
	})
}

// Order from any ordinal is the tail of the whole order.
func TestOrderFromTheMiddle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawHistory(t, true).deliver(t)
		var all []Run // of one entry each
		collect := func(from uint64) (out []Run) {
			for run, err := range r.Order(r.db, from) {
				if err != nil {
					t.Fatalf("%v", err)
				}
				if run.Count == 0 {
					t.Fatalf("an empty run at %d", run.Ordinal)
				}
				for i := range run.Count {
					out = append(out, Run{run.Lane, run.First + i, 1, run.Ordinal + i})
				}
			}
			return out
		}
		all = collect(0)
		if uint64(len(all)) != r.Ordinal() {
			t.Fatalf("the order lists %d, the newest ordinal is %d", len(all), r.Ordinal())
		}
		for from := uint64(0); from <= r.Ordinal()+2; from++ {
			want := all[min(max(from, 1)-1, uint64(len(all))):]
			if got := collect(from); !slices.Equal(got, want) {
				t.Fatalf("from %d: %v, want %v", from, got, want)
			}
		}
		if got := collect(1<<64 - 1); len(got) != 0 {
			t.Fatalf("from beyond all: %v", got)
		}
		// Both iterations stop when asked to, also amid a run.
		for from := uint64(1); from <= r.Ordinal(); from++ {
			for range r.Order(r.db, from) {
				break
			}
			for rec, err := range r.InOrder(r.db, from) {
				if err != nil || rec.Ordinal < from {
					t.Fatalf("from %d: %v, %v", from, rec.Ordinal, err)
				}
				break
			}
		}
	})
}
