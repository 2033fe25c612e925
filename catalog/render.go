package catalog

import (
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/merge"
)

// An Item is what a view shows of one entity.
type Item struct {
	Entity string
	Value  any
	Errors []*merge.PropertyError
	Alarms []string
}

// Render returns what the view shows of an entity; ok is false where it is not
// part of the view. It depends on the survivors of that entity alone and, where
// the view follows references, on those of the entities that it reaches.
func (v *View) Render(s merge.View, entity string) (item Item, ok bool, err error) {
	if !v.Match(entity) {
		return item, false, nil
	}
	r, found, err := merge.ReadWith(s, entity, "", v.Rules(entity))
	if err != nil || !found {
		return item, false, err
	}
	for i := range v.conditions {
		if !v.conditions[i].met(r.Value, !r.Absent) {
			return item, false, nil
		}
	}
	item = Item{Entity: entity, Value: v.project(r.Value), Errors: r.Errors, Alarms: r.Alarms}
	if v.Expand > 0 {
		x := Expansion{View: s, Rules: v.Rules}
		item.Value, err = x.Value(item.Value, v.Expand, entity)
	}
	return item, err == nil, err
}

// project keeps the paths that the view names.
func (v *View) project(doc any) any {
	if len(v.Project) == 0 {
		return doc
	}
	out := map[string]any{}
	for _, p := range v.Project {
		x, ok := at(doc, p)
		if !ok {
			continue
		}
		segments := p.Segments()
		if len(segments) == 0 {
			return doc
		}
		into := out
		for _, name := range segments[:len(segments)-1] {
			next, ok := into[name].(map[string]any)
			if !ok {
				next = map[string]any{}
				into[name] = next
			}
			into = next
		}
		into[segments[len(segments)-1]] = x
	}
	return out
}

// An Expansion follows references: {"$ref": E} becomes {"$ref": E, "$value": …}
// with what E shows. An entity on the way to itself stays a reference, and so
// does what is not there.
type Expansion struct {
	View  merge.View
	Rules func(entity string) *merge.Rules

	read int
}

// Value follows the references in a value of an entity, to a depth.
func (x *Expansion) Value(value any, depth int, path ...string) (any, error) {
	switch value := value.(type) {
	case []any:
		out := make([]any, len(value))
		for i := range value {
			var err error
			if out[i], err = x.Value(value[i], depth, path...); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		if target, ok := merge.RefOf(value); ok {
			return x.follow(target, value, depth, path)
		}
		out := make(map[string]any, len(value))
		for _, name := range slices.Sorted(maps.Keys(value)) { // what is followed first, when not all is
			e, err := x.Value(value[name], depth, path...)
			if err != nil {
				return nil, err
			}
			out[name] = e
		}
		return out, nil
	}
	return value, nil
}

func (x *Expansion) follow(target string, ref map[string]any, depth int, path []string) (any, error) {
	if depth == 0 || x.read == MaxExpanded || slices.Contains(path, target) {
		return ref, nil
	}
	x.read++
	r, found, err := merge.ReadWith(x.View, target, "", x.Rules(target))
	if err != nil || !found {
		return ref, err
	}
	value, err := x.Value(r.Value, depth-1, append(path[:len(path):len(path)], target)...)
	return map[string]any{"$ref": target, "$value": value}, err
}
