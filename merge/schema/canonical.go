package schema

import (
	"cmp"
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// Canonical returns the schema as JSON in one form for all that mean the same:
// members sorted, properties by id, patterns and dependencies in order, and
// nothing that is the default.
func (s *Schema) Canonical() []byte {
	m := map[string]any{"name": s.Name, "version": int64(s.Version), "entities": sortedTexts(s.Entities)}
	put(m, "description", s.Description)
	put(m, "proto", s.Proto)
	if s.Closed {
		m["additional"] = false
	}
	sorted := slices.SortedStableFunc(slices.Values(s.Properties), func(a, b Property) int { return cmp.Compare(a.ID, b.ID) })
	properties := make([]any, len(sorted))
	for i := range sorted {
		properties[i] = sorted[i].document()
	}
	m["properties"] = properties
	var migrate []any
	for _, g := range s.Migrate {
		migrate = append(migrate, g.document())
	}
	if len(migrate) > 0 {
		m["migrate"] = migrate
	}
	return delta.AppendAnyJSON(nil, m)
}

// put sets a member unless it has the zero value.
func put[T comparable](m map[string]any, key string, v T) {
	var zero T
	if v != zero {
		m[key] = v
	}
}

func sortedTexts(l []string) []any {
	out := make([]any, len(l))
	for i, s := range slices.Sorted(slices.Values(l)) {
		out[i] = s
	}
	return out
}

func (p *Property) document() map[string]any {
	m := map[string]any{"id": p.ID, "path": string(p.Path)}
	put(m, "description", p.Description)
	put(m, "required", p.Required)
	put(m, "computed", p.Computed)
	if p.Type != nil {
		m["type"] = p.Type
	}
	if p.Verb != Register {
		m["verb"] = string(p.Verb)
	}
	if p.HasDefault {
		m["default"] = p.Default
	}
	if r := p.Resolver; r != nil {
		m["resolver"] = r.document()
	}
	if f := p.Ref; f != nil {
		ref := map[string]any{}
		if len(f.To) > 0 {
			ref["to"] = sortedTexts(f.To)
		}
		if f.Dangling != merge.DanglingKeep {
			ref["dangling"] = string(f.Dangling)
		}
		m["ref"] = ref
	}
	if len(p.Depends) > 0 {
		m["depends"] = depsDocument(p.Depends)
	}
	return m
}

func (r *Resolver) document() any {
	if len(r.Params) == 0 {
		return r.Use
	}
	m := map[string]any{"use": r.Use}
	for k, v := range r.Params {
		m[k] = v
	}
	return m
}

func depsDocument(deps []merge.Dep) []any {
	sorted := slices.SortedStableFunc(slices.Values(deps), func(a, b merge.Dep) int { return cmp.Compare(a.ID, b.ID) })
	out := make([]any, len(sorted))
	for i, d := range sorted {
		if out[i] = d.ID; d.Optional {
			out[i] = map[string]any{"id": d.ID, "optional": true}
		}
	}
	return out
}

func (g *Migration) document() map[string]any {
	switch {
	case g.Rename != nil:
		return map[string]any{"rename": map[string]any{"from": string(g.Rename.From), "to": string(g.Rename.To)}}
	case g.Split != nil:
		to := make([]any, len(g.Split.To))
		for i, p := range g.Split.To {
			to[i] = string(p)
		}
		return map[string]any{"split": map[string]any{"from": string(g.Split.From), "to": to, "separator": g.Split.Separator}}
	case g.Retype != nil:
		return map[string]any{"retype": map[string]any{"path": string(g.Retype.Path), "to": g.Retype.To}}
	case g.Default != nil:
		return map[string]any{"default": map[string]any{"path": string(g.Default.Path), "value": g.Default.Value}}
	}
	return map[string]any{}
}
