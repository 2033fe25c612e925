package synthesize

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A leaf is one leaf of one fragment, where it is read.
type leaf struct {
	path  delta.Path
	value delta.Value
	from  delta.Path // where it stands in the fragment
	key   []byte     // of its row
	rank  int        // of the fragment
}

// compare orders leaves by row and fragment: each path before those below it.
func (l *leaf) compare(o *leaf) int {
	return cmp.Or(bytes.Compare(l.key, o.key), cmp.Compare(l.rank, o.rank))
}

// entity is what the state is called in the kernel. Nothing shows it.
const entity = "state"

// flatten returns the leaves of all fragments as the rules read them, in order.
// Errors are those of leaves that the rules refuse.
func (s *set) flatten(rules *merge.Rules) ([]leaf, error) {
	var out []leaf
	var errs Errors
	size := 0
	for rank := range s.members {
		m := &s.members[rank]
		moved, err := m.read(rules)
		if err == nil {
			err = checkTypes(moved, rules)
		}
		if err != nil {
			errs = append(errs, m.refused(err)...)
			continue
		}
		for _, l := range moved {
			l.rank, l.key = rank, merge.AppendKey(nil, entity, l.path, "")
			out, size = append(out, l), size+len(l.key)
		}
		if len(out) > MaxLeaves || size > MaxKeyBytes {
			return nil, Errors{&FragmentError{File: m.file, Err: fmt.Errorf("with this file the fragments have more than %d leaves, or %d bytes of paths", MaxLeaves, MaxKeyBytes)}}
		}
	}
	slices.SortStableFunc(out, func(a, b leaf) int { return a.compare(&b) })
	return out, errs.orNil()
}

// refused names all places of a fragment in which a leaf is wrong.
func (m *member) refused(err error) (errs Errors) {
	var v *valueError
	if !errors.As(err, &v) {
		return Errors{err}
	}
	for _, f := range m.copies {
		errs = append(errs, &FragmentError{File: f.file, Line: f.at.find(v.path).line, Path: string(f.root + v.path), Known: true, Err: v.err})
	}
	return errs
}

// read returns the leaves of a fragment where the rules say they are read.
func (m *member) read(rules *merge.Rules) ([]leaf, error) {
	var out []leaf
	for _, l := range m.leaves {
		x, err := l.Value.Any()
		if err != nil {
			return nil, &valueError{l.Path, err}
		}
		now := []merge.Moved{{Path: l.Path, Value: x}}
		for _, move := range rules.Moves {
			var next []merge.Moved
			for _, v := range now {
				to, err := move(v.Path, v.Value)
				if err != nil {
					return nil, &valueError{l.Path, err}
				}
				next = append(next, to...)
			}
			now = next
		}
		for _, v := range now {
			value, err := delta.ValueOf(v.Value)
			if err != nil {
				return nil, &valueError{l.Path, err}
			}
			out = append(out, leaf{path: v.Path, value: value, from: l.Path})
		}
	}
	return out, nil
}

// checkTypes holds each value of a fragment that a rule is for against it.
func checkTypes(leaves []leaf, rules *merge.Rules) error {
	if !slices.ContainsFunc(rules.Properties, func(r merge.Rule) bool { return r.Check != nil }) {
		return nil
	}
	doc := newTree()
	for i := range leaves {
		doc.put(leaves[i].path, leaves[i].value)
	}
	for i := range rules.Properties {
		r := &rules.Properties[i]
		if r.Check == nil {
			continue
		}
		err := doc.each(r.Path.Segments(), "", func(at delta.Path, x any) error {
			if err := r.Check(x); err != nil {
				return &valueError{standsAt(leaves, at), err}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// standsAt returns where in its fragment what is read at a path stands.
func standsAt(leaves []leaf, at delta.Path) delta.Path {
	for i := range leaves {
		if leaves[i].path == at {
			return leaves[i].from
		}
	}
	return at
}

// matches reports whether a rule is for the property at a path.
func matches(r *merge.Rule, p delta.Path) bool {
	pattern, names := r.Path.Segments(), p.Segments()
	if len(pattern) != len(names) {
		return false
	}
	for i := range pattern {
		if pattern[i] != "*" && pattern[i] != names[i] {
			return false
		}
	}
	return true
}

// ruleOf returns the rule of a property: one that names it, else the first of
// those with a pattern that it matches.
func ruleOf(rules *merge.Rules, p delta.Path) *merge.Rule {
	var found *merge.Rule
	for i := range rules.Properties {
		r := &rules.Properties[i]
		if r.Path == p {
			return r
		}
		if found == nil && matches(r, p) {
			found = r
		}
	}
	return found
}
