package node

import (
	"bytes"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A schema may have survivors read elsewhere than where they stand. What writes a
// property plans its kills at the place where it is read; a migration kills first
// what is read there and stands elsewhere. Of a survivor that is read at other
// places too, as the parts of a split are, those are written anew. After that the
// property stands where it is read.
//
// The other way round, what stands where something is written or removed may be
// read elsewhere. Then all that is read there is killed one by one, and the rest
// is left.
type migration struct {
	t      *txnWriter
	entity string
	rules  *merge.Rules
	// takes reports whether what is about to be written takes the place of a
	// survivor that is read there.
	takes func(*merge.Place) bool
	// leave reports whether a survivor that stands at a path is left to what is
	// about to be written.
	leave func(delta.Path) bool

	dead []merge.Standing
	kept []merge.Place // where the dead are read, too
}

// moves reports whether a schema has survivors of an entity read elsewhere than
// where they stand.
func (t *txnWriter) moves(entity string) bool {
	rules := t.r.guard.catalog.Rules(entity)
	return rules != nil && len(rules.Moves) > 0
}

// migratePut makes way for assignments at some paths. Alone says that they are to
// leave what stands above and below them.
func (t *txnWriter) migratePut(entity string, leaves []delta.Leaf) (alone bool, err error) {
	if !t.moves(entity) {
		return false, nil
	}
	at := make(map[delta.Path]bool, len(leaves))
	above := make(map[delta.Path]bool)
	paths := make([]delta.Path, 0, len(leaves))
	for i := range leaves {
		p := leaves[i].Path
		at[p] = true
		paths = append(paths, p)
		for _, up := range p.Ancestors() {
			above[up] = true
		}
	}
	hit := func(p delta.Path) bool { // an assignment at p, below it or above it
		return at[p] || above[p] || slices.ContainsFunc(p.Ancestors(), func(up delta.Path) bool { return at[up] })
	}
	return t.migrateAll(entity, paths, hit)
}

// migrateRm makes way for the removal of all at and below a path. Done says that
// nothing is left to remove.
func (t *txnWriter) migrateRm(entity string, p delta.Path) (done bool, err error) {
	return t.migrateAll(entity, []delta.Path{p}, func(q delta.Path) bool { return q == p || strings.HasPrefix(string(q), string(p)+"/") })
}

// migrateAll makes way for what takes the place of all in a region. Apart says that
// something stands there and is read elsewhere: then all else is killed here.
func (t *txnWriter) migrateAll(entity string, paths []delta.Path, region func(delta.Path) bool) (apart bool, err error) {
	if !t.moves(entity) {
		return false, nil
	}
	rules := t.r.guard.catalog.Rules(entity)
	takes := func(x *merge.Place) bool { return region(x.Path) }
	below, exact := rules.Reach(paths...)
	for i, p := range slices.Concat(below, exact) {
		err := merge.Standings(t.r.state, entity, p, i >= len(below), rules, func(s *merge.Standing) error {
			for i := range s.Places {
				apart = apart || region(s.Path) && !region(s.Places[i].Path)
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	m := migration{t: t, entity: entity, rules: rules, takes: takes, leave: region}
	if !apart {
		below, exact = rules.Sources(paths...)
	} else {
		m.leave = func(delta.Path) bool { return false }
	}
	return apart, m.run(below, exact)
}

// migrateRemove takes a value out of a bag where it stands elsewhere.
func (t *txnWriter) migrateRemove(entity string, p delta.Path, v delta.Value) error {
	return t.migrate(entity, []delta.Path{p}, func(q delta.Path) bool { return q == p }, func(x *merge.Place) bool {
		return x.Path == p && x.Survivor.Verb == delta.Add && bytes.Equal(x.Survivor.Value, v)
	})
}

// migrateVote makes way for the creator's vote.
func (t *txnWriter) migrateVote(entity string, p delta.Path) error {
	return t.migrate(entity, []delta.Path{p}, func(q delta.Path) bool { return q == p }, func(x *merge.Place) bool {
		return x.Path == p && x.Survivor.Verb == delta.Vote && x.Survivor.Creator == t.origin.Creator
	})
}

func (t *txnWriter) migrate(entity string, paths []delta.Path, leave func(delta.Path) bool, takes func(*merge.Place) bool) error {
	if !t.moves(entity) {
		return nil
	}
	m := migration{t: t, entity: entity, rules: t.r.guard.catalog.Rules(entity), takes: takes, leave: leave}
	return m.run(m.rules.Sources(paths...))
}

// run kills what is to go of all that stands at and below some paths, and exactly
// at others.
func (m *migration) run(below, exact []delta.Path) error {
	var drops []delta.Path
	var strays []merge.Standing // dead whose neighbours live on
	for _, p := range below {
		n := len(m.dead)
		all, err := m.collect(p, false)
		if err != nil {
			return err
		}
		if all {
			drops = append(drops, p)
		} else {
			strays = append(strays, m.dead[n:]...)
		}
	}
	for _, p := range exact {
		n := len(m.dead)
		if _, err := m.collect(p, true); err != nil {
			return err
		}
		strays = append(strays, m.dead[n:]...)
	}
	if len(m.dead) == 0 {
		return nil
	}
	anew, err := m.anew()
	if err != nil {
		return err
	}
	if err := m.kill(drops, strays); err != nil {
		return err
	}
	return m.write(anew)
}

// collect notes which survivors at a path, and below it unless exact, are to go.
// All says that there are such, and that no others are there.
func (m *migration) collect(p delta.Path, exact bool) (all bool, err error) {
	found, dead := 0, 0
	err = merge.Standings(m.t.r.state, m.entity, p, exact, m.rules, func(s *merge.Standing) error {
		found++
		if m.leave(s.Path) || !m.take(s) {
			return nil
		}
		dead++
		return nil
	})
	return dead > 0 && dead == found, err
}

// take notes a survivor that is to go, and the other places where it is read.
func (m *migration) take(s *merge.Standing) bool {
	taken := false
	var kept []merge.Place
	for i := range s.Places {
		switch x := &s.Places[i]; {
		case m.takes(x):
			taken = true
		case x.Err == nil:
			kept = append(kept, *x)
		}
	}
	if !taken || len(kept) > 0 && !m.own(&s.Survivor) {
		return false
	}
	m.dead = append(m.dead, *s)
	m.kept = append(m.kept, kept...)
	return true
}

// own reports whether a survivor can be written anew elsewhere. A vote is its
// creator's to give, and an inc its lane's: those of others are left where they
// are, and read as before.
func (m *migration) own(s *merge.Survivor) bool {
	switch s.Verb {
	case delta.Vote:
		return s.Creator == m.t.origin.Creator
	case delta.Inc:
		return false
	}
	return true
}

// anew returns what the dead are shown as at the other places. What is hidden
// there by something newer goes with them.
func (m *migration) anew() (out []merge.Place, err error) {
	for i := range m.kept {
		x := &m.kept[i]
		if x.Survivor.Verb == delta.Assign {
			shown, err := m.shown(x)
			if err != nil {
				return nil, err
			}
			if !shown {
				continue
			}
		}
		out = append(out, *x)
	}
	return out, nil
}

// shown reports whether an assignment is what its path reads as.
func (m *migration) shown(x *merge.Place) (bool, error) {
	r, _, err := merge.ReadWith(m.t.r.state, m.entity, x.Path, &merge.Rules{Moves: m.rules.Moves, Origins: m.rules.Origins})
	if err != nil {
		return false, err
	}
	for i := range r.Properties {
		if p := &r.Properties[i]; p.Path == x.Path && len(p.Survivors) > 0 {
			return p.Survivors[0].Dot == x.Survivor.Dot, nil
		}
	}
	return false, nil
}

// kill drops paths at and below which all is to go, and negates what else is.
func (m *migration) kill(drops []delta.Path, strays []merge.Standing) error {
	for _, p := range drops {
		d, ok, err := merge.PlanDrop(m.t.r.state, m.entity, p)
		if err == nil && ok {
			err = m.t.put(d)
		}
		if err != nil {
			return err
		}
	}
	for len(strays) > 0 {
		s := &strays[0]
		var dots []clock.Dot
		n := 0
		for n < len(strays) && strays[n].Path == s.Path && strays[n].Tag == s.Tag { // its row
			dots = append(dots, strays[n].Survivor.Dot)
			n++
		}
		if err := m.t.put(merge.PlanNegate(m.entity, s.Path, s.Tag, dots)); err != nil {
			return err
		}
		strays = strays[n:]
	}
	return nil
}

// write writes survivors anew where they are read.
func (m *migration) write(places []merge.Place) error {
	for i := range places {
		x := &places[i]
		var d delta.Delta
		var err error
		switch x.Survivor.Verb {
		case delta.Add:
			d = merge.PlanAdd(m.entity, x.Path, x.Survivor.Value)
		case delta.Vote:
			d, err = merge.PlanVote(m.t.r.state, m.entity, x.Path, m.t.origin.Creator, x.Survivor.Value)
		default:
			d, err = merge.PlanAssignAlone(m.t.r.state, m.entity, x.Path, x.Survivor.Value)
		}
		if err != nil {
			return err
		}
		if err := m.t.put(d); err != nil {
			return err
		}
	}
	return nil
}
