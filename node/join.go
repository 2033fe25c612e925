package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
)

// commitAdoption joins the peer's state into this one, in one batch.
func (r *Replica) commitAdoption(a *adoption) error {
	sum := a.ranges.Same.Plus(a.arrived)
	for _, s := range a.listed { // sums commute
		sum = sum.Plus(s)
	}
	if sum != a.offer.Digest {
		return fmt.Errorf("%w: it has the digest %v, not %v as was offered", compaction.ErrRefused, sum, a.offer.Digest)
	}
	if r.log.Root().Minus(r.log.Vector().Root()) != a.offer.Root.Minus(a.theirs.Root()) {
		return errMoved
	}
	if err := r.apply(); err != nil {
		return err
	}
	// What dies now died at a peer, under no horizon of ours: nothing of it is
	// kept for reads of the past.
	r.state.forget = true
	defer func() { r.state.forget = false }()
	for _, join := range []func(*adoption) error{r.joinMeanwhile, r.joinDead, r.joinStaged, r.joinVector} {
		if err := join(a); err != nil {
			return fmt.Errorf("adopt state: %w: %w", errInvariant, err)
		}
	}
	// The commit point: all of it is in this batch.
	if err := r.apply(); err != nil {
		return err
	}
	r.step.Freed = true
	r.endAdoption(a.from, a.pull, nil)
	return r.admitAll(r.log.Pending.ReleaseAll())
}

// joinMeanwhile removes what was applied since the start and is dead there.
func (r *Replica) joinMeanwhile(a *adoption) error {
	for _, l := range a.start.lanes {
		from, to := a.start.vector.Seq(l), min(r.log.Vector().Seq(l), a.theirs.Seq(l))
		if from >= to {
			continue
		}
		for rec, err := range r.log.Lane(r.db, l, from+1) {
			if err != nil {
				return err
			}
			if rec.Seq > to {
				break
			}
			e, err := rec.Entry()
			if err != nil {
				return err
			}
			if err := r.joinEntry(a, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Replica) joinEntry(a *adoption, e *delta.Entry) error {
	index := 0
	for i := range e.Body.Txns {
		x := &e.Body.Txns[i]
		for j := range x.Deltas {
			d, dot := &x.Deltas[j], e.Dot(index)
			index++
			if !d.Verb.Survives() {
				continue
			}
			key := merge.AppendKey(nil, d.Entity, d.Path, delta.TagOf(e.Lane, x.Creator, d))
			_, err := r.db.Get(r.state.stageKey(key, dot))
			if err == nil && !a.unstaged[dot] {
				continue // it lives there
			}
			if err != nil && !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			if err := r.fold.Remove(key, func(o clock.Dot) bool { return o == dot }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Replica) joinDead(a *adoption) error {
	for _, x := range a.dead {
		if err := r.fold.Remove([]byte(x.key), func(o clock.Dot) bool { return o == x.dot }); err != nil {
			return err
		}
	}
	return nil
}

// joinStaged adds the rows that this side has not applied.
func (r *Replica) joinStaged(a *adoption) error {
	err := r.state.stagedRows(func(key []byte, s *merge.Survivor) error {
		if s.Dot.Seq > a.theirs.Seq(s.Dot.Lane) || a.unstaged[s.Dot] {
			return nil
		}
		if !r.log.Vector().Covers(s.Dot.Entry()) {
			return r.fold.Insert(key, *s)
		}
		return r.duel(key, s)
	})
	lo := r.state.key(kindStaged, nil)
	r.batch.DeleteRange(lo, storage.PrefixEnd(lo))
	return err
}

// duel settles a dot that stands here with another row than there: the greater
// sum stays. It takes an author that signed twice, unnoticed.
func (r *Replica) duel(key []byte, s *merge.Survivor) error {
	row, err := r.state.Row(key)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(row, func(o merge.Survivor) bool { return o.Dot == s.Dot })
	if i < 0 || !sumLess(row[i].Sum(key), s.Sum(key)) {
		return nil
	}
	if err := r.fold.Remove(key, func(o clock.Dot) bool { return o == s.Dot }); err != nil {
		return err
	}
	return r.fold.Insert(key, *s)
}

// joinVector takes over the peer's vector where it is ahead.
func (r *Replica) joinVector(a *adoption) error {
	var jumps []oplog.Jump
	for i := range a.offer.Lanes {
		l := &a.offer.Lanes[i]
		if l.Ahead && l.Head.Seq > r.log.Vector().Seq(l.ID) {
			r.retire(l.ID) // a lane of our own that is ahead of us is left
			jumps = append(jumps, l.Jump)
		}
	}
	tips := make([]clock.LaneHead, len(a.offer.Tips))
	for i, t := range a.offer.Tips {
		tips[i] = clock.LaneHead{Lane: t.Lane, Head: a.theirs.Head(t.Lane)}
	}
	if err := r.log.Adopt(r.batch, jumps, tips, a.theirs.Covers, r.now); err != nil {
		return err
	}
	r.hlc.Observe(a.offer.Time, r.now)
	r.state.past = max(r.state.past, a.offer.Time, r.hlc.Last())
	// Nothing of the past is known for what came as state.
	r.log.RaiseHorizon()
	r.newEra()
	r.dropEras(len(r.state.eras) - 1)
	return nil
}
