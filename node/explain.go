package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/oplog"
	"github.com/rhizome-p2p/rhizome/storage"
)

// An Explanation says why a key reads as it does.
type Explanation struct {
	Entity string
	Path   delta.Path
	// Rules name the schema, and the view, by which it was read; "" for none.
	Rules      string
	Value      any
	Absent     bool
	Properties []ExplainedProperty
	// Killed is what stood here and no longer does, as far back as the horizon,
	// the newest first; More says that there is more of it than is listed.
	Killed []KilledSurvivor
	More   bool
	// Horizon is the cursor behind which all that was killed is kept, and Since
	// the newest time of what lies below it; zero where nothing does.
	Horizon string
	Since   time.Time
}

// An ExplainedProperty is one property: what it had to go by and what was made
// of it.
type ExplainedProperty struct {
	Path delta.Path
	// ID is that of the schema, empty where none names the property.
	ID string
	// Resolver is the name of the one that decided, and Why what it says of it.
	Resolver, Why string
	// Inputs are the values of the properties that the resolver depends on.
	Inputs map[string]any
	Value  any
	Absent bool
	// Conflict says that the value hides something that differs.
	Conflict  bool
	Error     *merge.PropertyError
	Survivors []Survivor
}

// A KilledSurvivor is one that was overwritten, removed or negated.
type KilledSurvivor struct {
	Survivor
	// By are the deltas that each alone would have killed it. None where it went
	// with the closing of a lane, or with a state that a peer served.
	By []Killer
}

// A Killer is a delta that killed.
type Killer struct {
	Dot     clock.Dot
	Author  delta.Author
	Creator string // the author's claim; empty means the author
	Verb    delta.Verb
	Time    clock.Timestamp
	// Known is false where the entry is no longer held: then only dot and author
	// are told.
	Known bool
}

// maxKilled bounds what an explanation lists of the dead.
const maxKilled = 1000

// Explain says why a key reads as it does: the survivors at and below it, the
// rule of each property, what the rule had to go by, and what was killed here
// since the horizon, by whom. Of the options it takes View and Raw.
func (n *Node) Explain(ctx context.Context, entity string, p delta.Path, o ReadOptions) (Explanation, error) {
	out := Explanation{Entity: entity, Path: p}
	if err := checkKey(entity, p); err != nil {
		return out, err
	}
	if o.At != "" || o.Expand != 0 {
		return out, fmt.Errorf("%w: an explanation is of now, and follows no references", ErrInvalid)
	}
	rd, err := n.reader(ctx, o)
	if err != nil {
		return out, err
	}
	defer rd.close()
	m := n.pin()
	defer m.close()
	view := n.rows
	view.r = m.snap
	r, found, err := merge.ReadWith(&view, entity, p, rd.rules(entity))
	if err != nil {
		return out, err
	}
	out.Rules, out.Value, out.Absent = r.Rules, r.Value, r.Absent || !found
	if err := out.explain(n, m.snap, &r); err != nil {
		return out, err
	}
	if m.edge > 0 {
		out.Horizon, out.Since = n.cursor(m.edge), m.past.Time()
	}
	if err := out.killed(ctx, m, &view); err != nil {
		return out, err
	}
	if !found && len(out.Killed) == 0 {
		return out, notFound(entity, p, "")
	}
	return out, nil
}

func (x *Explanation) explain(n *Node, from storage.Reader, r *merge.Reading) error {
	cids := make(map[clock.EntryID]string)
	for i := range r.Properties {
		p := &r.Properties[i]
		one := merge.Reading{Properties: r.Properties[i : i+1]}
		reading, err := n.reading(from, cids, x.Entity, p.Path, &one)
		if err != nil {
			return err
		}
		x.Properties = append(x.Properties, ExplainedProperty{
			Path: p.Path, ID: p.ID, Resolver: p.Use, Why: p.Why, Inputs: p.Deps, Value: p.Value, Absent: p.Absent,
			Conflict: p.Conflict, Error: p.Err, Survivors: reading.Survivors,
		})
	}
	return nil
}

// killed lists the dead at and below the key.
func (x *Explanation) killed(ctx context.Context, m *moment, view *rows) error {
	type dead struct {
		row    string
		killer clock.Dot
		s      merge.Survivor
	}
	var all []dead
	err := view.deadIn(m.eras, merge.AppendPrefix(nil, x.Entity, x.Path), func(row []byte, killer clock.Dot, s *merge.Survivor) error {
		all = append(all, dead{string(row), killer, *s})
		if len(all) >= 4*maxKilled { // the newest are kept, and the rest let go
			slices.SortFunc(all, func(a, b dead) int { return newerDead(&a.s, &b.s) })
			all, x.More = all[:maxKilled], true
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b dead) int { return newerDead(&a.s, &b.s) })
	if len(all) > maxKilled {
		all, x.More = all[:maxKilled], true
	}
	for i := range all {
		by := map[clock.Dot]bool{all[i].killer: all[i].killer != clock.Dot{}}
		err := view.killsOf(m.eras, []byte(all[i].row), func(killer clock.Dot, k *delta.Kill) bool {
			by[killer] = by[killer] || k.Hits(all[i].s.Dot)
			return true
		})
		if err != nil {
			return err
		}
		killed, err := m.n.killedSurvivor(m.snap, all[i].row, &all[i].s, by)
		if err != nil {
			return err
		}
		x.Killed = append(x.Killed, killed)
	}
	return nil
}

func newerDead(a, b *merge.Survivor) int {
	if a.Time != b.Time {
		if a.Time > b.Time {
			return -1
		}
		return 1
	}
	return b.Dot.Compare(a.Dot)
}

func (n *Node) killedSurvivor(from storage.Reader, row string, s *merge.Survivor, by map[clock.Dot]bool) (KilledSurvivor, error) {
	_, path, _, err := merge.ParseKey([]byte(row))
	if err != nil {
		return KilledSurvivor{}, err
	}
	one := merge.Reading{Properties: []merge.Property{{Path: path, Survivors: []merge.Survivor{*s}, Shown: []bool{false}}}}
	r, err := n.reading(from, make(map[clock.EntryID]string), "", path, &one)
	if err != nil {
		return KilledSurvivor{}, err
	}
	out := KilledSurvivor{Survivor: r.Survivors[0]}
	for dot, hit := range by {
		if !hit {
			continue
		}
		k, err := n.killer(from, dot)
		if err != nil {
			return out, err
		}
		out.By = append(out.By, k)
	}
	slices.SortFunc(out.By, func(a, b Killer) int { return a.Dot.Compare(b.Dot) })
	return out, nil
}

// killer tells who killed, from the log where it still holds the entry.
func (n *Node) killer(from storage.Reader, dot clock.Dot) (Killer, error) {
	key, _ := n.store.Lanes.Key(dot.Lane)
	out := Killer{Dot: dot, Author: key.Author}
	rec, err := n.store.Record(from, dot.Entry())
	if errors.Is(err, oplog.ErrNotFound) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	l, err := locateIn(&rec, dot)
	if err != nil {
		return out, err
	}
	out.Creator, out.Verb, out.Time, out.Known = l.txn.Creator, l.d.Verb, l.entry.Time, true
	return out, nil
}
