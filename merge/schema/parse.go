package schema

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// Parse reads one document and checks it by itself. The error joins all
// mistakes, each a *Mistake.
func Parse(text []byte) (*Schema, error) {
	if len(text) > MaxDocumentBytes {
		return nil, &Mistake{"", fmt.Sprintf("document of %d bytes, at most %d are allowed", len(text), MaxDocumentBytes)}
	}
	x, err := delta.ParseJSON(text)
	if err != nil {
		return nil, &Mistake{"", err.Error()}
	}
	var r reader
	s := r.schema(x)
	built := build(s, &r.mistakes)
	if err := r.err(); err != nil {
		return nil, err
	}
	s.built = built
	return s, nil
}

// A reader takes a document apart. What has the wrong form is noted and reads
// as if it were missing.
type reader struct{ mistakes }

// member returns a member of an object as T; ok is false where it is missing
// or is none.
func member[T any](r *reader, m map[string]any, at delta.Path, key, want string) (v T, ok bool) {
	x, found := m[key]
	if !found {
		return v, false
	}
	if v, ok = x.(T); !ok {
		r.add(at.Child(key), "is %s, must be %s", describe(x), want)
	}
	return v, ok
}

func (r *reader) text(m map[string]any, at delta.Path, key string) string {
	s, _ := member[string](r, m, at, key, "a string")
	return s
}

func (r *reader) flag(m map[string]any, at delta.Path, key string) bool {
	b, _ := member[bool](r, m, at, key, "true or false")
	return b
}

// list returns the elements of an array, at most limit.
func (r *reader) list(m map[string]any, at delta.Path, key string, limit int) []any {
	l, _ := member[[]any](r, m, at, key, "an array")
	if len(l) > limit {
		r.add(at.Child(key), "has %d elements, at most %d are allowed", len(l), limit)
		l = l[:limit]
	}
	return l
}

func (r *reader) texts(m map[string]any, at delta.Path, key string, limit int) []string {
	var out []string
	for i, x := range r.list(m, at, key, limit) {
		s, ok := x.(string)
		if !ok {
			r.add(item(at.Child(key), i), "is %s, must be a string", describe(x))
		}
		out = append(out, s)
	}
	return out
}

// object returns x as an object that has no other members than those known.
func (r *reader) object(x any, at delta.Path, known ...string) map[string]any {
	m, ok := x.(map[string]any)
	if !ok {
		r.add(at, "is %s, must be an object", describe(x))
		return nil
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, k) {
			r.add(at.Child(k), "unknown member %q; known are %s", k, strings.Join(known, ", "))
		}
	}
	return m
}

func (r *reader) schema(x any) *Schema {
	m := r.object(x, "", "name", "version", "description", "entities", "additional", "proto", "properties", "migrate")
	s := &Schema{
		Name:        r.text(m, "", "name"),
		Description: r.text(m, "", "description"),
		Entities:    r.texts(m, "", "entities", MaxPatterns),
		Proto:       r.text(m, "", "proto"),
	}
	if n, ok := member[int64](r, m, "", "version", "an integer"); ok {
		s.Version = int(min(max(n, math.MinInt32), MaxVersion))
		if n != int64(s.Version) {
			r.add("/version", "version %d is past %d", n, MaxVersion)
		}
	}
	if open, ok := member[bool](r, m, "", "additional", "true or false"); ok {
		s.Closed = !open
	}
	for i, x := range r.list(m, "", "properties", MaxProperties) {
		s.Properties = append(s.Properties, r.property(x, item("/properties", i)))
	}
	for i, x := range r.list(m, "", "migrate", MaxMigrations) {
		s.Migrate = append(s.Migrate, r.migration(x, item("/migrate", i)))
	}
	return s
}

func (r *reader) property(x any, at delta.Path) Property {
	m := r.object(x, at, "id", "path", "description", "type", "verb", "resolver", "required", "default", "ref", "computed", "depends")
	p := Property{
		ID:          r.text(m, at, "id"),
		Path:        delta.Path(r.text(m, at, "path")),
		Description: r.text(m, at, "description"),
		Verb:        Register,
		Required:    r.flag(m, at, "required"),
		Computed:    r.flag(m, at, "computed"),
	}
	if _, ok := m["path"]; !ok && m != nil {
		r.add(at.Child("path"), "property %q has no path", p.ID)
	}
	if v, ok := member[string](r, m, at, "verb", "a string"); ok {
		p.Verb = Verb(v)
	}
	if x, ok := m["type"]; ok {
		if p.Type = x; x == nil {
			r.add(at.Child("type"), "is null, must be a JSON Schema")
		}
	}
	if x, ok := m["default"]; ok {
		p.Default, p.HasDefault = r.value(x, at.Child("default"))
	}
	if x, ok := m["resolver"]; ok {
		p.Resolver = r.resolver(x, at.Child("resolver"))
	}
	if x, ok := m["ref"]; ok {
		p.Ref = r.ref(x, at.Child("ref"))
	}
	for i, x := range r.list(m, at, "depends", MaxDepends) {
		p.Depends = append(p.Depends, r.dep(x, item(at.Child("depends"), i)))
	}
	return p
}

// value returns x as a value that can be written, in the form of
// delta.Value.Any.
func (r *reader) value(x any, at delta.Path) (any, bool) {
	v, err := delta.ValueOf(x)
	if err != nil {
		r.add(at, "%v", err)
		return nil, false
	}
	out, err := v.Any()
	return out, err == nil
}

func (r *reader) resolver(x any, at delta.Path) *Resolver {
	if use, ok := x.(string); ok {
		return &Resolver{Use: use}
	}
	m, ok := x.(map[string]any)
	if !ok {
		r.add(at, "is %s, must be a name or an object with the member use", describe(x))
		return &Resolver{}
	}
	out := &Resolver{Use: r.text(m, at, "use")}
	for k, v := range m {
		if k != "use" {
			if out.Params == nil {
				out.Params = make(map[string]any)
			}
			out.Params[k] = v
		}
	}
	return out
}

func (r *reader) ref(x any, at delta.Path) *Ref {
	m := r.object(x, at, "to", "dangling")
	f := &Ref{To: r.texts(m, at, "to", MaxPatterns), Dangling: merge.DanglingKeep}
	if _, ok := m["to"]; ok && len(f.To) == 0 {
		r.add(at.Child("to"), "names no entities; leave it out to take all")
	}
	if d, ok := member[string](r, m, at, "dangling", "a string"); ok {
		f.Dangling = merge.Dangling(d)
	}
	return f
}

func (r *reader) dep(x any, at delta.Path) merge.Dep {
	if id, ok := x.(string); ok {
		return merge.Dep{ID: id}
	}
	m := r.object(x, at, "id", "optional")
	return merge.Dep{ID: r.text(m, at, "id"), Optional: r.flag(m, at, "optional")}
}

func (r *reader) migration(x any, at delta.Path) Migration {
	m := r.object(x, at, "rename", "split", "retype", "default")
	if m != nil && len(m) != 1 {
		r.add(at, "has %d members, must be one of rename, split, retype and default", len(m))
		return Migration{}
	}
	path := func(m map[string]any, at delta.Path, key string) delta.Path {
		return delta.Path(r.text(m, at, key))
	}
	var g Migration
	for kind, x := range m {
		at := at.Child(kind)
		switch kind {
		case "rename":
			m := r.object(x, at, "from", "to")
			g.Rename = &Rename{From: path(m, at, "from"), To: path(m, at, "to")}
		case "split":
			m := r.object(x, at, "from", "to", "separator")
			g.Split = &Split{From: path(m, at, "from"), Separator: r.text(m, at, "separator")}
			for _, to := range r.texts(m, at, "to", MaxParts) {
				g.Split.To = append(g.Split.To, delta.Path(to))
			}
		case "retype":
			m := r.object(x, at, "path", "to")
			g.Retype = &Retype{Path: path(m, at, "path"), To: r.text(m, at, "to")}
		case "default":
			m := r.object(x, at, "path", "value")
			g.Default = &Default{Path: path(m, at, "path")}
			if v, ok := m["value"]; ok {
				g.Default.Value, _ = r.value(v, at.Child("value"))
			} else if m != nil {
				r.add(at, "has no value")
			}
		}
	}
	return g
}

// describe names the type of a value, for people.
func describe(x any) string {
	switch x := x.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int64:
		return "an integer"
	case float64:
		if x == math.Trunc(x) {
			return "an integer"
		}
		return "a number"
	case string:
		return "a string"
	case []byte:
		return "a byte string"
	case []any:
		return "an array"
	case map[string]any:
		if _, ok := refOf(x); ok {
			return "a reference"
		}
		return "an object"
	}
	return fmt.Sprintf("a %T", x)
}

// refOf returns the entity that a value refers to.
func refOf(x any) (entity string, ok bool) {
	m, _ := x.(map[string]any)
	if len(m) != 1 {
		return "", false
	}
	entity, ok = m["$ref"].(string)
	return entity, ok
}
