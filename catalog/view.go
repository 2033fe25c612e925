package catalog

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
	"github.com/rhizome-p2p/rhizome/merge/schema"
)

// A View is a question that is kept: which entities, made of which survivors,
// resolved how, and what of them to show.
//
//	{
//	  "entities": ["host/*"], "description": "…",
//	  "authors": ["…"], "creators": ["ann"],
//	  "since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z",
//	  "where": {"/os": "linux", "/cpu/cores": {"ge": 8}, "/tags": {"has": "edge"}, "/note": {"exists": false}},
//	  "resolvers": {"/site": "first-write-wins", "total": {"use": "sum"}},
//	  "project": ["/os", "/cpu"],
//	  "expand": 1
//	}
//
// Survivors that no author or creator of the lists made, or that are not of the
// time, are as if they were not there: what would it be, if we trusted only A.
// An entity of which none is left, or that does not meet all that where asks, is
// not part of the view.
type View struct {
	Name        string              `json:"-"`
	Description string              `json:"description,omitempty"`
	Entities    []string            `json:"entities"`
	Authors     []string            `json:"authors,omitempty"`
	Creators    []string            `json:"creators,omitempty"`
	Since       *time.Time          `json:"since,omitempty"`
	Until       *time.Time          `json:"until,omitempty"`
	Where       map[string]jsonText `json:"where,omitempty"`
	Resolvers   map[string]jsonText `json:"resolvers,omitempty"`
	Project     []delta.Path        `json:"project,omitempty"`
	Expand      int                 `json:"expand,omitempty"`

	patterns   schema.Patterns
	conditions []condition
	overrides  []override
	keep       func(delta.Path, *merge.Survivor) bool
	catalog    *Catalog
	// sum is that of all that decides what the view shows, beside the state.
	sum [sha256.Size]byte
	// rules are those of each schema, and of no schema, with the overrides.
	rules map[string]*merge.Rules
}

type jsonText = json.RawMessage

// ParseView reads a view's definition and checks its form.
func ParseView(name string, text []byte) (*View, error) {
	v := &View{Name: name}
	if len(text) > MaxDefinitionBytes {
		return nil, fmt.Errorf("definition of %d bytes, at most %d are allowed", len(text), MaxDefinitionBytes)
	}
	if err := strict(text, v); err != nil {
		return nil, err
	}
	var errs []error
	wrong := func(member string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", member, err))
		}
	}
	var err error
	v.patterns, err = schema.ParsePatterns(v.Entities)
	wrong("/entities", err)
	for _, p := range v.Project {
		_, err := delta.ParsePath(string(p))
		wrong("/project", err)
	}
	for _, p := range slices.Sorted(maps.Keys(v.Where)) {
		c, err := parseCondition(p, v.Where[p])
		wrong("/where"+string(delta.Path("").Child(p)), err)
		v.conditions = append(v.conditions, c)
	}
	for _, at := range slices.Sorted(maps.Keys(v.Resolvers)) {
		o, err := parseOverride(at, v.Resolvers[at])
		wrong("/resolvers"+string(delta.Path("").Child(at)), err)
		v.overrides = append(v.overrides, o)
	}
	if len(v.conditions)+len(v.overrides) > MaxConditions {
		wrong("/where", fmt.Errorf("%d conditions and resolvers, at most %d are allowed", len(v.conditions)+len(v.overrides), MaxConditions))
	}
	if v.Expand < 0 || v.Expand > MaxExpand {
		wrong("/expand", fmt.Errorf("%d: want 0 to %d", v.Expand, MaxExpand))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return v, nil
}

// An override reads a property, by its path or its id in the schema, by another
// resolver.
type override struct {
	at     string
	use    string
	params map[string]any
	made   merge.Resolver
}

func parseOverride(at string, text []byte) (o override, err error) {
	o = override{at: at}
	if at == "" || at[0] == '/' {
		if _, err := delta.ParsePath(at); err != nil {
			return o, err
		}
	}
	x, err := delta.ParseJSON(text)
	if err != nil {
		return o, err
	}
	switch x := x.(type) {
	case string:
		o.use = x
	case map[string]any:
		o.use, _ = x["use"].(string)
		delete(x, "use")
		o.params = x
	}
	if o.use == "" {
		return o, errors.New(`want the name of a resolver, or {"use": NAME, …}`)
	}
	return o, nil
}

// loadViews compiles the views. Where one names a resolver that is not known, or
// not yet, the property that it is for has an error.
func (c *Catalog) loadViews(v merge.View) error {
	return each(v, ViewPrefix, func(name string) error {
		r, _, err := merge.Read(v, ViewPrefix+name, "")
		if err != nil {
			return err
		}
		text := delta.AppendAnyJSON(nil, r.Value)
		view, err := ParseView(name, text)
		if err != nil {
			c.problem(ViewPrefix+name, "", err)
			return nil
		}
		for _, err := range view.lookUp(c.Lookup) {
			c.problems = append(c.problems, Problem{ViewPrefix + name, err.Error(), true})
		}
		view.compile(c)
		view.sum = sha256.Sum256(append(c.sum[:], text...))
		c.views = append(c.views, view)
		return nil
	})
}

// lookUp finds the resolvers that the view names, and says which it cannot.
func (v *View) lookUp(lookup schema.Lookup) (errs []*overrideError) {
	for i := range v.overrides {
		o := &v.overrides[i]
		made, err := lookup(o.use, o.params)
		if err != nil {
			errs = append(errs, &overrideError{o.use, fmt.Errorf("/resolvers%s: %w", delta.Path("").Child(o.at), err)})
			made = merge.ResolverFunc(func(*merge.Input) (merge.Output, error) {
				return merge.Output{}, merge.Failf(merge.ErrorUnknown, "%v", err)
			})
		}
		o.made = made
	}
	return errs
}

// An overrideError reports a resolver that a view names and that is not known.
type overrideError struct {
	use string
	err error
}

func (e *overrideError) Error() string { return e.err.Error() }

// compile works out, for each schema, how the view reads its entities.
func (v *View) compile(c *Catalog) {
	v.catalog = c
	v.keep = v.keeper(c.options.Author)
	v.rules = map[string]*merge.Rules{"": v.derive(&merge.Rules{Author: c.options.Author})}
	for _, s := range c.Schemas.Schemas() {
		v.rules[s.Schema.Name] = v.derive(s.Rules())
	}
}

// derive returns rules as the view has them.
func (v *View) derive(base *merge.Rules) *merge.Rules {
	out := &merge.Rules{
		Name: strings.TrimPrefix(base.Name+" in view "+v.Name, " in "), Moves: base.Moves,
		Properties: slices.Clone(base.Properties), Keep: v.keep, Author: base.Author,
	}
	for i := range v.overrides {
		o := &v.overrides[i]
		found := false
		for j := range out.Properties {
			if p := &out.Properties[j]; p.ID == o.at || string(p.Path) == o.at {
				p.Resolver, p.Use, found = o.made, o.use, true
			}
		}
		if !found && (o.at == "" || o.at[0] == '/') {
			out.Properties = append(out.Properties, merge.Rule{ID: o.at, Path: delta.Path(o.at), Resolver: o.made, Use: o.use})
		}
	}
	return out
}

// keeper returns what says which survivors are read, nil for all.
func (v *View) keeper(author func(clock.LaneID) string) func(delta.Path, *merge.Survivor) bool {
	if len(v.Authors)+len(v.Creators) == 0 && v.Since == nil && v.Until == nil {
		return nil
	}
	return func(_ delta.Path, s *merge.Survivor) bool {
		who := ""
		if author != nil {
			who = author(s.Dot.Lane)
		}
		if len(v.Authors) > 0 && !slices.Contains(v.Authors, who) {
			return false
		}
		creator := s.Creator
		if creator == "" {
			creator = who
		}
		if len(v.Creators) > 0 && !slices.Contains(v.Creators, creator) {
			return false
		}
		at := s.Time.Millis()
		return (v.Since == nil || at >= v.Since.UnixMilli()) && (v.Until == nil || at < v.Until.UnixMilli())
	}
}

// Same reports whether two views, of two catalogs, show the same of any state.
func (v *View) Same(o *View) bool { return v.sum == o.sum }

// Match reports whether the view is about an entity, whatever it holds.
func (v *View) Match(entity string) bool { return v.patterns.Match(entity) && !IsSystem(entity) }

// Prefixes returns what the entities that the view is about begin with.
func (v *View) Prefixes() []string { return v.patterns.Prefixes() }

// Follows reports whether what the view shows of an entity depends on others:
// those that it refers to.
func (v *View) Follows() bool {
	if v.Expand > 0 {
		return true
	}
	for _, r := range v.rules { // any of them: the order does not matter
		for i := range r.Properties {
			if ref := r.Properties[i].Ref; ref != nil && ref.Dangling != merge.DanglingKeep && ref.Dangling != "" {
				return true
			}
		}
	}
	return false
}

// Rules returns how the view reads an entity.
func (v *View) Rules(entity string) *merge.Rules {
	if s := v.catalog.For(entity); s != nil {
		return v.rules[s.Schema.Name]
	}
	return v.rules[""]
}
