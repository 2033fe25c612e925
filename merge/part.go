package merge

import (
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
)

// collect brings what was read at and below the path into one list, and folds
// it.
func (e *evaluation) collect() {
	props := slices.DeleteFunc(e.r.Properties, func(p Property) bool { return len(p.Survivors) == 0 })
	if len(e.made) > 0 {
		props = append(props, e.made...)
		sortByKey(props)
	}
	e.r.Properties = nil
	for _, p := range props {
		if under(e.at, p.Path) {
			e.r.Properties = append(e.r.Properties, p)
		}
	}
	e.r.finish(e.at)
	if e.at != e.root {
		e.part(slices.DeleteFunc(props, func(p Property) bool { return !under(e.root, p.Path) }))
	}
}

// part makes the reading that of a part of a rule's property, which shows what
// the whole shows there: perhaps inside a default, or a value that a resolver
// made. props are all at and below the root.
func (e *evaluation) part(props []Property) {
	var hidden []delta.Path
	t := tree{conflicts: &hidden}
	whole, _, absent := t.fold(e.root, props)
	value, has := any(nil), false
	if !absent {
		value, has = partOf(whole, e.at[len(e.root):])
	}
	if len(e.r.Properties) > 0 && !e.r.Absent && !has {
		e.r.Conflicts = []delta.Path{e.at} // all here is hidden by what stands above
	}
	var above Property // the nearest
	var errs []*PropertyError
	for i := range props {
		if p := &props[i]; p.Path != e.at && under(p.Path, e.at) {
			above = *p
			if p.Err != nil {
				errs = append(errs, p.Err)
			}
		}
	}
	e.r.Errors = slices.Concat(errs, e.r.Errors)
	if len(e.r.Properties) == 0 && has {
		e.r.Properties = []Property{{Path: e.at, ID: above.ID, Use: above.Use, Why: above.Why, Value: value}}
	}
	e.r.Value, e.r.Absent = value, !has
}

// partOf returns what stands at a path inside a value. A reference has no inside.
func partOf(x any, p delta.Path) (any, bool) {
	for _, name := range p.Segments() {
		m, _ := x.(map[string]any)
		if _, isRef := RefOf(x); isRef {
			return nil, false
		}
		var ok bool
		if x, ok = m[name]; !ok {
			return nil, false
		}
	}
	return x, true
}

// clone copies a value with all that is in it.
func clone(x any) any {
	switch x := x.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, y := range x {
			out[k] = clone(y)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, y := range x {
			out[i] = clone(y)
		}
		return out
	case []byte:
		return slices.Clone(x)
	}
	return x
}
