package schema

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A Lookup finds a resolver by what a schema calls it. The error says why there
// is none.
type Lookup func(use string, params map[string]any) (merge.Resolver, error)

// A Problem is what is wrong with a schema that is in the log all the same.
type Problem struct {
	Schema  string
	Version int
	Text    string
	// InForce says that the version is active all the same: one of its properties
	// has an error.
	InForce bool
}

// A Catalog is all versions of all schemas, compiled. It does not change.
type Catalog struct {
	active   []*Compiled // by name
	patterns []active    // in the order in which they count
	index    index       // of patterns
	problems []Problem
}

// An active pattern leads to the schema that it belongs to.
type active struct {
	*pattern
	schema *Compiled
}

// NewCatalog compiles schemas, in whatever order they are given. It never
// fails: what cannot be compiled is among the problems, and the highest version
// that can be is active. A resolver that lookup does not know is an error of
// its property alone. author tells who wrote a lane; it may be nil.
func NewCatalog(all []*Schema, lookup Lookup, author func(clock.LaneID) string) *Catalog {
	c := &Catalog{}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b *Schema) int { return strings.Compare(a.Name, b.Name) })
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].Name == all[0].Name {
			n++
		}
		valid, _ := c.valid(all[:n])
		all = all[n:]
		if len(valid) == 0 {
			continue
		}
		compiled := compile(valid, lookup, author)
		for _, text := range compiled.faults {
			c.problems = append(c.problems, Problem{compiled.Schema.Name, compiled.Schema.Version, text, true})
		}
		c.active = append(c.active, compiled)
		for _, p := range compiled.built.patterns {
			c.patterns = append(c.patterns, active{p, compiled})
		}
	}
	slices.SortFunc(c.patterns, func(a, b active) int {
		return cmp.Or(
			cmp.Compare(b.literal, a.literal),
			strings.Compare(a.schema.Schema.Name, b.schema.Schema.Name),
			strings.Compare(a.text, b.text),
		)
	})
	c.index = newIndex(c.patterns)
	slices.SortFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Schema, b.Schema), cmp.Compare(a.Version, b.Version), strings.Compare(a.Text, b.Text))
	})
	return c
}

// A version is one that counts.
type version struct {
	*Schema
	built *blueprint
	bytes []byte // the canonical form
}

// valid returns the versions of one name that count, in order, and the paths
// that they move away.
func (c *Catalog) valid(all []*Schema) (valid []version, gone *tree) {
	var sorted []version
	for _, s := range all {
		sorted = append(sorted, version{s, s.built, s.Canonical()})
	}
	slices.SortFunc(sorted, func(a, b version) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), bytes.Compare(a.bytes, b.bytes))
	})
	sorted = slices.CompactFunc(sorted, func(a, b version) bool { return bytes.Equal(a.bytes, b.bytes) })
	gone = newTree()
	for _, v := range sorted {
		if n := len(valid); n > 0 && valid[n-1].Version == v.Version {
			c.problem(v.Schema, "another document of this version counts")
			continue
		}
		var m mistakes
		if v.built == nil {
			v.built = build(v.Schema, &m)
		}
		checkRetired(gone, v.Schema, &m)
		if err := m.err(); err != nil {
			c.problem(v.Schema, err.Error())
			continue
		}
		valid = append(valid, v)
		retire(gone, steps(v.Schema), func(int) int { return v.Version })
	}
	return valid, gone
}

// retire adds the paths that steps move away to a tree, each under a number.
func retire(to *tree, all []step, number func(i int) int) {
	for i, s := range all {
		from := delta.Path(s.from)
		if where, _, _ := to.find(from); s.goes != nil && where != within {
			to.insert(from, number(i))
		}
	}
}

func (c *Catalog) problem(s *Schema, text string) {
	c.problems = append(c.problems, Problem{s.Name, s.Version, text, false})
}

// checkRetired notes the properties at paths that an earlier version moves away.
func checkRetired(gone *tree, s *Schema, m *mistakes) {
	for i := range s.Properties {
		p := &s.Properties[i]
		if where, by, _ := gone.find(p.Path); where == within {
			m.add(item("/properties", i).Child("path"), "path %q of property %q is renamed away by version %d", p.Path, p.ID, by)
		}
	}
}

// For returns the schema of an entity; nil where none matches.
func (c *Catalog) For(entity string) *Compiled {
	if i := c.index.first(entity); i >= 0 {
		return c.patterns[i].schema
	}
	return nil
}

// Problems returns what is wrong, by schema and version.
func (c *Catalog) Problems() []Problem { return slices.Clone(c.problems) }

// Schemas returns the active schemas by name.
func (c *Catalog) Schemas() []*Compiled { return slices.Clone(c.active) }

// foreign begins the name of a resolver that an embedding program registers:
// other nodes may have it where this one does not.
const foreign = "go:"

// Check says whether next may be added to all the versions of all schemas that
// there are. The error joins all that is in the way.
func Check(all []*Schema, next *Schema, lookup Lookup) error {
	var m mistakes
	v := version{next, next.built, next.Canonical()}
	if v.built == nil {
		v.built = build(next, &m)
	}
	var earlier []*Schema
	highest := 0
	for _, s := range all {
		if s.Name == next.Name {
			earlier = append(earlier, s)
			highest = max(highest, s.Version)
		}
	}
	if next.Version != highest+1 {
		m.add("/version", "version %d of %q is not the next one, which is %d", next.Version, next.Name, highest+1)
	}
	valid, gone := (&Catalog{}).valid(earlier)
	checkRetired(gone, next, &m)
	for i := range next.Properties {
		p := &next.Properties[i]
		if p.Resolver == nil || p.Resolver.Use == "" {
			continue
		}
		if p.Computed && slices.Contains(merge.Builtins(), p.Resolver.Use) {
			m.add(item("/properties", i).Child("resolver"), "resolver %q of property %q goes by survivors, of which a computed property has none", p.Resolver.Use, p.ID)
		}
		if _, err := find(lookup, p.Resolver); err != nil && !strings.HasPrefix(p.Resolver.Use, foreign) {
			m.add(item("/properties", i).Child("resolver"), "resolver %q of property %q: %v", p.Resolver.Use, p.ID, err)
		}
	}
	if len(m.list) == 0 {
		_, dropped := carriedDefaults(append(valid, v))
		for _, text := range dropped {
			m.add("/migrate", "%s", text)
		}
	}
	return m.err()
}

func find(lookup Lookup, r *Resolver) (merge.Resolver, error) {
	if lookup == nil {
		return nil, errors.New("no resolvers are known")
	}
	found, err := lookup(r.Use, r.Params)
	if err == nil && found == nil {
		err = fmt.Errorf("there is no resolver %q", r.Use)
	}
	return found, err
}
