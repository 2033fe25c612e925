package schema

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A Violation is what a writer must not write.
type Violation struct {
	Key      string // the offending path, with its entity
	Property string // the id of the property; empty where it is about none
	Text     string
}

// Error tells the place and what is wrong there.
func (v *Violation) Error() string {
	if v.Property == "" {
		return v.Key + ": " + v.Text
	}
	return fmt.Sprintf("%s: property %q: %s", v.Key, v.Property, v.Text)
}

// Admit says whether one local transaction may do to an entity what its deltas
// do; v shows the state with the deltas applied. What a peer wrote is never
// asked about. Only what the transaction touches is judged: what was against
// the schema before does not stand in the way of other writes. The error is a
// *Violation, or that of v.
func (c *Compiled) Admit(v merge.View, entity string, deltas []delta.Delta) error {
	a := admission{c: c, view: v, entity: entity}
	for i := range deltas {
		d := &deltas[i]
		if d.Entity != entity {
			continue
		}
		a.deltas = append(a.deltas, d)
		if err := a.delta(d); err != nil {
			return err
		}
	}
	for _, t := range a.touched {
		if err := a.whole(t); err != nil {
			return err
		}
	}
	return a.complete()
}

// An admission is one call of Admit.
type admission struct {
	c       *Compiled
	view    merge.View
	entity  string
	deltas  []*delta.Delta
	touched []touched
}

// A touched property is checked as it reads after the transaction.
type touched struct {
	property int
	path     delta.Path
}

func (a *admission) touch(property int, p delta.Path) {
	if !a.c.Schema.Properties[property].typed() {
		return
	}
	if t := (touched{property, p}); !slices.Contains(a.touched, t) {
		a.touched = append(a.touched, t)
	}
}

func (a *admission) violation(p *Property, at delta.Path, format string, args ...any) error {
	v := &Violation{Key: delta.Key(a.entity, at), Text: fmt.Sprintf(format, args...)}
	if p != nil {
		v.Property = p.ID
	}
	return v
}

// delta judges one delta by itself.
func (a *admission) delta(d *delta.Delta) error {
	where, i, size := a.c.built.tree.find(d.Path)
	if !d.Verb.Survives() {
		if where == within && size < len(d.Path) {
			a.touch(i, d.Path[:size])
		}
		return nil
	}
	if in, step, _ := a.c.retired.find(d.Path); in == within {
		return a.violation(nil, d.Path, "%s", a.c.movedText(d.Path, step))
	}
	if where == within {
		return a.property(d, i, size)
	}
	if d.Verb != delta.Assign {
		if p := a.c.below(d.Path); p != nil {
			return a.violation(nil, d.Path, "takes no %v: %s", d.Verb, a.c.aboveText(p))
		}
		if a.c.Schema.Closed {
			return a.violation(nil, d.Path, "is no property of schema %s, which takes no others", a.c.Schema)
		}
		return nil
	}
	value, err := d.Value.Any()
	if err != nil {
		return a.violation(nil, d.Path, "%v", err)
	}
	w := walk{c: a.c, limit: 1}
	w.value(d.Path, value)
	if len(w.found) > 0 {
		return a.violation(w.found[0].property, w.found[0].path, "%s", w.found[0].text)
	}
	return nil
}

// delta returns the verb of the deltas that write a property.
func (v Verb) delta() delta.Verb {
	switch v {
	case Bag:
		return delta.Add
	case Ballot:
		return delta.Vote
	case Counter:
		return delta.Inc
	}
	return delta.Assign
}

// property judges a delta at a property's path or below it.
func (a *admission) property(d *delta.Delta, i, size int) error {
	p := &a.c.Schema.Properties[i]
	below := size < len(d.Path)
	switch {
	case p.Computed:
		return a.violation(p, d.Path, "is computed from other properties and cannot be written")
	case below && p.Verb != Register, !below && p.Verb.delta() != d.Verb:
		return a.violation(p, d.Path, "%s", p.Verb.hint())
	case below, p.Verb == Counter:
		a.touch(i, d.Path[:size])
		return nil
	}
	value, err := d.Value.Any()
	if err != nil {
		return a.violation(p, d.Path, "%v", err)
	}
	if in, _, _ := a.c.retired.find(d.Path); in == above {
		w := walk{c: a.c, limit: 1}
		if w.retired(d.Path, value) {
			return a.violation(nil, w.found[0].path, "%s", w.found[0].text)
		}
	}
	if f := a.c.built.types[i].check(value); f != nil {
		return a.violation(p, d.Path+f.at, "%s", f.text)
	}
	return nil
}

// whole judges a property as it reads after the transaction: an object that
// stands leaf by leaf, or the total of a counter.
func (a *admission) whole(t touched) error {
	view, err := a.migrated(t.path)
	if err != nil {
		return err
	}
	r, found, err := merge.Read(view, a.entity, t.path)
	if err != nil || !found {
		return err
	}
	if f := a.c.built.types[t.property].check(r.Value); f != nil {
		return a.violation(&a.c.Schema.Properties[t.property], t.path+f.at, "%s", f.text)
	}
	return nil
}

// migrated returns a view that shows what is read at a path, wherever it was
// written. Where nothing comes from elsewhere it is the view itself.
func (a *admission) migrated(p delta.Path) (merge.View, error) {
	origins := a.c.mover.origins(p)
	if len(origins) == 1 {
		return a.view, nil
	}
	state := &merge.MemState{}
	fold := merge.Fold{State: state}
	for _, o := range origins {
		err := a.view.Rows(merge.AppendPrefix(nil, a.entity, o), func(key []byte, row []merge.Survivor) error {
			for i := range row {
				if err := a.c.moveSurvivor(&fold, key, row[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return state, nil
}

// moveSurvivor adds a survivor where it is read. One that a migration cannot
// move is an error to readers; here it is left out.
func (c *Compiled) moveSurvivor(to *merge.Fold, key []byte, s merge.Survivor) error {
	entity, p, tag, err := merge.ParseKey(key)
	if err != nil {
		return err
	}
	value, err := valueOf(&s)
	if err != nil {
		return err
	}
	moved, failed := c.mover.move(p, value)
	if failed != nil {
		return nil
	}
	for _, m := range moved {
		// What is only moved keeps its bytes: an inc is no value.
		if v, err := delta.ValueOf(m.Value); err == nil && s.Verb != delta.Inc {
			s.Value = v
		}
		if err := to.Insert(merge.AppendKey(nil, entity, m.Path, tag), s); err != nil {
			return err
		}
	}
	return nil
}

// valueOf returns a survivor's value as readers are given it.
func valueOf(s *merge.Survivor) (any, error) {
	if inc, ok := s.Value.Inc(); ok && s.Verb == delta.Inc {
		return inc.Total, nil
	}
	return s.Value.Any()
}

// errStop ends a walk through rows that has seen enough.
var errStop = errors.New("seen enough")

// rows calls f for each row with a prefix until it returns false.
func (a *admission) rows(prefix []byte, f func(key []byte, row []merge.Survivor) (bool, error)) error {
	err := a.view.Rows(prefix, func(key []byte, row []merge.Survivor) error {
		more, err := f(key, row)
		if err == nil && !more {
			return errStop
		}
		return err
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// complete judges whether the entity, if it is still there, has the required
// properties that the transaction is answerable for: all of an entity that it
// made but the ballots, else those that it took something away from. A vote is of
// one creator, and so comes in a transaction of its own, after the entity.
func (a *admission) complete() error {
	if len(a.c.required) == 0 || len(a.deltas) == 0 {
		return nil
	}
	here, made, err := a.created()
	if err != nil || !here {
		return err
	}
	for _, r := range a.c.required {
		p := &a.c.Schema.Properties[r.property]
		if made && p.Verb == Ballot || !made && !a.removes(r) {
			continue
		}
		has, err := a.has(r)
		if err != nil {
			return err
		}
		if !has {
			return a.violation(p, p.Path, "is required")
		}
	}
	return nil
}

// removes reports whether the transaction may have taken something from a
// property away. An assignment kills what stands below its path, and the objects
// written whole above it.
func (a *admission) removes(r requirement) bool {
	for _, d := range a.deltas {
		for i := range d.Kills {
			at := d.Path
			if d.Kills[i].Scope == delta.ScopePath {
				at = d.Kills[i].Path
			}
			for _, o := range r.origins {
				if overlap(at, o) && (!d.Verb.Survives() || len(at) < len(o)) {
					return true
				}
			}
		}
	}
	return false
}

// created reports whether the entity is there, and whether the transaction made
// it: all that is there is its own, and it killed nothing but that. It looks at
// no more survivors than the transaction has deltas, and one.
func (a *admission) created() (here, made bool, err error) {
	left := make(map[delta.Path][]*delta.Delta, len(a.deltas))
	for _, d := range a.deltas {
		left[d.Path] = append(left[d.Path], d)
	}
	var own merge.Survivor // one of the transaction's
	made = true
	err = a.rows(merge.AppendPrefix(nil, a.entity, ""), func(key []byte, row []merge.Survivor) (bool, error) {
		_, p, _, err := merge.ParseKey(key)
		if err != nil {
			return false, err
		}
		for i := range row {
			here = true
			k := slices.IndexFunc(left[p], func(d *delta.Delta) bool {
				return d.Verb == row[i].Verb && bytes.Equal(d.Value, row[i].Value)
			})
			if k < 0 {
				made = false
				return false, nil
			}
			own = row[i]
			left[p] = slices.Delete(left[p], k, k+1)
		}
		return true, nil
	})
	return here, made && here && !a.killsOthers(own), err
}

// killsOthers reports whether the transaction killed what was there before it.
func (a *admission) killsOthers(own merge.Survivor) bool {
	for _, d := range a.deltas {
		for i := range d.Kills {
			for _, dot := range slices.Concat(d.Kills[i].Dots, d.Kills[i].Bounds) {
				if dot.Lane != own.Dot.Lane || dot.Seq != own.Dot.Seq || dot.Index < own.Txn {
					return true
				}
			}
		}
	}
	return false
}

// has reports whether a required property has a value.
func (a *admission) has(r requirement) (bool, error) {
	p := a.c.Schema.Properties[r.property].Path
	found := false
	look := func(key []byte, row []merge.Survivor) (bool, error) {
		_, at, _, err := merge.ParseKey(key)
		for i := 0; i < len(row) && err == nil && !found; i++ {
			found, err = a.c.shows(at, &row[i], p)
		}
		return !found, err
	}
	for _, o := range r.origins {
		if err := a.rows(merge.AppendPrefix(nil, a.entity, o), look); err != nil || found {
			return found, err
		}
		for _, up := range o.Ancestors() {
			row, err := a.view.Row(merge.AppendKey(nil, a.entity, up, ""))
			if err != nil {
				return false, err
			}
			if _, err := look(merge.AppendExact(nil, a.entity, up), row); err != nil || found {
				return found, err
			}
		}
	}
	return false, nil
}

// shows reports whether a survivor gives the property at a path a value.
func (c *Compiled) shows(at delta.Path, s *merge.Survivor, p delta.Path) (bool, error) {
	if c.mover == nil && len(at) >= len(p) {
		return true, nil // at or below the path, and not moved
	}
	value, err := valueOf(s)
	if err != nil {
		return false, err
	}
	moved := []merge.Moved{{Path: at, Value: value}}
	if c.mover != nil {
		var failed error
		if moved, failed = c.mover.move(at, value); failed != nil {
			return false, nil // readers are shown the error, and no value
		}
	}
	for _, m := range moved {
		if _, below := cutPath(m.Path, p); below || m.Path == p {
			return true, nil
		}
		if rest, ok := cutPath(p, m.Path); ok && holds(m.Value, rest) {
			return true, nil
		}
	}
	return false, nil
}
