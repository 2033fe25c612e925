package schema

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A Compiled schema is the active version of one, with the migrations of all up
// to it.
type Compiled struct {
	Schema *Schema
	built  *blueprint
	rules  *merge.Rules
	mover  *mover // nil without migrations
	// retired finds the paths that migrations move away, as steps of the mover.
	retired  *tree
	defaults []carried // by property
	required []requirement
	faults   []string // for the catalog
}

// A requirement is a property that an entity must have: required, not computed,
// and without a default.
type requirement struct {
	property int
	// origins are the paths at which it may stand; see mover.origins.
	origins []delta.Path
}

// compile compiles the last of the versions, which are in order and valid.
func compile(versions []version, lookup Lookup, author func(clock.LaneID) string) *Compiled {
	last := versions[len(versions)-1]
	c := &Compiled{Schema: last.Schema, built: last.built, retired: newTree()}
	var all []step
	for _, v := range versions {
		all = append(all, steps(v.Schema)...)
	}
	c.mover = newMover(all)
	retire(c.retired, all, func(i int) int { return i })
	c.defaults, c.faults = carriedDefaults(versions)
	c.rules = &merge.Rules{Name: last.String(), Author: author}
	if c.mover != nil {
		c.rules.Moves = []merge.Move{c.mover.move}
		c.rules.Origins = c.mover.elsewhere
	}
	for _, i := range c.built.order {
		c.rules.Properties = append(c.rules.Properties, c.rule(i, lookup))
	}
	for i := range c.Schema.Properties {
		if p := &c.Schema.Properties[i]; p.Required && !p.Computed && !c.defaults[i].has {
			c.required = append(c.required, requirement{i, c.mover.origins(p.Path)})
		}
	}
	return c
}

// Rules returns what the entities of the schema are read with.
func (c *Compiled) Rules() *merge.Rules { return c.rules }

func (c *Compiled) rule(i int, lookup Lookup) merge.Rule {
	p := &c.Schema.Properties[i]
	check := c.built.types[i].check
	r := merge.Rule{
		ID: p.ID, Path: p.Path, Deps: slices.Clone(p.Depends), Computed: p.Computed, Required: p.Required,
		Default: c.defaults[i].value, HasDefault: c.defaults[i].has,
	}
	if p.Resolver != nil {
		r.Use = p.Resolver.Use
		var err error
		if r.Resolver, err = find(lookup, p.Resolver); err != nil {
			c.faults = append(c.faults, fmt.Sprintf("resolver %q of property %q: %v", r.Use, p.ID, err))
			r.Resolver = unknown(err)
		}
	}
	typed := p.typed()
	if p.Verb == Counter {
		r.Check = checkTotal
	} else if typed && !p.Computed {
		r.Check = func(v any) error { return check(v).asError() }
	}
	if typed && (p.Computed || p.Verb == Counter) {
		r.Result = func(v any) error { return check(v).asError() }
	}
	if p.Ref != nil {
		r.Ref = &merge.RefRule{Dangling: p.Ref.Dangling}
		if to := c.built.refs[i]; len(to) > 0 {
			r.Ref.Match = func(entity string) bool { return matchAny(to, entity) }
		}
	}
	return r
}

// unknown stands for a resolver that this node does not have, or not yet.
func unknown(err error) merge.Resolver {
	return merge.ResolverFunc(func(*merge.Input) (merge.Output, error) {
		return merge.Output{}, merge.Failf(merge.ErrorUnknown, "%v", err)
	})
}

// checkTotal checks one lane's part of a counter. Its type is about the sum.
func checkTotal(v any) error {
	if _, ok := v.(int64); ok {
		return nil
	}
	return &fault{"", fmt.Sprintf("is %s, must be an integer", describe(v))}
}

// A carried default is that of a property: its own, or of the migrations.
type carried struct {
	property string // its id
	value    any
	has      bool
}

// carriedDefaults returns the defaults of the last version's properties. Those
// that migrations gave move with the migrations after them; what breaks the
// type of the property that they come to is dropped, and told.
func carriedDefaults(versions []version) (out []carried, dropped []string) {
	var given []merge.Moved
	for _, v := range versions {
		all := steps(v.Schema)
		for i := range v.Migrate {
			g := v.Migrate[i].Default
			if g != nil {
				given = slices.DeleteFunc(given, func(x merge.Moved) bool { return x.Path == g.Path })
				given = append(given, merge.Moved{Path: g.Path, Value: g.Value})
				continue
			}
			given = moveAll(given, all[0])
			all = all[1:]
		}
	}
	slices.SortStableFunc(given, func(a, b merge.Moved) int { return cmp.Compare(a.Path, b.Path) })
	last := versions[len(versions)-1]
	out = make([]carried, len(last.Properties))
	for i := range last.Properties {
		p := &last.Properties[i]
		if p.HasDefault {
			out[i] = carried{p.ID, p.Default, true}
			continue
		}
		k := slices.IndexFunc(given, func(x merge.Moved) bool { return x.Path == p.Path })
		if k < 0 {
			continue
		}
		if f := p.reading().check(last.built.types[i], given[k].Value); f != nil {
			dropped = append(dropped, fmt.Sprintf("the default that a migration gave to property %q does not fit it: %v", p.ID, f))
			continue
		}
		out[i] = carried{p.ID, given[k].Value, true}
	}
	return out, dropped
}

// moveAll applies a step to defaults. Those that it cannot be applied to are
// lost, as values would be.
func moveAll(given []merge.Moved, s step) []merge.Moved {
	var out []merge.Moved
	for _, x := range given {
		if moved, err := s.run(x); err == nil {
			out = append(out, moved...)
		}
	}
	return out
}
