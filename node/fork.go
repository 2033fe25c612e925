package node

import (
	"bytes"
	"errors"
	"fmt"
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
// they killed stays dead, and its author writes its own edits again elsewhere.
func (r *Replica) closeLane(from gossip.SessionID, p *oplog.Proof) error {
	if err := p.Verify(r.cfg.Space); err != nil {
		r.machine.ProofTaken(r.now, from, p, false, err)
		return nil
	}
	// The log reads what it moves from the store: all of it must be there.
	if err := r.apply(); err != nil {
		return err
	}
	taken, changed, err := r.log.Close(r.batch, p)
	if err != nil || !changed {
		return err
	}
	lane := p.Lane()
	own := p.Key.Author == r.author
	if r.Owns(lane) {
		r.signer = nil
	}
	var again []rewrite
	for _, e := range taken {
		if again, err = r.withdraw(e, own, again); err != nil {
			return err
		}
	}
	for _, e := range r.log.Pending.ReleaseLane(lane) {
		if _, err := r.admit(e); err != nil {
			return err
		}
	}
	// In one batch with the closing: a crash between the two would leave the
	// edits out for ever.
	if len(again) > 0 {
		if err := r.writeAgain(again, r.inherits(p, taken)); err != nil {
			return err
		}
	}
	if err := r.apply(); err != nil {
		return err
	}
	r.machine.ProofTaken(r.now, from, p, true, nil)
	return nil
}

// inherits reports whether this side of a fork carries on the counters' totals
// from before it: of the two branches, the one with the lesser first hash.
func (r *Replica) inherits(p *oplog.Proof, taken []*delta.Entry) bool {
	if len(taken) == 0 || taken[0].Seq != p.Seq() {
		return false
	}
	first, a, b := taken[0].Hash, p.A.First(), p.B.First()
	other := b
	if first == b {
		other = a
	}
	return bytes.Compare(first[:], other[:]) < 0
}

// rewrite is a survivor that its author writes again after a fork.
type rewrite struct {
	txn     clock.Dot
	creator string
	d       delta.Delta
	base    int64 // of an inc: the total from before the fork
	dead    bool  // of an inc: it was overwritten or dropped since
}

// withdraw takes an entry's survivors out of the state and, where it is our
// own, notes what is to be written again.
func (r *Replica) withdraw(e *delta.Entry, own bool, again []rewrite) ([]rewrite, error) {
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
			if own {
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
// all that stands: they kill nothing.
func (r *Replica) writeAgain(again []rewrite, inherit bool) error {
	w := r.newWriter()
	for len(again) > 0 {
		n := 1
		for n < len(again) && again[n].txn == again[0].txn {
			n++
		}
		group := again[:n]
		again = again[n:]
		_, err := w.txn(group[0].creator, func(t *txnWriter) error {
			for i := range group {
				if err := t.again(&group[i], inherit); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("write again: %w", err)
		}
	}
	return w.finish()
}

func (t *txnWriter) again(g *rewrite, inherit bool) error {
	if g.d.Verb != delta.Inc {
		return t.put(g.d)
	}
	inc, _ := g.d.Value.Inc()
	amount := inc.Amount
	if inherit {
		amount += g.base
	}
	if amount == 0 || g.dead {
		return nil
	}
	return t.inc(g.d.Entity, g.d.Path, amount)
}

// Buckets implements gossip.Replica: the sums of the state's buckets.
func (r *Replica) Buckets(n uint64) ([]uint64, error) {
	out := make([]uint64, n)
	err := r.marks(func(_ []byte, _ *merge.Survivor, m gossip.Mark) {
		out[gossip.MarkBucket(m, n)] += markSum(m)
	})
	return out, err
}

// Bucket implements gossip.Replica: the marks of one bucket.
func (r *Replica) Bucket(n, i uint64) (out []gossip.Mark, err error) {
	err = r.marks(func(_ []byte, _ *merge.Survivor, m gossip.Mark) {
		if gossip.MarkBucket(m, n) == i {
			out = append(out, m)
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

// intersect removes from a bucket what the peer, at an equal root, lacks: some
// branch of a closed lane killed it there.
func (r *Replica) intersect(t gossip.Intersect) error {
	theirs := make(map[gossip.Mark]bool, len(t.Theirs))
	for _, m := range t.Theirs {
		theirs[m] = true
	}
	type hit struct {
		key string
		s   merge.Survivor
	}
	var hits []hit
	err := r.marks(func(key []byte, s *merge.Survivor, m gossip.Mark) {
		if gossip.MarkBucket(m, t.Count) == t.Bucket && !theirs[m] {
			hits = append(hits, hit{string(key), *s})
		}
	})
	if err != nil || len(hits) == 0 {
		return err
	}
	var again []rewrite
	for _, h := range hits {
		if err := r.fold.Remove([]byte(h.key), func(d clock.Dot) bool { return d == h.s.Dot }); err != nil {
			return err
		}
		if w, ok, err := r.orphan([]byte(h.key), &h.s); err != nil {
			return err
		} else if ok {
			again = append(again, w)
		}
	}
	if len(again) > 0 { // in the same batch, as in closeLane
		if err := r.writeAgain(again, true); err != nil {
			return err
		}
	}
	if err := r.apply(); err != nil {
		return err
	}
	r.machine.Joined()
	return nil
}

// orphan reports a counter's total from before a fork of our own lane that the
// other branch's incs killed, and that it is on us to carry on.
func (r *Replica) orphan(key []byte, s *merge.Survivor) (w rewrite, ok bool, err error) {
	lane, known := r.log.Lanes.Key(s.Dot.Lane)
	if s.Verb != delta.Inc || !known || lane.Author != r.author {
		return w, false, nil
	}
	at, closed := r.log.ClosedAt(s.Dot.Lane)
	if !closed {
		return w, false, nil
	}
	p, err := r.log.Proof(s.Dot.Lane)
	if err != nil {
		return w, false, err
	}
	kept, err := r.log.Kept(r.db, clock.EntryID{Lane: s.Dot.Lane, Seq: at})
	if errors.Is(err, oplog.ErrNotFound) {
		return w, false, nil
	}
	if err != nil {
		return w, false, err
	}
	e := &delta.Entry{Header: kept.Header, Hash: delta.HashHeader(&kept.Header)}
	if !r.inherits(p, []*delta.Entry{e}) {
		return w, false, nil
	}
	entity, path, _, err := merge.ParseKey(key)
	if err != nil {
		return w, false, err
	}
	inc, _ := s.Value.Inc()
	w = rewrite{txn: s.Dot, creator: s.Creator, base: inc.Total}
	w.d = delta.Delta{Entity: entity, Path: path, Verb: delta.Inc, Value: delta.IncValue{}.Value()}
	return w, true, nil
}
