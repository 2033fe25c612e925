package node

import (
	"fmt"
	"slices"
	"testing"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
)

var errNotHeld = oplog.ErrNotFound

// settleMillis is how long a healed world may need to agree.
const settleMillis = 60_000

// randomOp draws an operation of any kind. Some are refused, on purpose.
func (w *world) randomOp(h *host) Op {
	o := Op{
		Entity: fmt.Sprintf("e%d", w.rng.IntN(4)),
		Path:   []delta.Path{"", "/a", "/a/b", "/a/b/c", "/d", "/n"}[w.rng.IntN(6)],
	}
	values := []any{
		int64(w.rng.IntN(4)), "text", nil, true, 1.5,
		[]any{int64(1), "x"},
		map[string]any{"$ref": fmt.Sprintf("e%d", w.rng.IntN(4))},
		map[string]any{"b": int64(w.rng.IntN(9)), "d": map[string]any{"c": "deep"}, "e": map[string]any{}},
	}
	switch w.rng.IntN(16) {
	case 0, 1, 2, 3, 4:
		o.Kind, o.Value = OpPut, values[w.rng.IntN(len(values))]
		o.SkipEqual = w.chance(20)
	case 5, 6:
		o.Kind = OpRm
	case 7:
		o.Kind, o.Value = OpAdd, values[w.rng.IntN(6)]
	case 8:
		o.Kind, o.Value = OpRemove, values[w.rng.IntN(6)]
	case 9, 10:
		o.Kind, o.N = OpInc, int64(w.rng.IntN(9)-4)
	case 11, 12:
		o.Kind, o.Value = OpVote, values[w.rng.IntN(5)]
	case 13:
		o.Kind, o.Dots = OpNegate, w.randomDots()
	case 14:
		o.Kind, o.Dots = OpUndo, w.randomDots()
	case 15:
		o.Kind, o.Value, o.IfMatch = OpPut, "matched", []string{"*", AbsentETag, "0123"}[w.rng.IntN(3)]
	}
	return o
}

// randomDots names something that some host was told is on disk.
func (w *world) randomDots() []clock.Dot {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	if len(h.acked) == 0 {
		return nil
	}
	return []clock.Dot{h.acked[w.rng.IntN(len(h.acked))].Txn}
}

func (w *world) randomWrite(h *host) {
	reqs := make([]Request, 1+w.rng.IntN(3))
	for i := range reqs {
		reqs[i].Creator = []string{"", "", "ann", "bob"}[w.rng.IntN(4)]
		for range 1 + w.rng.IntN(4) {
			reqs[i].Ops = append(reqs[i].Ops, w.randomOp(h))
		}
	}
	h.write(reqs...)
}

// step lets one random thing happen. Crashes are a host's, per thousand.
func (w *world) step(crashes int) {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	switch n := w.rng.IntN(1000); {
	case n < 180:
		w.randomWrite(h)
	case n < 380:
		if len(h.out) > 0 {
			h.sync()
		}
	case n < 480:
		w.tick()
	case n < 850:
		if len(w.links) > 0 {
			l := w.links[w.rng.IntN(len(w.links))]
			if side := w.rng.IntN(2); len(l.queue[side]) > 0 {
				w.deliver(l, side)
			}
		}
	case n < 920:
		if len(w.topic) > 0 {
			w.deliverTopic()
		}
	case n < 950:
		if o := w.hosts[w.rng.IntN(len(w.hosts))]; o != h && !w.isCut(h, o) {
			w.connect(h, o)
		}
	case n < 965:
		if len(w.links) > 0 {
			w.disconnect(w.links[w.rng.IntN(len(w.links))])
		}
	case n < 975:
		if o := w.hosts[w.rng.IntN(len(w.hosts))]; o != h {
			w.split(h, o)
		}
	case n < 985:
		clear(w.cut)
	case n < 985+crashes:
		w.crash(h)
	case n < 995:
		w.restart(h)
	}
}

// checkAgreement holds a settled world without forks to what must be true:
// every host has the rows that the entries fold to, in whatever order they came.
func (w *world) checkAgreement() {
	w.t.Helper()
	first := w.hosts[0]
	entries := first.entries()
	var oracle merge.MemState
	fold := merge.Fold{State: &oracle}
	for _, e := range entries {
		w.must(fold.Apply(e))
	}
	want := rowsOf(w.t, &oracle)
	for _, h := range w.hosts {
		h.check()
		if got := rowsOf(w.t, &h.r.state.rows); !slices.Equal(got, want) {
			w.fatalf("%s has the rows\n%q\nwhere the entries fold to\n%q", h.name, got, want)
		}
		if h.r.tally() != fold.Tally {
			w.fatalf("%s has the tally %v, the entries fold to %v", h.name, h.r.tally(), fold.Tally)
		}
		if n := len(h.r.log.ClosedLanes()); n > 0 {
			w.fatalf("%s closed %d lanes, and nobody forked any", h.name, n)
		}
		for _, rec := range h.acked {
			if !first.holds(rec.Txn) {
				w.fatalf("%s acknowledged %v, and it is lost", h.name, rec.Txn)
			}
		}
		if h.r.log.Entries() != uint64(len(entries)) {
			w.fatalf("%s counts %d entries of %d", h.name, h.r.log.Entries(), len(entries))
		}
	}
}

// After any schedule of writes, losses, cuts, crashes and restarts, replicas
// that can reach each other again agree within a minute on what the entries
// fold to, and nothing acknowledged is lost.
func TestConvergence(t *testing.T) {
	eachSeed(t, 300, func(t *testing.T, w *world) {
		w.lossy = true
		for i := range 2 + w.rng.IntN(4) {
			h := w.add(string(rune('a' + i)))
			h.skew = w.rng.Int64N(4000) - 2000
		}
		for range 100 + w.rng.IntN(300) {
			w.step(8)
		}
		w.heal()
		w.settle(settleMillis)
		w.checkAgreement()

		late := w.add("late")
		w.connect(late, w.hosts[w.rng.IntN(len(w.hosts)-1)])
		w.settle(settleMillis)
		w.checkAgreement()
	})
}
