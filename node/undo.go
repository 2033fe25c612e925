package node

import (
	"bytes"
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
	at, err := t.r.locate(dots[0])
	if err != nil {
		return err
	}
	within := func(d clock.Dot) bool {
		return d.Lane == at.entry.Lane && d.Seq == at.entry.Seq &&
			d.Index >= at.first && d.Index < at.first+uint32(len(at.txn.Deltas))
	}
	skipped := map[string]bool{}
	for i := range at.txn.Deltas {
		d := &at.txn.Deltas[len(at.txn.Deltas)-1-i] // the last first
		dot := at.entry.Dot(int(at.first) + len(at.txn.Deltas) - 1 - i)
		ok, err := t.undoDelta(at, d, dot, within)
		if err != nil {
			return err
		}
		if key := delta.Key(d.Entity, d.Path); !ok && !skipped[key] {
			skipped[key] = true
			rec.Skipped = append(rec.Skipped, key)
		}
	}
	if len(t.deltas) == 0 {
		return fmt.Errorf("%w: all that %v wrote was changed since", ErrConflict, dots[0])
	}
	return nil
}

// undoDelta undoes one delta. ok is false where its key changed since.
func (t *txnWriter) undoDelta(at located, d *delta.Delta, dot clock.Dot, within func(clock.Dot) bool) (ok bool, err error) {
	if d.Verb == delta.Inc {
		return t.undoInc(at, d)
	}
	prior, err := t.r.overwritten(at, d, dot, within)
	if err != nil {
		return false, err
	}
	if !d.Verb.Survives() {
		return t.restore(prior)
	}
	tag := delta.TagOf(at.entry.Lane, at.txn.Creator, d)
	key := merge.AppendKey(nil, d.Entity, d.Path, tag)
	row, err := t.r.state.Row(key)
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(row, func(s merge.Survivor) bool { return s.Dot == dot }) {
		// What the same transaction overwrote itself is in nobody's way.
		_, own, err := t.r.state.buried(key, dot, within)
		if err != nil || !own || len(prior) == 0 {
			return own, err
		}
		return t.restore(prior)
	}
	if err := t.put(merge.PlanNegate(d.Entity, d.Path, tag, []clock.Dot{dot})); err != nil {
		return false, err
	}
	return t.reassert(prior)
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
	creator     string
	row         []byte
	dots        []clock.Dot // the dead that it stands for, in the row
}

// reassert writes priors, and notes beside each that it did: a negation of the
// dead dots, which changes nothing and tells the next undo, on every replica,
// that they were brought back. A vote is its creator's to give: ok is false
// where it is somebody else's.
func (t *txnWriter) reassert(all []prior) (ok bool, err error) {
	ok = true
	for i := range all {
		p := &all[i]
		if p.Verb == delta.Vote && p.creator != t.origin.Creator {
			ok = false
			continue
		}
		if p.Verb == delta.Inc {
			inc, _ := p.Value.Inc()
			err = t.inc(p.Entity, p.Path, inc.Amount)
		} else {
			err = t.put(p.Delta)
		}
		if err != nil {
			return false, err
		}
		entity, path, tag, err := merge.ParseKey(p.row)
		if err != nil {
			return false, err
		}
		if err := t.put(merge.PlanNegate(entity, path, tag, p.dots)); err != nil {
			return false, err
		}
	}
	return ok, nil
}

// restore re-asserts values where nothing stands in their way. They kill
// nothing.
func (t *txnWriter) restore(all []prior) (ok bool, err error) {
	var free []prior
	for i := range all {
		vacant, err := t.vacant(&all[i].Delta)
		if err != nil {
			return false, err
		}
		if vacant {
			free = append(free, all[i])
		}
	}
	done, err := t.reassert(free)
	return done && len(free) == len(all) && len(all) > 0, err
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
		lo := r.state.key(kindDead, scope)
		keys := len(r.state.prefix) + 1
		for kv, err := range r.db.Scan(lo, storage.PrefixEnd(lo)) {
			if err != nil {
				return nil, fmt.Errorf("undo: %w", err)
			}
			row := kv.Key[keys : len(kv.Key)-dotBytes]
			if exact && !bytes.Equal(row, scope) {
				continue
			}
			killer, s, err := r.state.parseDead(kv.Value)
			if err != nil {
				return nil, err
			}
			if killer != dot || within(s.Dot) || !k.Hits(s.Dot) {
				continue
			}
			others, err := r.state.killedElse(row, s.Dot, within)
			if err != nil {
				return nil, err
			}
			if !others {
				p, err := priorOf(row, &s)
				if err != nil {
					return nil, err
				}
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// priorOf returns what re-asserts a dead survivor. Of a counter it is the
// lane's total.
func priorOf(row []byte, s *merge.Survivor) (p prior, err error) {
	entity, path, _, err := merge.ParseKey(row)
	if err != nil {
		return p, err
	}
	p = prior{creator: s.Creator, row: bytes.Clone(row), dots: []clock.Dot{s.Dot}}
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
func (v *rows) killedElse(row []byte, d clock.Dot, within func(clock.Dot) bool) (found bool, err error) {
	err = prefixes(row, func(scope []byte) {
		if found || err != nil {
			return
		}
		lo := v.killScope(scope)
		for kv, scanErr := range v.r.Scan(lo, storage.PrefixEnd(lo)) {
			if scanErr != nil {
				err = scanErr
				return
			}
			killer, _, dotErr := v.parseDot(kv.Key[len(kv.Key)-dotBytes:])
			if dotErr != nil {
				err = dotErr
				return
			}
			if within(killer) {
				continue
			}
			k, parseErr := v.parseKill(kv.Value)
			if parseErr != nil {
				err = parseErr
				return
			}
			if k.Hits(d) {
				found = true
				return
			}
		}
	})
	return found, err
}

// buried returns a dead survivor of a row that nothing killed but what within
// says.
func (v *rows) buried(row []byte, d clock.Dot, within func(clock.Dot) bool) (s merge.Survivor, ok bool, err error) {
	b, err := v.r.Get(v.appendDot(v.key(kindDead, row), d))
	if errors.Is(err, storage.ErrNotFound) {
		return s, false, nil
	}
	if err != nil {
		return s, false, fmt.Errorf("read dead row: %w", err)
	}
	killer, s, err := v.parseDead(b)
	if err != nil || !within(killer) {
		return s, false, err
	}
	others, err := v.killedElse(row, d, within)
	return s, err == nil && !others, err
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
