package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A blueprint is what a schema comes to by itself: all that does not depend on
// other versions and on resolvers.
type blueprint struct {
	patterns []*pattern
	file     *protoFile // nil without a .proto text
	types    []*valueType
	refs     [][]*pattern
	tree     *tree
	order    []int // of properties, each after those that it depends on
}

// builder checks a schema and makes its blueprint.
type builder struct {
	*mistakes
	s    *Schema
	b    *blueprint
	byID map[string]int
}

// build notes all mistakes. What it returns is of use only where there are none.
func build(s *Schema, m *mistakes) *blueprint {
	b := &builder{m, s, &blueprint{tree: newTree()}, make(map[string]int)}
	b.head()
	n := len(s.Properties)
	b.b.types, b.b.refs = make([]*valueType, n), make([][]*pattern, n)
	for i := range s.Properties {
		at := item("/properties", i)
		p := &s.Properties[i]
		b.identity(i, p, at)
		b.form(p, at)
		b.types(i, p, at)
	}
	b.dependencies()
	b.migrations()
	return b.b
}

func (b *builder) head() {
	s := b.s
	if err := checkName(s.Name); err != nil {
		b.add("/name", "%v", err)
	}
	if s.Version < 1 || s.Version > MaxVersion {
		b.add("/version", "version %d; versions are numbered from 1 to %d", s.Version, MaxVersion)
	}
	if len(s.Entities) == 0 {
		b.add("/entities", "names no entities")
	}
	if len(s.Entities) > MaxPatterns {
		b.add("/entities", "has %d patterns, at most %d are allowed", len(s.Entities), MaxPatterns)
	}
	if len(s.Properties) > MaxProperties {
		b.add("/properties", "has %d properties, at most %d are allowed", len(s.Properties), MaxProperties)
	}
	b.b.patterns = b.patterns(s.Entities, "/entities")
	if s.Proto != "" {
		var err error
		if b.b.file, err = compileProto(s.Proto); err != nil {
			b.add("/proto", "%v", err)
		}
	}
}

func (b *builder) patterns(texts []string, at delta.Path) []*pattern {
	var out []*pattern
	for i, text := range texts {
		if j := slices.Index(texts, text); j < i {
			b.add(item(at, i), "pattern %q is there already, at %s", text, item(at, j))
			continue
		}
		p, err := parsePattern(text)
		if err != nil {
			b.add(item(at, i), "%v", err)
			continue
		}
		out = append(out, p)
	}
	return out
}

// checkName says what is wrong with the name of a schema or the id of a
// property, if anything.
func checkName(s string) error {
	switch {
	case s == "":
		return errors.New("is missing")
	case len(s) > MaxNameBytes:
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(s), MaxNameBytes)
	}
	for i, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789-.", rune(c))) {
			return fmt.Errorf("%q: a name is a letter, then letters, digits and any of - . and _", s)
		}
	}
	return nil
}

// identity checks id and path, and puts the property into the tree.
func (b *builder) identity(i int, p *Property, at delta.Path) {
	if err := checkName(p.ID); err != nil {
		b.add(at.Child("id"), "%v", err)
	} else if j, ok := b.byID[p.ID]; ok {
		b.add(at.Child("id"), "property id %q is there already, at %s", p.ID, item("/properties", j))
	} else {
		b.byID[p.ID] = i
	}
	if b.at[at.Child("path")] || !b.path(p.Path, at.Child("path")) {
		return
	}
	if j := b.b.tree.clash(p.Path, true); j >= 0 {
		o := &b.s.Properties[j]
		if o.Path == p.Path {
			b.add(at.Child("path"), "path %q of property %q is that of property %q already", p.Path, p.ID, o.ID)
		} else {
			b.add(at.Child("path"), "path %q of property %q and path %q of property %q: one lies inside the other",
				p.Path, p.ID, o.Path, o.ID)
		}
		return
	}
	b.b.tree.insert(p.Path, i)
}

// path checks a path that may have stars.
func (b *builder) path(p, at delta.Path) bool {
	if _, err := delta.ParsePath(string(p)); err != nil {
		b.add(at, "%v", err)
		return false
	}
	if n := strings.Count(string(p), "/"); n > delta.MaxDepth {
		b.add(at, "path of %d segments, at most %d are allowed", n, delta.MaxDepth)
		return false
	}
	return true
}

// isWild reports whether a path has a segment that stands for any name.
func isWild(p delta.Path) bool { return slices.Contains(strings.Split(string(p), "/"), star) }

// form checks what of a property goes together.
func (b *builder) form(p *Property, at delta.Path) {
	switch p.Verb {
	case Register, Bag, Ballot, Counter:
	default:
		b.add(at.Child("verb"), "verb %q of property %q is none of register, bag, ballot and counter", p.Verb, p.ID)
	}
	if p.Resolver != nil && p.Resolver.Use == "" {
		b.add(at.Child("resolver"), "property %q names no resolver", p.ID)
	}
	if p.Resolver == nil && p.Computed {
		b.add(at, "property %q is computed, but has no resolver", p.ID)
	}
	if p.Resolver == nil && len(p.Depends) > 0 {
		b.add(at.Child("depends"), "property %q depends on others, but has no resolver", p.ID)
	}
	if p.Computed && p.Verb != Register {
		b.add(at.Child("verb"), "property %q is computed: nobody writes it, so it has no verb", p.ID)
	}
	if isWild(p.Path) {
		for _, x := range []struct {
			has  bool
			what string
		}{
			{len(p.Depends) > 0, "depends"}, {p.Required, "required"}, {p.HasDefault, "default"}, {p.Computed, "computed"},
		} {
			if x.has {
				b.add(at.Child(x.what), "property %q has a path with *, and such a property cannot have %q", p.ID, x.what)
			}
		}
	}
	if f := p.Ref; f != nil {
		b.ref(p, f, at)
	}
}

func (b *builder) ref(p *Property, f *Ref, at delta.Path) {
	switch f.Dangling {
	case merge.DanglingKeep, merge.DanglingNull, merge.DanglingOmit, merge.DanglingError:
	default:
		b.add(at.Child("ref").Child("dangling"), "%q of property %q is none of keep, null, omit and error", f.Dangling, p.ID)
	}
	if p.Type != nil {
		b.add(at.Child("type"), "property %q is a reference, which is its type", p.ID)
	}
	if p.Verb == Counter {
		b.add(at.Child("ref"), "property %q is a counter and cannot refer to anything", p.ID)
	}
}

// types compiles the type of a property, and holds the default to it.
func (b *builder) types(i int, p *Property, at delta.Path) {
	if f := p.Ref; f != nil {
		to := b.patterns(f.To, at.Child("ref").Child("to"))
		b.b.refs[i] = to
		b.b.types[i] = refType(to, f.Dangling == merge.DanglingNull)
	} else if p.Type != nil {
		t, f := compileType(p.Type, b.b.file)
		switch {
		case f == nil:
			b.b.types[i] = t
		case b.at["/proto"]: // what follows from that mistake
		default:
			b.add(at.Child("type")+f.at, "type of property %q: %s", p.ID, f.text)
		}
	}
	if b.b.types[i] == nil {
		b.b.types[i] = anything()
	}
	if p.HasDefault {
		if f := p.reading().check(b.b.types[i], p.Default); f != nil {
			b.add(at.Child("default")+f.at, "default of property %q: %s", p.ID, f.text)
		}
	}
}

// refType is the type of references.
func refType(to []*pattern, orNull bool) *valueType {
	return &valueType{check: func(v any) *fault {
		if v == nil && orNull {
			return nil
		}
		entity, ok := refOf(v)
		if !ok {
			return &fault{"", fmt.Sprintf("is %s, must be a reference", describe(v))}
		}
		if err := delta.CheckEntity(entity); err != nil {
			return &fault{"", err.Error()}
		}
		if !matchAny(to, entity) {
			return &fault{"", fmt.Sprintf("refers to %q, must refer to %s", entity, patternTexts(to))}
		}
		return nil
	}}
}

// matchAny reports whether one of the patterns matches; where there are none
// everything does.
func matchAny(to []*pattern, entity string) bool {
	return len(to) == 0 || slices.ContainsFunc(to, func(p *pattern) bool { return p.match(entity) })
}

func patternTexts(to []*pattern) string {
	texts := make([]string, len(to))
	for i, p := range to {
		texts[i] = p.text
	}
	return strings.Join(texts, " or ")
}

// dependencies puts the properties in order.
func (b *builder) dependencies() {
	n := len(b.s.Properties)
	ids, deps := make([]string, n), make([][]int, n)
	for i := range b.s.Properties {
		p := &b.s.Properties[i]
		ids[i] = p.ID
		if len(p.Depends) > MaxDepends {
			b.add(item("/properties", i).Child("depends"), "property %q depends on %d others, at most %d are allowed", p.ID, len(p.Depends), MaxDepends)
		}
		for k, d := range p.Depends {
			at := item(item("/properties", i).Child("depends"), k)
			j, ok := b.byID[d.ID]
			switch {
			case !ok:
				b.add(at, "property %q depends on %q, which is no property", p.ID, d.ID)
			case slices.Contains(deps[i], j):
				b.add(at, "property %q depends on %q twice", p.ID, d.ID)
			case isWild(b.s.Properties[j].Path):
				b.add(at, "property %q depends on %q, whose path has a * and so stands for many", p.ID, d.ID)
			default:
				deps[i] = append(deps[i], j)
			}
		}
	}
	order, cycles := sortByDependency(ids, deps)
	for _, c := range cycles {
		var names []string
		for _, i := range slices.Concat(c, c[:1]) {
			names = append(names, ids[i])
		}
		b.add(item("/properties", c[0]).Child("depends"), "properties depend on each other: %s", strings.Join(names, " -> "))
	}
	b.b.order = order
}
