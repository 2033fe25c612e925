package schema

import (
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A route is a path of a migration, which takes a path apart into what its
// stars stand for and what lies below.
type route delta.Path

// match reports whether p is at or below the route.
func (r route) match(p delta.Path) (bound []string, rest delta.Path, ok bool) {
	for q := delta.Path(r); q != ""; {
		if p == "" {
			return nil, "", false
		}
		var want, name string
		want, q = cut(q)
		name, p = cut(p)
		switch want {
		case star:
			bound = append(bound, name)
		case name:
		default:
			return nil, "", false
		}
	}
	return bound, p, true
}

// build returns the path with its stars filled in.
func (r route) build(bound []string) delta.Path {
	if len(bound) == 0 {
		return delta.Path(r)
	}
	var out []byte
	for q := delta.Path(r); q != ""; {
		var name string
		if name, q = cut(q); name == star {
			name, bound = bound[0], bound[1:]
		}
		out = append(append(out, '/'), name...)
	}
	return delta.Path(out)
}

// A step is one migration. What lies at or below from becomes what apply makes
// of it: bound is what the stars of from stand for, rest what is below it.
type step struct {
	from  route
	apply func(bound []string, rest delta.Path, value any) ([]merge.Moved, error)
	// goes is where from goes, for paths without values; nil where it stays.
	goes []route
}

// steps returns the migrations of one version that move or change values.
func steps(s *Schema) []step {
	var out []step
	for i := range s.Migrate {
		switch g := &s.Migrate[i]; {
		case g.Rename != nil:
			to := route(g.Rename.To)
			out = append(out, step{from: route(g.Rename.From), goes: []route{to}, apply: func(bound []string, rest delta.Path, value any) ([]merge.Moved, error) {
				return []merge.Moved{{Path: to.build(bound) + rest, Value: value}}, nil
			}})
		case g.Split != nil:
			out = append(out, splitStep(g.Split))
		case g.Retype != nil:
			out = append(out, retypeStep(g.Retype))
		}
	}
	return out
}

// A mover applies the migrations of all versions.
type mover struct {
	steps []step
	// sources finds the paths that some step may concern.
	sources *tree
}

// newMover returns nil where there is nothing to do.
func newMover(all []step) *mover {
	if len(all) == 0 {
		return nil
	}
	m := &mover{steps: all, sources: newTree()}
	for i := range all {
		// Paths inside others do no harm here: the outer one is found first.
		m.sources.insert(delta.Path(all[i].from), i)
	}
	return m
}

// move is the merge.Move of all migrations together.
func (m *mover) move(p delta.Path, value any) ([]merge.Moved, error) {
	where, _, _ := m.sources.find(p)
	if _, isObject := value.(map[string]any); where == outside || where == above && !isObject {
		return []merge.Moved{{Path: p, Value: value}}, nil
	}
	now := []merge.Moved{{Path: p, Value: value}}
	for i := range m.steps {
		var next []merge.Moved
		for _, x := range now {
			out, err := m.steps[i].run(x)
			if err != nil {
				return m.failed(out, i+1), err
			}
			next = append(next, out...)
		}
		now = next
	}
	return now, nil
}

// failed returns the places that an error has in the end, once the remaining
// steps have moved them too.
func (m *mover) failed(at []merge.Moved, from int) []merge.Moved {
	var out []merge.Moved
	for _, x := range at {
		for _, p := range m.where(x.Path, from) {
			out = append(out, merge.Moved{Path: p})
		}
	}
	return out
}

// where returns the paths at which a path is read after the steps from one on.
func (m *mover) where(p delta.Path, from int) []delta.Path {
	now := []delta.Path{p}
	for _, s := range m.steps[from:] {
		var next []delta.Path
		for _, p := range now {
			bound, rest, ok := s.from.match(p)
			if !ok || s.goes == nil {
				next = append(next, p)
				continue
			}
			for _, to := range s.goes {
				next = append(next, to.build(bound)+rest)
			}
		}
		now = next
	}
	return now
}

// origins returns the paths at which what is read at a path may stand, the path
// itself first. A path of a migration may have stars; they are cut off with
// all that follows, so that an origin may be too much but is never too little.
func (m *mover) origins(p delta.Path) []delta.Path {
	out := []delta.Path{p}
	if m == nil {
		return out
	}
	add := func(p delta.Path) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for _, s := range slices.Backward(m.steps) {
		for _, o := range slices.Clone(out) {
			for _, to := range s.goes {
				if bound, rest, ok := to.match(o); ok {
					add(s.from.build(bound) + rest)
				} else if overlap(delta.Path(to), o) {
					add(literalPart(delta.Path(s.from)))
				}
			}
		}
	}
	return out
}

// elsewhere returns the origins of a path that are not at or below it.
func (m *mover) elsewhere(p delta.Path) []delta.Path {
	return slices.DeleteFunc(m.origins(p), func(o delta.Path) bool {
		_, below := cutPath(o, p)
		return below || o == p
	})
}

func literalPart(p delta.Path) delta.Path {
	for at, rest := 0, p; rest != ""; at = len(p) - len(rest) {
		var name string
		if name, rest = cut(rest); name == star {
			return p[:at]
		}
	}
	return p
}

// run applies a step to what is at one place: at or below the path of the
// step, or above it, in an object that was written as one value.
func (s *step) run(x merge.Moved) ([]merge.Moved, error) {
	if bound, rest, ok := s.from.match(x.Path); ok {
		return s.apply(bound, rest, x.Value)
	}
	object, ok := x.Value.(map[string]any)
	if !ok || !overlap(delta.Path(s.from), x.Path) {
		return []merge.Moved{x}, nil
	}
	var hits []merge.Moved
	object = cloneObjects(object)
	below := delta.Path(s.from)
	for range delta.Path(x.Path).Segments() {
		_, below = cut(below)
	}
	pluck(object, x.Path, below, &hits)
	if len(hits) == 0 {
		return []merge.Moved{x}, nil
	}
	var out []merge.Moved
	for _, h := range hits {
		bound, rest, _ := s.from.match(h.Path)
		moved, err := s.apply(bound, rest, h.Value)
		if err != nil {
			return append(moved, merge.Moved{Path: x.Path}), err
		}
		for _, y := range moved {
			if rest, inside := cutPath(y.Path, x.Path); !inside || !graft(object, rest, y.Value) {
				out = append(out, y)
			}
		}
	}
	if len(object) > 0 {
		out = append(out, merge.Moved{Path: x.Path, Value: object})
	}
	return out, nil
}

// cutPath returns what is left of a path below another one.
func cutPath(p, at delta.Path) (rest delta.Path, ok bool) {
	if len(p) <= len(at) || p[:len(at)] != at || p[len(at)] != '/' {
		return "", false
	}
	return p[len(at):], true
}

// cloneObjects copies the objects of a document; what is in arrays is one value
// with them.
func cloneObjects(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if o, ok := v.(map[string]any); ok {
			v = cloneObjects(o)
		}
		out[k] = v
	}
	return out
}

// pluck takes what matches below out of an object, in the order of names, and
// with it the objects that have nothing else.
func pluck(object map[string]any, at, below delta.Path, hits *[]merge.Moved) {
	if _, ok := refOf(object); ok {
		return
	}
	name, rest := cut(below)
	names := slices.Sorted(maps.Keys(object))
	if name != star {
		names = delta.Path("/" + name).Segments()
	}
	for _, k := range names {
		v, ok := object[k]
		if !ok {
			continue
		}
		if rest == "" {
			*hits = append(*hits, merge.Moved{Path: at.Child(k), Value: v})
			delete(object, k)
			continue
		}
		if o, ok := v.(map[string]any); ok && len(o) > 0 {
			if pluck(o, at.Child(k), rest, hits); len(o) == 0 {
				delete(object, k)
			}
		}
	}
}

// graft puts a value into an object, unless something is there. It returns
// false where a value is in the way.
func graft(object map[string]any, at delta.Path, value any) bool {
	names := at.Segments()
	for _, name := range names[:len(names)-1] {
		next, ok := object[name].(map[string]any)
		if _, there := object[name]; there && !ok {
			return false
		}
		if next == nil {
			next = make(map[string]any)
			object[name] = next
		}
		object = next
	}
	last := names[len(names)-1]
	if _, there := object[last]; !there {
		object[last] = value
	}
	return true
}
