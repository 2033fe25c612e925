package api

import (
	"encoding/json"
	"time"

	"github.com/rhizome-p2p/rhizome"
	"github.com/rhizome-p2p/rhizome/catalog"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A PropertyError says why a property has no value.
type PropertyError struct {
	Path     Path   `json:"path"`
	Property string `json:"property"`
	Kind     string `json:"kind"`
	Text     string `json:"text"`
}

// PropertyErrorOf returns the error of a property as JSON has it.
func PropertyErrorOf(e *merge.PropertyError) PropertyError {
	return PropertyError{e.Path, e.Property, string(e.Kind), e.Text}
}

// PropertyErrorsOf returns errors of properties as JSON has them.
func PropertyErrorsOf(in []*merge.PropertyError) (out []PropertyError) {
	for _, e := range in {
		out = append(out, PropertyErrorOf(e))
	}
	return out
}

// A KeysRequest names the keys to read.
type KeysRequest struct {
	Keys []string `json:"keys"`
}

// KeyValues are what stands at many keys, in the order in which they were named,
// or at the entities of a range, in byte order. Next, where not empty, is what to
// ask for entities after.
type KeyValues struct {
	Values []KeyValue `json:"values"`
	Next   string     `json:"next,omitempty"`
}

// A KeyValue is what stands at one of many keys.
type KeyValue struct {
	Key   string `json:"key"`
	Found bool   `json:"found"`
	// Value is the lossy one; ETag is what a write may depend on.
	Value  json.RawMessage `json:"value,omitempty"`
	ETag   string          `json:"etag,omitempty"`
	Errors []PropertyError `json:"errors,omitempty"`
	// Conflicts are the paths at which the value hides a concurrent one.
	Conflicts []Path `json:"conflicts,omitempty"`
	// Reading is there where every survivor was asked for.
	Reading *Reading `json:"reading,omitempty"`
}

// KeyValueOf returns what was read of a key as JSON has it.
func KeyValueOf(k *rhizome.KeyRead, lossless bool) KeyValue {
	out := KeyValue{Key: delta.Key(k.Entity, k.Path), Found: k.Found}
	switch {
	case !k.Found:
	case lossless:
		r := ReadingOf(&k.Reading)
		out.Reading = &r
	default:
		out.ETag, out.Errors, out.Conflicts = k.Reading.ETag, PropertyErrorsOf(k.Reading.Errors), k.Reading.Conflicts
		if !k.Reading.Absent {
			out.Value = rawJSON(k.Reading.Value)
		}
	}
	return out
}

// SpaceSettings are those that hold on every node of the space.
type SpaceSettings struct {
	RequireSchema bool `json:"require_schema"`
}

// Schemas are those of the space.
type Schemas struct {
	Schemas  []SchemaInfo     `json:"schemas"`
	Require  bool             `json:"require"`
	Problems []CatalogProblem `json:"problems"`
}

// A SchemaInfo is one version of a schema.
type SchemaInfo struct {
	Name        string   `json:"name"`
	Version     int      `json:"version"`
	Active      bool     `json:"active"`
	Description string   `json:"description,omitempty"`
	Entities    []string `json:"entities"`
	Properties  int      `json:"properties"`
}

// A CatalogProblem is something that the space says of itself and that cannot be
// used.
type CatalogProblem struct {
	Key  string `json:"key"`
	Text string `json:"text"`
	// InForce says that it is in force all the same, but for a property.
	InForce bool `json:"in_force,omitempty"`
}

// ProblemsOf returns the problems of a catalog that are of keys with a prefix.
func ProblemsOf(c *catalog.Catalog, prefix string) []CatalogProblem {
	out := []CatalogProblem{}
	for _, p := range c.Problems() {
		if len(p.Key) >= len(prefix) && p.Key[:len(prefix)] == prefix {
			out = append(out, CatalogProblem(p))
		}
	}
	return out
}

// SchemasOf returns the schemas of a catalog as JSON has them.
func SchemasOf(c *catalog.Catalog) Schemas {
	active := map[string]int{}
	for _, s := range c.Schemas.Schemas() {
		active[s.Schema.Name] = s.Schema.Version
	}
	out := Schemas{Schemas: []SchemaInfo{}, Require: c.RequireSchema, Problems: ProblemsOf(c, catalog.SchemaPrefix)}
	for _, s := range c.Versions() {
		out.Schemas = append(out.Schemas, SchemaInfo{
			Name: s.Name, Version: s.Version, Active: active[s.Name] == s.Version, Description: s.Description,
			Entities: s.Entities, Properties: len(s.Properties),
		})
	}
	return out
}

// A SchemaReceipt tells what became of a schema.
type SchemaReceipt struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	DryRun  bool   `json:"dry_run,omitempty"`
	Receipt
}

// Resolvers are those of the space, and those that are built in.
type Resolvers struct {
	Resolvers []ResolverInfo   `json:"resolvers"`
	Builtin   []string         `json:"builtin"`
	Problems  []CatalogProblem `json:"problems"`
}

// A ResolverInfo is a resolver with its versions.
type ResolverInfo struct {
	Name string `json:"name"`
	// Version is the active one, 0 where there is none.
	Version  int               `json:"version"`
	Versions []ResolverVersion `json:"versions"`
}

// A ResolverVersion is one version of a resolver.
type ResolverVersion struct {
	Version int    `json:"version"`
	State   string `json:"state"`
	catalog.Definition
	// Text says what is wrong with one that is broken.
	Text string `json:"text,omitempty"`
}

// ResolversOf returns the resolvers of a catalog as JSON has them.
func ResolversOf(c *catalog.Catalog) Resolvers {
	out := Resolvers{Resolvers: []ResolverInfo{}, Builtin: merge.Builtins(), Problems: ProblemsOf(c, catalog.ResolverPrefix)}
	for i := range c.Resolvers {
		r := &c.Resolvers[i]
		info := ResolverInfo{Name: r.Name, Version: r.Version()}
		for _, v := range r.Versions {
			info.Versions = append(info.Versions, ResolverVersion{v.Number, string(v.State), v.Definition, v.Text})
		}
		out.Resolvers = append(out.Resolvers, info)
	}
	return out
}

// A CELRequest is a resolver that is an expression.
type CELRequest struct {
	Description string `json:"description,omitempty"`
	Expression  string `json:"expression"`
}

// Views are those of the space.
type Views struct {
	Views    []ViewInfo       `json:"views"`
	Problems []CatalogProblem `json:"problems"`
}

// A ViewInfo is a view's definition.
type ViewInfo struct {
	Name       string        `json:"name"`
	Definition *catalog.View `json:"definition"`
}

// ViewsOf returns the views of a catalog as JSON has them.
func ViewsOf(c *catalog.Catalog) Views {
	out := Views{Views: []ViewInfo{}, Problems: ProblemsOf(c, catalog.ViewPrefix)}
	for _, v := range c.Views() {
		out.Views = append(out.Views, ViewInfo{v.Name, v})
	}
	return out
}

// A ViewPage is a page of what a view shows. Next, where not empty, is what to
// ask for entities after.
type ViewPage struct {
	Items []ViewItem `json:"items"`
	Next  string     `json:"next,omitempty"`
}

// A ViewItem is what a view shows of one entity.
type ViewItem struct {
	ID     string          `json:"id"`
	Value  json.RawMessage `json:"value,omitempty"`
	Errors []PropertyError `json:"errors,omitempty"`
	// Gone says that the entity is no longer part of the view.
	Gone bool `json:"gone,omitempty"`
}

// ViewItemOf returns an item of a view as JSON has it.
func ViewItemOf(i *rhizome.ViewItem) ViewItem {
	return ViewItem{i.Entity, i.Value, PropertyErrorsOf(i.Errors), i.Gone}
}

// An Explanation says why a key reads as it does.
type Explanation struct {
	Key        string              `json:"key"`
	Rules      string              `json:"rules,omitempty"`
	Value      json.RawMessage     `json:"value,omitempty"`
	Properties []ExplainedProperty `json:"properties"`
	Killed     []KilledSurvivor    `json:"killed"`
	More       bool                `json:"more,omitempty"`
	// Horizon is the cursor behind which all that was killed is kept, Since its
	// time.
	Horizon string     `json:"horizon,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
}

// An ExplainedProperty is what one property had to go by, and what was made of
// it.
type ExplainedProperty struct {
	Path      Path                       `json:"path"`
	Property  string                     `json:"property,omitempty"`
	Resolver  string                     `json:"resolver,omitempty"`
	Why       string                     `json:"why,omitempty"`
	Inputs    map[string]json.RawMessage `json:"inputs,omitempty"`
	Value     json.RawMessage            `json:"value,omitempty"`
	Conflict  bool                       `json:"conflict,omitempty"`
	Error     *PropertyError             `json:"error,omitempty"`
	Survivors []Survivor                 `json:"survivors"`
}

// A KilledSurvivor is what stood at a key and no longer does.
type KilledSurvivor struct {
	Survivor
	// By are the first of those that killed it, and Killers says how many they
	// are.
	By      []Killer `json:"by"`
	Killers int      `json:"killers"`
}

// A Killer is a delta that killed. Where its entry is no longer held, verb, time
// and creator are not told.
type Killer struct {
	Dot     string     `json:"dot"`
	Author  string     `json:"author"`
	Creator string     `json:"creator,omitempty"`
	Verb    string     `json:"verb,omitempty"`
	Time    *time.Time `json:"time,omitempty"`
}

// ExplanationOf returns an explanation as JSON has it.
func ExplanationOf(x *rhizome.Explanation) Explanation {
	out := Explanation{
		Key: delta.Key(x.Entity, x.Path), Rules: x.Rules, Properties: []ExplainedProperty{}, Killed: []KilledSurvivor{},
		More: x.More, Horizon: x.Horizon,
	}
	if !x.Absent {
		out.Value = rawJSON(x.Value)
	}
	if !x.Since.IsZero() {
		out.Since = &x.Since
	}
	for i := range x.Properties {
		out.Properties = append(out.Properties, explainedOf(&x.Properties[i]))
	}
	for i := range x.Killed {
		k := KilledSurvivor{Survivor: SurvivorOf(&x.Killed[i].Survivor), By: []Killer{}, Killers: x.Killed[i].KilledBy}
		for _, by := range x.Killed[i].By {
			one := Killer{Dot: dotText(by.Dot), Author: by.Author.String()}
			if by.Known {
				t := by.Time.Time()
				one.Creator, one.Verb, one.Time = creatorOf(by.Creator, by.Author), by.Verb.String(), &t
			}
			k.By = append(k.By, one)
		}
		out.Killed = append(out.Killed, k)
	}
	return out
}

func explainedOf(p *rhizome.ExplainedProperty) ExplainedProperty {
	out := ExplainedProperty{
		Path: p.Path, Property: p.ID, Resolver: p.Resolver, Why: p.Why, Conflict: p.Conflict, Survivors: []Survivor{},
	}
	if !p.Absent {
		out.Value = rawJSON(p.Value)
	}
	if p.Error != nil {
		e := PropertyErrorOf(p.Error)
		out.Error = &e
	}
	for id, x := range p.Inputs { // into a map: the order does not matter
		if out.Inputs == nil {
			out.Inputs = make(map[string]json.RawMessage)
		}
		out.Inputs[id] = rawJSON(x)
	}
	for i := range p.Survivors {
		out.Survivors = append(out.Survivors, SurvivorOf(&p.Survivors[i]))
	}
	return out
}
