package node

import (
	"context"
	"fmt"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
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
	// Killed is what was read here and no longer is, as far back as the horizon,
	// the newest first: migrations have it where they have what lives. More says that there is more of it than is listed, or
	// more that killed it than was looked at.
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
	// By are the deltas that each alone would have killed it, the first of them by
	// dot. None where it went with the closing of a lane, or with a state that a
	// peer served.
	By []Killer
	// KilledBy says how many they are in all.
	KilledBy int
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

// Explain says why a key reads as it does: the survivors at and below it, the
// rule of each property, what the rule had to go by, and what was killed of all
// that would be read here, since the horizon, by whom. Of the options it takes View and Raw.
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
	dead := obituary{ctx: ctx, m: m, view: &view, rules: rd.rules(entity), scopes: make(map[string][]keptKill)}
	if out.Killed, err = dead.write(entity, p); err != nil {
		return out, err
	}
	out.More = dead.more
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
