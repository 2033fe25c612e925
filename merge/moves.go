package merge

import (
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/digest"
)

// A Place is where a survivor is read, and as what.
type Place struct {
	Path     delta.Path
	Survivor Survivor
	// Err is what readers are shown at the path in place of a value: the survivor
	// could not be moved. Survivor is empty then.
	Err error
}

// A Standing is a survivor where it stands, and the places where the moves of
// rules have it read.
type Standing struct {
	Path     delta.Path
	Tag      delta.Tag
	Survivor Survivor
	Places   []Place

	key []byte // of its row; valid during the call that it is given to
}

// readsIn reports whether the survivor is read at or below a path.
func (s *Standing) readsIn(p delta.Path) bool {
	return slices.ContainsFunc(s.Places, func(x Place) bool { return under(p, x.Path) })
}

// places returns where a survivor at a path is read.
func (r *Rules) places(p delta.Path, s *Survivor) []Place {
	if r == nil || len(r.Moves) == 0 {
		return []Place{{Path: p, Survivor: *s}}
	}
	var out []Place
	now := []Moved{{p, s.reads()}}
	for _, move := range r.Moves {
		var next []Moved
		for _, m := range now {
			to, err := move(m.Path, m.Value)
			if err == nil {
				next = append(next, to...)
				continue
			}
			if len(to) == 0 {
				to = []Moved{m}
			}
			for _, t := range to {
				out = append(out, Place{Path: t.Path, Err: err})
			}
		}
		now = next
	}
	for _, m := range now {
		out = append(out, Place{Path: m.Path, Survivor: s.as(m.Value)})
	}
	return out
}

// Sources returns where survivors may stand that moves bring to or below some
// paths: at and below the paths in below, and exactly at those in exact, in the
// values of which something to be moved may lie. What stands at or below the
// given paths themselves may be left out.
func (r *Rules) Sources(paths ...delta.Path) (below, exact []delta.Path) {
	if r == nil || len(r.Moves) == 0 {
		return nil, nil
	}
	if r.Origins == nil {
		return []delta.Path{""}, nil
	}
	for _, p := range paths {
		below = append(below, r.Origins(p)...)
	}
	for _, p := range slices.Concat(below, paths) { // what is moved out of a value may be moved back
		exact = append(exact, p.Ancestors()...)
	}
	return outermost(below), outside(exact, below)
}

// Reach returns, as Sources does, where survivors may stand that moves bring to or
// below some paths, those paths themselves with it, or that hold them in a value.
func (r *Rules) Reach(paths ...delta.Path) (below, exact []delta.Path) {
	below, exact = r.Sources(paths...)
	below = outermost(append(below, paths...))
	return below, outside(exact, below)
}

// outermost returns, sorted, the paths that lie inside no other one.
func outermost(paths []delta.Path) []delta.Path {
	slices.Sort(paths)
	paths = slices.Compact(paths)
	all := make(map[delta.Path]bool, len(paths))
	for _, p := range paths {
		all[p] = true
	}
	return slices.DeleteFunc(slices.Clone(paths), func(p delta.Path) bool {
		return slices.ContainsFunc(p.Ancestors(), func(up delta.Path) bool { return all[up] })
	})
}

// outside returns, sorted, the paths that are at or below none of others.
func outside(paths, others []delta.Path) []delta.Path {
	all := make(map[delta.Path]bool, len(others))
	for _, p := range others {
		all[p] = true
	}
	slices.Sort(paths)
	return slices.DeleteFunc(slices.Compact(paths), func(p delta.Path) bool {
		return all[p] || slices.ContainsFunc(p.Ancestors(), func(up delta.Path) bool { return all[up] })
	})
}

// Standings calls f for each survivor of an entity at and below a path, or
// exactly at it, in the order of keys.
func Standings(v View, entity string, p delta.Path, exact bool, rules *Rules, f func(*Standing) error) error {
	prefix := AppendPrefix(nil, entity, p)
	if exact {
		prefix = AppendExact(nil, entity, p)
	}
	return v.Rows(prefix, func(key []byte, row []Survivor) error {
		_, at, tag, err := ParseKey(key)
		for i := 0; i < len(row) && err == nil; i++ {
			err = f(&Standing{Path: at, Tag: tag, Survivor: row[i], Places: rules.places(at, &row[i]), key: key})
		}
		return err
	})
}

// StandingsIn calls f for each survivor that rules have read at or below a path,
// wherever it stands.
func StandingsIn(v View, entity string, p delta.Path, rules *Rules, f func(*Standing) error) error {
	below, exact := rules.Reach(p)
	read := func(s *Standing) error {
		if !s.readsIn(p) {
			return nil
		}
		return f(s)
	}
	for _, q := range below {
		if err := Standings(v, entity, q, false, rules, read); err != nil {
			return err
		}
	}
	for _, q := range exact {
		if err := Standings(v, entity, q, true, rules, read); err != nil {
			return err
		}
	}
	return nil
}

// ETag returns the ETag that ReadWith gives a reading, without reading. Found is
// false where no survivor is read at or below the path.
func ETag(v View, entity string, p delta.Path, rules *Rules) (sum digest.Sum, found bool, err error) {
	err = StandingsIn(v, entity, p, rules, func(s *Standing) error {
		sum, found = sum.Plus(s.Survivor.Sum(s.key)), true
		return nil
	})
	return sum, found, err
}
