package node

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/gossip"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// retire leaves the current lane: the next write opens another.
func (r *Replica) retire(l clock.LaneID) {
	if r.Owns(l) {
		r.signer = nil
		r.raise("fork", fmt.Sprintf("peers hold more of this node's lane %v than it does: it goes on in a new one", l),
			"was the repo restored from a backup or copied? then all is well now")
	}
}

// closeLane closes a lane by a proof. Its rows at or above the fork go, what
// they killed stays dead but for the lane's own incs, and its author writes its
// own edits again elsewhere.
//
// An inc kills the lane's inc before it only to carry its total on. What does
// the carrying goes, and so the last inc from before the fork lives again, on
// every replica: otherwise each branch would have to carry the total, and some
// would do it twice or never come back to do it.
func (r *Replica) closeLane(from gossip.SessionID, p *oplog.Proof) error {
	if err := p.Verify(r.cfg.Space); err != nil {
		r.machine.ProofTaken(r.now, from, p, false, err)
		return nil
	}
	// The log reads what it moves from the store: all of it must be there.
	if err := r.apply(); err != nil {
		return err
	}
	lane := p.Lane()
	at := p.Seq()
	below, local := r.log.Floor(lane) >= at, r.log.LocalTo(lane)
	if from := r.began[lane]; p.Split() && from > 0 && from < at {
		// The lane forked further down, where nobody can prove it any more. What
		// this process wrote there may be on no other branch.
		at, below, local = from, true, r.log.Vector().Seq(lane)
		defer func() { r.log.DropLane(r.batch, lane) }()
	}
	taken, changed, err := r.log.Close(r.batch, p)
	if err != nil || !changed {
		return err
	}
	if r.Owns(lane) {
		r.signer = nil
	}
	var again []rewrite
	if below {
		again, err = r.withdrawRows(lane, at, local, taken, true)
	} else {
		again, err = r.withdrawAll(lane, at, taken)
	}
	if err != nil {
		return err
	}
	if err := r.admitAll(r.log.Pending.ReleaseLane(lane)); err != nil {
		return err
	}
	// In one batch with the closing: a crash between the two would leave the
	// edits out for ever.
	if len(again) > 0 {
		if err := r.writeAgain(again); err != nil {
			return err
		}
	}
	if err := r.apply(); err != nil {
		return err
	}
	r.machine.ProofTaken(r.now, from, p, true, nil)
	return nil
}

// withdrawAll withdraws entries that are held.
func (r *Replica) withdrawAll(lane clock.LaneID, at uint64, taken []*delta.Entry) (again []rewrite, err error) {
	incs := make(map[clock.Dot]*delta.Delta)
	for _, e := range taken {
		if again, err = r.withdraw(e, again, incs); err != nil {
			return nil, err
		}
	}
	return again, r.revive(lane, at, incs)
}

// withdrawRows is withdrawAll where some of the entries were dropped: it goes by
// the rows that are there. Entries up to the seq local were written here, and
// so were those of taken that say so. With revive, the incs from before come
// back as with any closing.
func (r *Replica) withdrawRows(lane clock.LaneID, at, local uint64, taken []*delta.Entry, revive bool) (again []rewrite, err error) {
	key, _ := r.log.Lanes.Key(lane)
	ours := func(d clock.Dot) bool {
		return key.Author == r.author && (d.Seq <= local ||
			slices.ContainsFunc(taken, func(e *delta.Entry) bool { return e.Seq == d.Seq && e.Local }))
	}
	type hit struct {
		key []byte
		merge.Survivor
	}
	var hits []hit
	err = r.state.Rows(nil, func(key []byte, row []merge.Survivor) error {
		for i := range row {
			if row[i].Dot.Lane == lane && row[i].Dot.Seq >= at {
				hits = append(hits, hit{slices.Clone(key), row[i]})
			}
		}
		return nil
	})
	for i := range hits {
		h := &hits[i]
		if err != nil {
			break
		}
		if err = r.fold.Remove(h.key, func(d clock.Dot) bool { return d == h.Dot }); err != nil {
			break
		}
		w := rewrite{txn: clock.Dot{Lane: lane, Seq: h.Dot.Seq, Index: h.Txn}, creator: h.Creator}
		w.d = delta.Delta{Verb: h.Verb, Value: h.Value}
		if w.d.Entity, w.d.Path, _, err = merge.ParseKey(h.key); err != nil {
			break
		}
		if h.Verb == delta.Inc {
			if w.d.Value, err = r.reviveBefore(h.key, lane, at, h.Value, revive); err != nil {
				break
			}
		}
		if ours(h.Dot) {
			again = append(again, w)
		}
	}
	return again, err
}

// reviveBefore brings back, where it is to, the last inc of a lane from before
// its fork, if what came after it killed it and it is still kept, and returns
// what the lane has added since. Where it is no longer kept the whole total counts as added since:
// nothing that was counted is lost.
func (r *Replica) reviveBefore(key []byte, lane clock.LaneID, at uint64, live delta.Value, revive bool) (delta.Value, error) {
	var last clock.Dot
	err := r.state.deadIn(r.state.eras, key, func(row []byte, _ clock.Dot, s *merge.Survivor) error {
		if d := s.Dot; string(row) == string(key) && d.Lane == lane && d.Seq < at && last.Compare(d) < 0 {
			last = d
		}
		return nil
	})
	inc, _ := live.Inc()
	since := delta.IncValue{Amount: inc.Total, Total: inc.Total}
	if err != nil || last.Seq == 0 {
		return since.Value(), err
	}
	s, ok, err := r.state.buried(key, last, func(d clock.Dot) bool { return d.Lane == lane && d.Seq >= at })
	if err != nil || !ok {
		return since.Value(), err
	}
	before, _ := s.Value.Inc()
	since.Amount -= before.Total
	since.Total = since.Amount
	if !revive {
		return since.Value(), nil
	}
	r.state.unbury(key, last)
	return since.Value(), r.fold.Insert(key, s)
}

// revive brings back the incs of a lane from before its fork that only
// withdrawn incs killed.
func (r *Replica) revive(lane clock.LaneID, at uint64, incs map[clock.Dot]*delta.Delta) error {
	withdrawn := func(d clock.Dot) bool { return incs[d] != nil }
	for _, by := range slices.SortedFunc(maps.Keys(incs), clock.Dot.Compare) {
		d := incs[by]
		key := merge.AppendKey(nil, d.Entity, d.Path, delta.TagOf(lane, "", d))
		for i := range d.Kills {
			for _, dot := range d.Kills[i].Dots {
				if dot.Lane != lane || dot.Seq >= at {
					continue
				}
				s, ok, err := r.state.buried(key, dot, withdrawn)
				if err != nil {
					return err
				}
				if !ok {
					continue
				}
				r.state.unbury(key, dot)
				if err := r.fold.Insert(key, s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// rewrite is a survivor that its author writes again after a fork.
type rewrite struct {
	txn     clock.Dot
	creator string
	d       delta.Delta
	base    int64 // of an inc: the total that it carries on
	dead    bool  // of an inc: it was overwritten or dropped since
}

// withdraw takes an entry's survivors out of the state and, where it was
// written here, notes what is to be written again: by this replica and no other
// that has the author's key, or it would be there twice. It adds the entry's incs to incs.
func (r *Replica) withdraw(e *delta.Entry, again []rewrite, incs map[clock.Dot]*delta.Delta) ([]rewrite, error) {
	index := 0
	for i := range e.Body.Txns {
		x := &e.Body.Txns[i]
		first := e.Dot(index)
		for j := range x.Deltas {
			d := &x.Deltas[j]
			dot := e.Dot(index)
			index++
			if !d.Verb.Survives() {
				continue
			}
			key := merge.AppendKey(nil, d.Entity, d.Path, delta.TagOf(e.Lane, x.Creator, d))
			live := false
			if err := r.fold.Remove(key, func(o clock.Dot) bool {
				live = live || o == dot
				return o == dot
			}); err != nil {
				return nil, err
			}
			if d.Verb == delta.Inc {
				incs[dot] = d
			}
			if e.Local {
				again = noteAgain(again, rewrite{txn: first, creator: x.Creator, d: *d}, live)
			}
		}
	}
	return again, nil
}

// noteAgain adds a withdrawn delta to what is written again. A live inc stands
// for the incs of the branch before it, whose amounts its total carries.
func noteAgain(again []rewrite, w rewrite, live bool) []rewrite {
	w.d.Kills = nil
	if w.d.Verb != delta.Inc {
		if live {
			again = append(again, w)
		}
		return again
	}
	inc, _ := w.d.Value.Inc()
	w.base = inc.Total - inc.Amount
	at := slices.IndexFunc(again, func(o rewrite) bool {
		return o.d.Verb == delta.Inc && o.d.Entity == w.d.Entity && o.d.Path == w.d.Path
	})
	if at >= 0 {
		sum, _ := again[at].d.Value.Inc()
		if before := again[at]; before.base+sum.Amount == w.base {
			w.base, inc.Amount = before.base, sum.Amount+inc.Amount
		}
		again = slices.Delete(again, at, at+1)
	}
	w.d.Value = inc.Value()
	w.dead = !live
	return append(again, w)
}

// writeAgain writes survivors of a closed lane in a new one, concurrent with
// all that stands: they kill nothing. A transaction that no longer fits is
// split; what is refused even then stays where it is kept, and a person is told.
func (r *Replica) writeAgain(again []rewrite) error {
	w := r.newWriter()
	for len(again) > 0 {
		n := 1
		for n < len(again) && again[n].txn == again[0].txn {
			n++
		}
		group := again[:n]
		again = again[n:]
		err := w.again(group)
		if err != nil && !refusal(err) {
			return fmt.Errorf("write again: %w", err)
		}
		for i := range group {
			if err == nil || len(group) == 1 {
				break
			}
			if e := w.again(group[i : i+1]); e != nil && !refusal(e) {
				return fmt.Errorf("write again: %w", e)
			} else if e != nil {
				r.cannotWriteAgain(&group[i], e)
			}
		}
		if err != nil && len(group) == 1 {
			r.cannotWriteAgain(&group[0], err)
		}
	}
	return w.finish()
}

func (w *writer) again(group []rewrite) error {
	_, err := w.txn(group[0].creator, func(t *txnWriter) error {
		for i := range group {
			if err := t.again(&group[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (r *Replica) cannotWriteAgain(g *rewrite, err error) {
	r.raise("fork", fmt.Sprintf("%s of %s cannot be written again: %v", g.d.Verb, delta.Key(g.d.Entity, g.d.Path), err),
		"read it with `rhizome show "+g.txn.String()+"`")
}

func (t *txnWriter) again(g *rewrite) error {
	if g.d.Verb != delta.Inc {
		return t.put(g.d)
	}
	inc, _ := g.d.Value.Inc()
	if inc.Amount == 0 || g.dead {
		return nil
	}
	return t.inc(g.d.Entity, g.d.Path, inc.Amount)
}

// Buckets implements gossip.Replica: the sums of the state's buckets.
func (r *Replica) Buckets(n uint64) ([]uint64, error) {
	out := make([]uint64, n)
	err := r.marks(func(_ []byte, _ *merge.Survivor, m gossip.Mark) {
		out[gossip.MarkBucket(m, n)] += markSum(m)
	})
	return out, err
}

// Marks implements gossip.Replica: the marks of some buckets.
func (r *Replica) Marks(n uint64, wanted []uint64) ([]gossip.Bucket, error) {
	out := make([]gossip.Bucket, len(wanted))
	at := make(map[uint64]int, len(wanted))
	for i, b := range wanted {
		out[i].Index, at[b] = b, i
	}
	err := r.marks(func(_ []byte, _ *merge.Survivor, m gossip.Mark) {
		if i, ok := at[gossip.MarkBucket(m, n)]; ok {
			out[i].Marks = append(out[i].Marks, m)
		}
	})
	return out, err
}

// markSum folds the second half of a mark, which no bucket number depends on,
// into a bucket's sum.
func markSum(m gossip.Mark) (h uint64) {
	for _, b := range m[8:] {
		h = h<<8 | uint64(b)
	}
	return h
}

func (r *Replica) marks(f func(key []byte, s *merge.Survivor, m gossip.Mark)) error {
	return r.state.rows.Rows(nil, func(key []byte, row []merge.Survivor) error {
		for i := range row {
			sum := row[i].Sum(key).Bytes()
			f(key, &row[i], gossip.Mark(sum[:len(gossip.Mark{})]))
		}
		return nil
	})
}

// intersect removes from some buckets what the peer, at an equal root, lacks:
// some branch of a closed lane killed it there. The peer is believed, and so a
// person is told how much went.
func (r *Replica) intersect(t gossip.Intersect) error {
	theirs := make(map[gossip.Mark]bool)
	listed := make(map[uint64]bool, len(t.Theirs))
	for _, b := range t.Theirs {
		listed[b.Index] = true
		for _, m := range b.Marks {
			theirs[m] = true
		}
	}
	type hit struct {
		key string
		dot clock.Dot
	}
	var hits []hit
	err := r.marks(func(key []byte, s *merge.Survivor, m gossip.Mark) {
		if listed[gossip.MarkBucket(m, t.Count)] && !theirs[m] {
			hits = append(hits, hit{string(key), s.Dot})
		}
	})
	if err != nil || len(hits) == 0 {
		return err
	}
	for _, h := range hits {
		if err := r.fold.Remove([]byte(h.key), func(d clock.Dot) bool { return d == h.dot }); err != nil {
			return err
		}
	}
	if err := r.apply(); err != nil {
		return err
	}
	r.raise("fork", fmt.Sprintf("%d values went that a branch of a closed lane had overwritten at peer %s", len(hits), t.Peer),
		"what that branch wrote instead is there; `rhizome log --lane` of the closed lane shows this node's own branch")
	r.machine.Joined()
	return nil
}
