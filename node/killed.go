package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
)

// An obituary tells what died that was read at or below a key, and of what. It
// reads each dead row once, the kills of each scope once, and each entry that
// killed once.
type obituary struct {
	ctx   context.Context
	m     *moment
	view  *rows
	rules *merge.Rules
	// scopes are the kept kills read so far, by the prefix of rows that they are
	// about; dots is how many dots they hold.
	scopes map[string][]keptKill
	dots   int
	more   bool // there is more than is told
}

// A death is a dead survivor, and what killed it.
type death struct {
	row    string    // where it stood
	killer clock.Dot // the first that was applied; zero where it was no delta
	s      merge.Survivor
	places []merge.Place // where it was read, of those that were asked for
	by     []clock.Dot   // the first maxKillers of all, by dot
	total  int
	group  int // of kills that was counted last, from 1
}

// A keptKill is a kill and the delta that it is part of.
type keptKill struct {
	killer clock.Dot
	delta.Kill
	exact bool // it reaches the row that has the scope as its key, and no other
}

// write lists the dead, the newest first.
func (o *obituary) write(entity string, p delta.Path) ([]KilledSurvivor, error) {
	all, err := o.newest(entity, p)
	if err != nil {
		return nil, err
	}
	byRow := make([]*death, len(all))
	for i := range all {
		byRow[i] = &all[i]
	}
	slices.SortFunc(byRow, func(a, b *death) int { return cmp.Or(cmp.Compare(a.row, b.row), a.s.Dot.Compare(b.s.Dot)) })
	for rest := byRow; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].row == rest[0].row {
			n++
		}
		if err := o.causes(rest[:n]); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	killers, err := o.killers(all)
	if err != nil {
		return nil, err
	}
	cids := make(map[clock.EntryID]string)
	out := make([]KilledSurvivor, 0, len(all))
	for i := range all {
		d := &all[i]
		var by []Killer
		for _, dot := range d.by {
			by = append(by, killers[dot])
		}
		for j := range d.places {
			if len(out) == maxKilled {
				o.more = true
				return out, nil
			}
			one, err := o.survivor(cids, entity, d, &d.places[j])
			if err != nil {
				return nil, err
			}
			out = append(out, KilledSurvivor{Survivor: one, By: by, KilledBy: d.total})
		}
	}
	return out, nil
}

// A graveyard is the dead as a merge.View: each is a row by itself, though rows
// of one key may follow each other.
type graveyard struct {
	o    *obituary
	seen int
	// row and killer are those of the row that is shown.
	row    []byte
	killer clock.Dot
}

// Row implements merge.View.
func (g *graveyard) Row(key []byte) (all []merge.Survivor, err error) {
	err = g.Rows(key, func(row []byte, dead []merge.Survivor) error {
		if bytes.Equal(row, key) {
			all = append(all, dead...)
		}
		return nil
	})
	return all, err
}

// Rows implements merge.View. It ends with errEnough after maxDeadRows.
func (g *graveyard) Rows(prefix []byte, f func(key []byte, row []merge.Survivor) error) error {
	return g.o.view.deadIn(g.o.m.eras, prefix, func(row []byte, killer clock.Dot, s *merge.Survivor) error {
		if g.seen++; g.seen > maxDeadRows {
			return errEnough
		}
		g.row, g.killer = row, killer
		return errors.Join(f(row, []merge.Survivor{*s}), g.o.ctx.Err())
	})
}

// newest returns the newest of the dead that were read at or below a path, of
// those that it looks at.
func (o *obituary) newest(entity string, p delta.Path) ([]death, error) {
	var all []death
	keep := func() {
		slices.SortFunc(all, func(a, b death) int { return newerDead(&a.s, &b.s) })
		if len(all) > maxKilled {
			all, o.more = all[:maxKilled], true
		}
	}
	yard := graveyard{o: o}
	err := merge.StandingsIn(&yard, entity, p, o.rules, func(s *merge.Standing) error {
		places := slices.DeleteFunc(s.Places, func(x merge.Place) bool {
			return x.Path != p && !strings.HasPrefix(string(x.Path), string(p)+"/")
		})
		all = append(all, death{row: string(yard.row), killer: yard.killer, s: s.Survivor, places: places})
		if len(all) >= 4*maxKilled {
			keep()
		}
		return nil
	})
	keep()
	if errors.Is(err, errEnough) {
		o.more, err = true, nil
	}
	return all, err
}

// errEnough ends a scan that has seen as much as it may.
var errEnough = errors.New("seen enough")

func newerDead(a, b *merge.Survivor) int {
	return cmp.Or(cmp.Compare(b.Time, a.Time), b.Dot.Compare(a.Dot))
}

// causes finds what killed the dead of one row, which are in the order of dots.
func (o *obituary) causes(dead []*death) error {
	row := []byte(dead[0].row)
	var kills []keptKill
	for _, d := range dead {
		if d.killer != (clock.Dot{}) {
			kills = append(kills, keptKill{killer: d.killer, Kill: delta.Kill{Dots: []clock.Dot{d.s.Dot}}})
		}
	}
	var failed error
	err := merge.Prefixes(row, func(scope []byte) {
		if failed != nil {
			return
		}
		var found []keptKill
		found, failed = o.kills(scope)
		for _, k := range found {
			if !k.exact || len(scope) == len(row) {
				kills = append(kills, k)
			}
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	slices.SortStableFunc(kills, func(a, b keptKill) int { return a.killer.Compare(b.killer) })
	group := 0
	for i := range kills {
		if i == 0 || kills[i].killer != kills[i-1].killer {
			group++
		}
		kills[i].strike(dead, group)
		if err := o.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// strike counts a kill for those of the dead that it hits, unless another kill
// of the same delta, and so of the same group, was counted for them.
func (k *keptKill) strike(dead []*death, group int) {
	from := func(dot clock.Dot) int {
		i, _ := slices.BinarySearchFunc(dead, dot, func(d *death, dot clock.Dot) int { return d.s.Dot.Compare(dot) })
		return i
	}
	hit := func(d *death) {
		if d.group == group {
			return
		}
		d.group = group
		d.total++
		if len(d.by) < maxKillers {
			d.by = append(d.by, k.killer)
		}
	}
	for _, dot := range k.Dots {
		if i := from(dot); i < len(dead) && dead[i].s.Dot == dot {
			hit(dead[i])
		}
	}
	for _, bound := range k.Bounds {
		for i := from(clock.Dot{Lane: bound.Lane}); i < len(dead) && dead[i].s.Dot.AtMost(bound); i++ {
			hit(dead[i])
		}
	}
}

// kills returns the kept kills with a scope.
func (o *obituary) kills(scope []byte) ([]keptKill, error) {
	out, ok := o.scopes[string(scope)]
	if ok {
		return out, nil
	}
	for _, e := range o.m.eras {
		err := o.view.killsIn(e.number, scope, func(killer clock.Dot, k *delta.Kill, exact bool) bool {
			if o.dots += len(k.Dots) + len(k.Bounds); o.dots > maxKillDots {
				o.more = true
				return false
			}
			out = append(out, keptKill{killer, *k, exact})
			return o.ctx.Err() == nil
		})
		if err := errors.Join(err, o.ctx.Err()); err != nil {
			return nil, err
		}
	}
	o.scopes[string(scope)] = out
	return out, nil
}

// killers tells who killed, from the log where it still holds the entries.
func (o *obituary) killers(all []death) (map[clock.Dot]Killer, error) {
	var dots []clock.Dot
	for i := range all {
		dots = append(dots, all[i].by...)
	}
	slices.SortFunc(dots, clock.Dot.Compare)
	dots = slices.Compact(dots)
	out := make(map[clock.Dot]Killer, len(dots))
	for len(dots) > 0 {
		n := 1
		for n < len(dots) && dots[n].Entry() == dots[0].Entry() {
			n++
		}
		if err := o.killersOf(dots[:n], out); err != nil {
			return nil, err
		}
		dots = dots[n:]
		if err := o.ctx.Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// killersOf tells of those whose dots are of one entry.
func (o *obituary) killersOf(dots []clock.Dot, out map[clock.Dot]Killer) error {
	n := o.m.n
	key, _ := n.store.Lanes.Key(dots[0].Lane)
	for _, dot := range dots {
		out[dot] = Killer{Dot: dot, Author: key.Author}
	}
	rec, err := n.store.Record(o.m.snap, dots[0].Entry())
	if errors.Is(err, oplog.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	e, err := rec.Entry()
	if err != nil {
		return err
	}
	index := 0
	for i := range e.Body.Txns {
		x := &e.Body.Txns[i]
		for j := range x.Deltas {
			if k, ok := out[e.Dot(index)]; ok {
				k.Creator, k.Verb, k.Time, k.Known = x.Creator, x.Deltas[j].Verb, e.Time, true
				out[k.Dot] = k
			}
			index++
		}
	}
	return nil
}

// survivor adds the provenance to one of the dead, as it was read at a place. One
// that could not be moved is as it was written.
func (o *obituary) survivor(cids map[clock.EntryID]string, entity string, d *death, at *merge.Place) (Survivor, error) {
	s := at.Survivor
	if at.Err != nil {
		s = d.s
	}
	one := merge.Reading{Properties: []merge.Property{{Path: at.Path, Survivors: []merge.Survivor{s}, Shown: []bool{false}}}}
	r, err := o.m.n.reading(o.m.snap, cids, entity, at.Path, &one)
	if err != nil {
		return Survivor{}, err
	}
	return r.Survivors[0], o.ctx.Err()
}
