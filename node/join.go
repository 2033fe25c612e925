package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/compaction"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/internal/plant"
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
	if !r.log.HasRoot(a.theirs, a.offer.Root) {
		return errMoved
	}
	if err := r.apply(); err != nil {
		return err
	}
	again, err := r.joinState(a)
	if err != nil {
		return fmt.Errorf("adopt state: %w: %w", errInvariant, err)
	}
	if err := r.joinRevivable(a); err != nil {
		return err
	}
	if len(again) > 0 {
		if err := r.writeAgain(again); err != nil {
			return fmt.Errorf("adopt state: %w: %w", errInvariant, err)
		}
	}
	// The commit point: all of it is in this batch.
	if err := r.apply(); err != nil {
		return err
	}
	r.states.adopted++
	r.endAdoption(a.from, a.pull, nil)
	return r.admitAll(r.log.Pending.ReleaseAll())
}

// joinState folds the peer's state into this one, and returns what is to be
// written again.
func (r *Replica) joinState(a *adoption) (again []rewrite, err error) {
	// What dies now died at a peer, under no horizon of ours: nothing of it is
	// kept for reads of the past. There may be more of it than memory holds, and so
	// its part of the digest is not left for later either.
	r.state.forget, r.fold.Late = true, false
	defer func() { r.state.forget, r.fold.Late = false, true }()
	for _, l := range slices.SortedFunc(maps.Keys(a.forsaken), clock.LaneID.Compare) {
		w, err := r.forsake(l, a.forsaken[l])
		if err != nil {
			return nil, err
		}
		again = append(again, w...)
	}
	for _, join := range []func(*adoption) error{r.joinMeanwhile, r.joinDead, r.joinStaged, r.joinVector} {
		if err := join(a); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// joinMeanwhile removes what was applied since the start and is dead there.
func (r *Replica) joinMeanwhile(a *adoption) error {
	if plant.Is(plant.JoinStale) {
		return nil
	}
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
			if err == nil && !a.unstaged[placedDot{string(key), dot}] {
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
	if plant.Is(plant.JoinKeeps) {
		return nil
	}
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
		at := placedDot{string(key), s.Dot}
		if s.Dot.Seq > a.theirs.Seq(s.Dot.Lane) || a.unstaged[at] || a.start.vector.Covers(s.Dot.Entry()) && !a.rivals[at] {
			return nil // of another offer, and not of this one
		}
		covered := r.log.Vector().Covers(s.Dot.Entry())
		if plant.Is(plant.JoinStale) {
			covered = a.start.vector.Covers(s.Dot.Entry())
		}
		if !covered || plant.Is(plant.JoinRevives) {
			return r.fold.Insert(key, *s)
		}
		return r.duel(key, s)
	})
	r.dropStaged()
	return err
}

// duel settles a dot that stands here with another row than there: the one of an
// entry that is held, and so signed, stays; else the greater sum. It takes an
// author that signed twice, unnoticed, or a server that lies.
func (r *Replica) duel(key []byte, s *merge.Survivor) error {
	if s.Dot.Seq > r.log.Floor(s.Dot.Lane) {
		return nil
	}
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
	// What lies below the horizon now is no newer than the newest signed head,
	// or than our own clock. A head that is dated far ahead must not keep reads
	// of the past from being made for ever.
	past := r.hlc.Last()
	for i := range jumps {
		past = max(past, min(jumps[i].Signed.Time, clock.TimestampAt(r.now+clock.MaxSkewMillis)))
	}
	r.state.past = max(r.state.past, past)
	// Nothing of the past is known for what came as state. What is kept of it
	// goes with the next truncation; a closing may need it until then.
	r.log.RaiseHorizon()
	r.state.erasDirty = true
	return nil
}

// joinRevivable keeps the dead incs that came.
func (r *Replica) joinRevivable(a *adoption) error {
	for i := range a.revivable {
		x := &a.revivable[i]
		row, err := r.state.Row(x.Key)
		if err != nil {
			return err
		}
		if a.theirs.Covers(x.Killer.Entry()) && !slices.ContainsFunc(row, func(s merge.Survivor) bool { return s.Dot == x.Dot }) {
			r.state.Bury(x.Key, x.Survivor, x.Killer)
		}
	}
	return nil
}

// astray returns the lanes of our own in which a peer has more than we wrote,
// and from where on what we wrote there cannot be what the peer has: this
// process wrote it, and no peer was known to hold it. Somebody else writes the
// lane too, on a copy of this repo that is no longer told from it, and the
// entries that would prove it are dropped.
func (r *Replica) astray(theirs *clock.Vector) map[clock.LaneID]uint64 {
	out := make(map[clock.LaneID]uint64)
	for l := range r.began { // each lane by itself: the order does not matter
		if at := r.unsentFrom(l); theirs.Seq(l) > r.log.Vector().Seq(l) && at > 0 {
			out[l] = at
		}
	}
	return out
}

// unsentFrom returns the first seq of a lane that this process wrote and no peer
// is known to hold, 0 where there is none.
func (r *Replica) unsentFrom(l clock.LaneID) uint64 {
	began, ok := r.began[l]
	at := max(began, r.machine.Held(l)+1)
	if !ok || at > r.log.Vector().Seq(l) {
		return 0
	}
	return at
}

// forsake takes back what this process wrote to a lane from a seq on, and
// returns what is to be written again in another. It is the closing of a fork
// that cannot be proved: only the lane's own author knows of it.
func (r *Replica) forsake(l clock.LaneID, at uint64) ([]rewrite, error) {
	r.retire(l)
	again, err := r.withdrawRows(l, at, r.log.Vector().Seq(l), nil, false)
	if err != nil {
		return nil, err
	}
	return again, r.log.Forsake(r.batch, l, at)
}
