package schema

import (
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
)

// retypes are what a value can be turned into.
var retypes = []string{"string", "integer", "number", "boolean", "array"}

func (b *builder) migrations() {
	if len(b.s.Migrate) > MaxMigrations {
		b.add("/migrate", "has %d migrations, at most %d are allowed", len(b.s.Migrate), MaxMigrations)
	}
	for i := range b.s.Migrate {
		at := item("/migrate", i)
		switch g := &b.s.Migrate[i]; {
		case b.at[at]:
		case g.Rename != nil:
			at = at.Child("rename")
			b.moved(g.Rename.From, at.Child("from"), []delta.Path{g.Rename.To}, func(int) delta.Path { return at.Child("to") })
		case g.Split != nil:
			at = at.Child("split")
			b.split(g.Split, at)
		case g.Retype != nil:
			at = at.Child("retype")
			b.path(g.Retype.Path, at.Child("path"))
			if !slices.Contains(retypes, g.Retype.To) {
				b.add(at.Child("to"), "%q is none of %s", g.Retype.To, strings.Join(retypes, ", "))
			}
		case g.Default != nil:
			b.migrationDefault(g.Default, at.Child("default"))
		default:
			b.add(at, "is none of rename, split, retype and default")
		}
	}
}

func (b *builder) split(g *Split, at delta.Path) {
	if len(g.To) < 2 || len(g.To) > MaxParts {
		b.add(at.Child("to"), "names %d paths; a value is split into 2 to %d", len(g.To), MaxParts)
	}
	if g.Separator == "" {
		b.add(at.Child("separator"), "is missing")
	}
	to := func(i int) delta.Path { return item(at.Child("to"), i) }
	b.moved(g.From, at.Child("from"), g.To, to)
	for i, p := range g.To {
		if j := slices.IndexFunc(g.To, func(q delta.Path) bool { return overlap(p, q) }); j < i {
			b.add(to(i), "path %q and path %q are the same, or one lies inside the other", p, g.To[j])
		}
	}
}

// moved checks a change of place.
func (b *builder) moved(from, at delta.Path, to []delta.Path, toAt func(int) delta.Path) {
	if !b.path(from, at) {
		return
	}
	if from == "" {
		b.add(at, "the whole entity cannot be moved")
		return
	}
	for i, p := range to {
		switch {
		case !b.path(p, toAt(i)):
		case overlap(from, p):
			b.add(toAt(i), "path %q and path %q are the same, or one lies inside the other", from, p)
		case stars(from) != stars(p):
			b.add(toAt(i), "path %q has %d stars and path %q has %d; each stands for what the other does", from, stars(from), p, stars(p))
		}
	}
	for i := range b.s.Properties {
		if p := &b.s.Properties[i]; covers(from, p.Path) {
			b.add(item("/properties", i).Child("path"), "path %q of property %q is renamed away, at %s", p.Path, p.ID, at)
		}
	}
}

func (b *builder) migrationDefault(g *Default, at delta.Path) {
	i := slices.IndexFunc(b.s.Properties, func(p Property) bool { return p.Path == g.Path })
	if i < 0 {
		b.add(at.Child("path"), "no property has the path %q", g.Path)
		return
	}
	p := &b.s.Properties[i]
	switch {
	case isWild(p.Path):
		b.add(at.Child("path"), "path %q of property %q has a *, and such a property cannot have a default", p.Path, p.ID)
	case p.HasDefault:
		b.add(at.Child("path"), "property %q has a default of its own", p.ID)
	default:
		if f := p.reading().check(b.b.types[i], g.Value); f != nil {
			b.add(at.Child("value")+f.at, "default of property %q: %s", p.ID, f.text)
		}
	}
}

func stars(p delta.Path) (n int) {
	for p != "" {
		var name string
		if name, p = cut(p); name == star {
			n++
		}
	}
	return n
}

// overlap reports whether some path matches one of two and lies at or below a
// path that matches the other.
func overlap(p, q delta.Path) bool {
	for p != "" && q != "" {
		var a, b string
		a, p = cut(p)
		b, q = cut(q)
		if a != b && a != star && b != star {
			return false
		}
	}
	return true
}

// covers reports whether all that matches q lies at or below what matches p.
func covers(p, q delta.Path) bool {
	for p != "" {
		if q == "" {
			return false
		}
		var a, b string
		a, p = cut(p)
		b, q = cut(q)
		if a != b && a != star {
			return false
		}
	}
	return true
}
