package node

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/storage"
)

// undo writes back what a transaction overwrote, as new deltas: kills are for
// ever. A key that changed since is left alone and reported.
func (t *txnWriter) undo(dots []clock.Dot, rec *Receipt) error {
	if len(dots) != 1 {
		return fmt.Errorf("%w: undo names one dot of a transaction", ErrInvalid)
	}
	if d := dots[0]; d.Seq > 0 && d.Seq <= t.r.log.HorizonOf(d.Lane) {
		return fmt.Errorf("%w: %v cannot be undone: what it overwrote is no longer kept", ErrHorizon, d)
	}
	at, err := t.r.locate(dots[0])
	if err != nil {
		return err
	}
	within := func(d clock.Dot) bool {
		return d.Lane == at.entry.Lane && d.Seq == at.entry.Seq &&
			d.Index >= at.first && d.Index < at.first+uint32(len(at.txn.Deltas))
	}
	var steps []*undoStep
	for i := len(at.txn.Deltas) - 1; i >= 0; i-- { // the last first
		step, err := t.undoDelta(at, &at.txn.Deltas[i], at.entry.Dot(int(at.first)+i), within)
		if err != nil {
			return err
		}
		steps = append(steps, step)
	}
	if err := t.restore(steps); err != nil {
		return err
	}
	for _, s := range steps {
		if !s.done && !slices.Contains(rec.Skipped, s.key) {
			rec.Skipped = append(rec.Skipped, s.key)
		}
	}
	if len(t.deltas) == 0 {
		return fmt.Errorf("%w: all that %v wrote was changed since", ErrConflict, dots[0])
	}
	return nil
}

// An undoStep is what undoing one delta comes to, beside what was negated already.
type undoStep struct {
	key    string
	done   bool // nothing of it changed since, so far
	priors []prior
	// vacant says that a prior is restored only where no value stands in its way.
	vacant bool
}

// undoDelta undoes one delta, but for what it overwrote.
func (t *txnWriter) undoDelta(at located, d *delta.Delta, dot clock.Dot, within func(clock.Dot) bool) (step *undoStep, err error) {
	step = &undoStep{key: delta.Key(d.Entity, d.Path)}
	if d.Verb == delta.Inc {
		step.done, err = t.undoInc(at, d)
		return step, err
	}
	if step.priors, err = t.r.overwritten(at, d, dot, within); err != nil {
		return nil, err
	}
	if !d.Verb.Survives() {
		step.done, step.vacant = len(step.priors) > 0, true
		return step, nil
	}
	tag := delta.TagOf(at.entry.Lane, at.txn.Creator, d)
	key := merge.AppendKey(nil, d.Entity, d.Path, tag)
	row, err := t.r.state.Row(key)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(row, func(s merge.Survivor) bool { return s.Dot == dot }) {
		// What the same transaction overwrote itself is in nobody's way.
		_, own, err := t.r.state.buried(key, dot, within)
		if !own {
			step.priors = nil
		}
		step.done, step.vacant = own, true
		return step, err
	}
	step.done = true
	return step, t.put(merge.PlanNegate(d.Entity, d.Path, tag, []clock.Dot{dot}))
}

// undoInc adds the inverse, if the lane's total still stands.
func (t *txnWriter) undoInc(at located, d *delta.Delta) (ok bool, err error) {
	row, err := t.r.state.Row(merge.AppendKey(nil, d.Entity, d.Path, delta.TagOf(at.entry.Lane, at.txn.Creator, d)))
	if err != nil || len(row) == 0 {
		return false, err // it was dropped since
	}
	inc, _ := d.Value.Inc()
	if inc.Amount == math.MinInt64 {
		return false, fmt.Errorf("%w: %s: the inverse of %d is past int64", ErrInvalid, delta.Key(d.Entity, d.Path), inc.Amount)
	}
	return true, t.inc(d.Entity, d.Path, -inc.Amount)
}

// A prior is a value that was overwritten and is to stand again.
type prior struct {
	delta.Delta // without kills
	was         merge.Survivor
	row         []byte
	dots        []clock.Dot // the dead that it stands for, in the row
}

// restore writes the priors of all steps, in the order in which they were written
// once: where several are read at one place, the newest is shown again. What
// nothing may stand in the way of is looked at before the first of them is there.
func (t *txnWriter) restore(steps []*undoStep) error {
	type one struct {
		*prior
		of *undoStep
	}
	var all []one
	for _, s := range steps {
		for i := range s.priors {
			p := &s.priors[i]
			free, err := true, error(nil)
			if s.vacant {
				free, err = t.vacant(&p.Delta)
			}
			if err != nil {
				return err
			}
			if !free {
				s.done = false
				continue
			}
			all = append(all, one{p, s})
		}
	}
	slices.SortStableFunc(all, func(a, b one) int { return cmp.Or(cmp.Compare(a.was.Time, b.was.Time), a.was.Dot.Compare(b.was.Dot)) })
	for _, x := range all {
		if x.Verb == delta.Vote && x.was.Creator != t.origin.Creator {
			x.of.done = false // a vote is its creator's to give
			continue
		}
		if err := t.reassert(x.prior); err != nil {
			return err
		}
	}
	return nil
}

// reassert writes a prior, and notes beside it that it did: a negation of the dead
// dots, which changes nothing and tells the next undo, on every replica, that they
// were brought back.
func (t *txnWriter) reassert(p *prior) error {
	var err error
	if p.Verb == delta.Inc {
		inc, _ := p.Value.Inc()
		err = t.inc(p.Entity, p.Path, inc.Amount)
	} else {
		err = t.put(p.Delta)
	}
	if err != nil {
		return err
	}
	entity, path, tag, err := merge.ParseKey(p.row)
	if err != nil {
		return err
	}
	return t.put(merge.PlanNegate(entity, path, tag, p.dots))
}

// vacant reports whether no value stands where one is to be restored. Bags and
// ballots hold many, and are never in the way.
func (t *txnWriter) vacant(d *delta.Delta) (bool, error) {
	if d.Verb != delta.Assign {
		return true, nil
	}
	plan, err := merge.PlanAssign(t.r.state, d.Entity, d.Path, d.Value)
	return len(plan.Kills) == 0, err
}

// overwritten returns, as deltas without kills, what a delta killed first and
// nothing outside its transaction killed too.
func (r *Replica) overwritten(at located, d *delta.Delta, dot clock.Dot, within func(clock.Dot) bool) ([]prior, error) {
	var out []prior
	own := delta.TagOf(at.entry.Lane, at.txn.Creator, d)
	for i := range d.Kills {
		k := &d.Kills[i]
		scope, exact := merge.Scope(d, own, k)
		err := r.state.deadIn(r.state.eras, scope, func(row []byte, killer clock.Dot, s *merge.Survivor) error {
			if exact && !bytes.Equal(row, scope) || killer != dot || within(s.Dot) || !k.Hits(s.Dot) {
				return nil
			}
			others, err := r.state.killedElse(row, s.Dot, within)
			if err != nil || others {
				return err
			}
			p, err := priorOf(row, s)
			out = append(out, p)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("undo: %w", err)
		}
	}
	return out, nil
}

// deadIn calls f for each dead row in a scope, with what killed it first.
func (v *rows) deadIn(all eras, scope []byte, f func(row []byte, killer clock.Dot, s *merge.Survivor) error) error {
	for _, e := range all {
		lo := v.inEra(kindDead, e.number, scope)
		keys := len(lo) - len(scope)
		for kv, err := range v.r.Scan(lo, storage.PrefixEnd(lo)) {
			if err != nil {
				return fmt.Errorf("scan dead rows: %w", err)
			}
			if len(kv.Key) < keys+dotBytes {
				return fmt.Errorf("dead row %x: %w", kv.Key, storage.ErrCorrupt)
			}
			killer, s, err := v.parseDead(kv.Value)
			if err != nil {
				return err
			}
			if err := f(kv.Key[keys:len(kv.Key)-dotBytes], killer, &s); err != nil {
				return err
			}
		}
	}
	return nil
}

// priorOf returns what re-asserts a dead survivor. Of a counter it is the
// lane's total.
func priorOf(row []byte, s *merge.Survivor) (p prior, err error) {
	entity, path, _, err := merge.ParseKey(row)
	if err != nil {
		return p, err
	}
	p = prior{was: *s, row: bytes.Clone(row), dots: []clock.Dot{s.Dot}}
	p.Delta = delta.Delta{Entity: entity, Path: path, Verb: s.Verb, Value: append(delta.Value(nil), s.Value...)}
	if inc, ok := s.Value.Inc(); ok && s.Verb == delta.Inc {
		p.Value = delta.IncValue{Amount: inc.Total, Total: inc.Total}.Value()
	}
	return p, nil
}

func (v *rows) parseDead(b []byte) (killer clock.Dot, s merge.Survivor, err error) {
	killer, rest, err := v.parseDot(b)
	if err != nil {
		return killer, s, fmt.Errorf("dead row: %w", err)
	}
	row, err := merge.ParseRow(bytes.Clone(rest), v.lanes)
	if err != nil || len(row) != 1 {
		return killer, s, fmt.Errorf("dead row: %w", storage.ErrCorrupt)
	}
	return killer, row[0], nil
}

// killedElse reports whether some kept kill from outside a transaction names
// the dot in the row.
func (s *state) killedElse(row []byte, d clock.Dot, within func(clock.Dot) bool) (found bool, err error) {
	err = s.killsOf(s.eras, row, func(killer clock.Dot, k *delta.Kill) bool {
		found = !within(killer) && k.Hits(d)
		return !found
	})
	return found, err
}

// killsOf calls f with each kept kill that reaches a row, until f returns false.
func (v *rows) killsOf(all eras, row []byte, f func(killer clock.Dot, k *delta.Kill) bool) (err error) {
	done := false
	one := func(era uint32, scope []byte) error {
		return v.killsIn(era, scope, func(killer clock.Dot, k *delta.Kill, exact bool) bool {
			if !exact || len(scope) == len(row) { // else of another row alone
				done = !f(killer, k)
			}
			return !done
		})
	}
	scopes := merge.Prefixes(row, func(scope []byte) {
		for _, e := range all {
			if !done && err == nil {
				err = one(e.number, scope)
			}
		}
	})
	return errors.Join(err, scopes)
}

// killsIn calls f with each kill that an era keeps for a scope, until f returns
// false. One that is exact reaches only the row whose key is the scope.
func (v *rows) killsIn(era uint32, scope []byte, f func(killer clock.Dot, k *delta.Kill, exact bool) bool) error {
	lo := v.killScope(era, scope)
	for kv, err := range v.r.Scan(lo, storage.PrefixEnd(lo)) {
		if err != nil {
			return fmt.Errorf("scan kept kills: %w", err)
		}
		if len(kv.Key) != len(lo)+dotBytes {
			continue // of a longer scope
		}
		killer, _, err := v.parseDot(kv.Key[len(lo):])
		if err != nil {
			return err
		}
		k, err := v.parseKill(kv.Value)
		if err != nil {
			return err
		}
		if !f(killer, &k, kv.Value[0] == 1) {
			return nil
		}
	}
	return nil
}

// buried returns a dead survivor of a row that nothing killed but what within
// says.
func (s *state) buried(row []byte, d clock.Dot, within func(clock.Dot) bool) (dead merge.Survivor, ok bool, err error) {
	for _, e := range s.eras {
		b, err := s.r.Get(s.appendDot(s.inEra(kindDead, e.number, row), d))
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return dead, false, fmt.Errorf("read dead row: %w", err)
		}
		killer, dead, err := s.parseDead(b)
		if err != nil || !within(killer) {
			return dead, false, err
		}
		others, err := s.killedElse(row, d, within)
		return dead, err == nil && !others, err
	}
	return dead, false, nil
}

func (v *rows) parseKill(b []byte) (k delta.Kill, err error) {
	bad := fmt.Errorf("kept kill: %w", storage.ErrCorrupt)
	if len(b) == 0 {
		return k, bad
	}
	b = b[1:]
	for _, p := range []*[]clock.Dot{&k.Dots, &k.Bounds} {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)/dotBytes) {
			return k, bad
		}
		b = b[w:]
		for ; n > 0; n-- {
			var d clock.Dot
			if d, b, err = v.parseDot(b); err != nil {
				return k, bad
			}
			*p = append(*p, d)
		}
	}
	return k, nil
}
