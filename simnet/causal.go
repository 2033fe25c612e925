package simnet

import (
	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// deeplyChecked is how many hosts are held to the rules of delivery entry by
// entry: in a large world that costs more than the run, and all hosts run the
// same code.
const deeplyChecked = 32

// A delivery follows the log of a host entry by entry, as it was applied.
type delivery struct {
	seen   uint64       // the ordinal up to which it was looked at
	heads  clock.Vector // of what was
	closed uint64       // the closings by then, as a number
}

// checkDelivery holds what a call made a host apply to the rules of causal
// delivery: each entry once, behind its predecessor, which it names, and behind
// all that it depends on and kills; and no name for two entries.
func (h *host) checkDelivery() error {
	if h.at >= deeplyChecked || h.w.opts.unchecked {
		return nil
	}
	return h.checkApplied()
}

func (h *host) checkApplied() error {
	log, d := h.r.Log(), &h.applied
	if closed := d.closings(log); log.Ordinal() != d.seen || closed != d.closed {
		return h.checkFrom(closed)
	}
	return nil
}

// closings makes a number of the closed lanes.
func (d *delivery) closings(log *oplog.Log) (closed uint64) {
	for _, l := range log.ClosedLanes() {
		at, _ := log.ClosedAt(l)
		closed = closed*31 + at
	}
	return closed
}

// checkFrom looks at what was applied since the last look.
func (h *host) checkFrom(closed uint64) error {
	log, d := h.r.Log(), &h.applied
	if closed != d.closed { // what stood behind a fork is gone
		*d = delivery{closed: closed}
	}
	if log.History() > d.seen { // it was adopted as state, or dropped
		if err := h.rebase(); err != nil {
			return err
		}
	}
	for r, err := range log.InOrder(log.DB(), d.seen+1) {
		if err != nil {
			return Broken("the log can be read", "%v", err)
		}
		e, err := r.Entry()
		if err != nil {
			return Broken("the log can be read", "%v: %v", r.ID(), err)
		}
		if head := d.heads.Head(e.Lane); e.Seq != head.Seq+1 || e.Prev != head.Hash {
			return Broken("a lane is a chain", "%v follows %d, or names another as its predecessor", e.ID(), head.Seq)
		}
		for id := range causes(e) {
			if !d.covers(log, id) {
				return Broken("causal delivery", "%v was applied before %v", e.ID(), id)
			}
		}
		if was, ok := h.w.names[e.ID()]; ok && was != e.Hash && !h.w.forks[e.Lane] {
			return Broken("a name is for one entry", "two entries are %v", e.ID())
		}
		if h.w.forks[e.Lane] {
			if err := h.w.branches.see(h, &r); err != nil {
				return Broken("the log can be read", "%v: %v", r.ID(), err)
			}
		}
		if err := h.w.archive.keep(&r); err != nil {
			return Broken("the log can be read", "%v: %v", r.ID(), err)
		}
		h.w.names[e.ID()] = e.Hash
		d.heads.Set(e.Lane, clock.Head{Seq: e.Seq, Hash: e.Hash})
	}
	d.seen = log.Ordinal()
	for _, tip := range log.Tips() {
		if log.Vector().Head(tip.Lane) != tip.Head {
			return Broken("tips are heads", "%v is listed as a tip at %d, and its head is at %d", tip.Lane, tip.Head.Seq, log.Vector().Seq(tip.Lane))
		}
	}
	if v := log.Vector(); d.heads.Root() != v.Root() {
		return Broken("the vector is what was applied", "the log holds %v, the vector says %v", &d.heads, v)
	}
	return nil
}

// rebase begins where the host's history does: at the floors, and at what it
// holds of the history's own time. Of that it is only known what its names are.
func (h *host) rebase() error {
	log, d := h.r.Log(), &h.applied
	d.heads, d.seen = clock.Vector{}, log.History()
	for _, id := range log.Floors() {
		hash, err := log.HashAt(id)
		if err != nil {
			return Broken("the log can be read", "floor %v: %v", id, err)
		}
		d.heads.Set(id.Lane, clock.Head{Seq: id.Seq, Hash: hash})
	}
	cut, err := log.CutAt(log.History())
	if err != nil {
		return Broken("the log can be read", "%v", err)
	}
	for _, c := range cut {
		d.heads.Set(c.Lane, c.Head)
	}
	for _, l := range d.heads.Lanes() {
		head := d.heads.Head(l)
		id := clock.EntryID{Lane: l, Seq: head.Seq}
		if was, ok := h.w.names[id]; ok && was != head.Hash && !h.w.forks[l] {
			return Broken("a name is for one entry", "%v has another hash in a vector than as an entry", id)
		}
	}
	return nil
}

// covers reports whether an entry was applied, or is one that a closing keeps
// out for ever.
func (d *delivery) covers(log *oplog.Log, id clock.EntryID) bool {
	at, closed := log.ClosedAt(id.Lane)
	return d.heads.Covers(id) || closed && id.Seq >= at && d.heads.Seq(id.Lane) == at-1
}

// causes yields the entries that one depends on or kills deltas of.
func causes(e *delta.Entry) func(func(clock.EntryID) bool) {
	return func(yield func(clock.EntryID) bool) {
		for i := range e.Body.Deps {
			if !yield(e.Body.Deps[i].EntryID) {
				return
			}
		}
		for i := range e.Body.Txns {
			for j := range e.Body.Txns[i].Deltas {
				for _, k := range e.Body.Txns[i].Deltas[j].Kills {
					for _, dots := range [][]clock.Dot{k.Dots, k.Bounds} {
						for _, dot := range dots {
							if dot.Lane != e.Lane && !yield(dot.Entry()) {
								return
							}
						}
					}
				}
			}
		}
	}
}
