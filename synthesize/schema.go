package synthesize

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A leaf is one leaf of one fragment, where it is read. Of a bag each member
// is one.
type leaf struct {
	path  delta.Path
	verb  delta.Verb // assign, or add for a member of a bag
	value delta.Value
	from  delta.Path // where it stands in the fragment
	key   []byte     // of its path
	rank  int        // of the fragment
}

// compare orders leaves by row and fragment: each path before those below it.
func (l *leaf) compare(o *leaf) int {
	return cmp.Or(bytes.Compare(l.key, o.key), cmp.Compare(l.rank, o.rank))
}

// entity is what the state is called in the kernel. Nothing shows it.
const entity = "state"

// flatten returns the leaves of all fragments as the schema reads them, in
// order. Errors are those of leaves that it refuses; there may be no schema.
func (s *set) flatten(schema Schema) ([]leaf, error) {
	var c *boundary
	if schema != nil {
		c = newBoundary(schema)
	}
	var out []leaf
	var errs Errors
	size := 0
	for rank := range s.members {
		m := &s.members[rank]
		leaves, err := c.admit(m)
		if err != nil {
			errs = append(errs, m.refused(err)...)
			continue
		}
		for _, l := range leaves {
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
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		for _, e := range many.Unwrap() {
			errs = append(errs, m.refused(e)...)
		}
		return errs
	}
	var v *valueError
	if !errors.As(err, &v) {
		return Errors{err}
	}
	for _, f := range m.copies {
		errs = append(errs, &FragmentError{File: f.file, Line: f.at.find(v.path).line, Path: string(f.root + v.path), Known: true, Err: v.err})
	}
	return errs
}

// A boundary lets through the fragments that a schema takes. A nil one takes
// all.
type boundary struct {
	schema Schema
	moves  []merge.Move
	// absent are the faults of an empty document: what is missing in it may
	// well be in another fragment.
	absent []string
}

func newBoundary(schema Schema) *boundary {
	return &boundary{schema: schema, moves: schema.Rules().Moves, absent: faultsOf(schema.Validate(map[string]any{}))}
}

// faultsOf returns what an error joins, as texts.
func faultsOf(err error) (texts []string) {
	var many interface{ Unwrap() []error }
	switch {
	case err == nil:
	case errors.As(err, &many):
		for _, e := range many.Unwrap() {
			texts = append(texts, e.Error())
		}
	default:
		texts = []string{err.Error()}
	}
	return texts
}

// admit returns the leaves of a fragment where and as what they are read. An
// error joins *valueErrors.
func (c *boundary) admit(m *member) ([]leaf, error) {
	var out []leaf
	for _, l := range m.leaves {
		if c == nil {
			out = append(out, leaf{path: l.Path, verb: delta.Assign, value: l.Value, from: l.Path})
			continue
		}
		moved, err := c.move(&l)
		if err != nil {
			return nil, &valueError{l.Path, err}
		}
		out = append(out, moved...)
	}
	if c == nil {
		return out, nil
	}
	if err := c.check(m, out); err != nil {
		return nil, err
	}
	return c.bags(out)
}

// move returns where a leaf is read by the schema's newest version.
func (c *boundary) move(l *delta.Leaf) ([]leaf, error) {
	now := []merge.Moved{{Path: l.Path, Value: anyOf(l.Value)}}
	for _, move := range c.moves {
		var next []merge.Moved
		for _, v := range now {
			to, err := move(v.Path, v.Value)
			if err != nil {
				return nil, err
			}
			next = append(next, to...)
		}
		now = next
	}
	out := make([]leaf, 0, len(now))
	for _, v := range now {
		value, err := delta.ValueOf(v.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, leaf{path: v.Path, verb: delta.Assign, value: value, from: l.Path})
	}
	return out, nil
}

// check holds a fragment against the schema. A fault at or within a leaf is the
// leaf's, whatever else there is. One of an object may be that the rest of the
// object is in other fragments: that is put off until the state has it too.
func (c *boundary) check(m *member, leaves []leaf) error {
	doc := newTree()
	for i := range leaves {
		doc.put(leaves[i].path, leaves[i].value)
	}
	var errs []error
	for _, text := range faultsOf(c.schema.Validate(doc.root)) {
		if slices.Contains(c.absent, text) {
			continue
		}
		at, own := blame(leaves, text)
		if own {
			errs = append(errs, at)
		} else {
			m.putOff = append(m.putOff, putOff{text, at})
		}
	}
	return errors.Join(errs...)
}

// A putOff is a fault that only the state can confirm.
type putOff struct {
	text string
	at   *valueError
}

// blame says where in a fragment a fault is, and whether it is that of a leaf
// and not of an object. The text begins with the pointer.
func blame(leaves []leaf, text string) (at *valueError, own bool) {
	at = &valueError{err: errors.New(text)}
	for i := range leaves {
		l := &leaves[i]
		if rest, ok := strings.CutPrefix(text, string(l.path)); ok && (strings.HasPrefix(rest, ": ") || strings.HasPrefix(rest, "/")) {
			below, what, _ := strings.Cut(rest, ": ")
			return &valueError{l.from + delta.Path(below), errors.New(what)}, true
		}
		for _, up := range l.path.Ancestors() {
			what, ok := strings.CutPrefix(text, string(up)+": ")
			if ok && up != "" && strings.HasPrefix(string(l.from), string(up)+"/") {
				at = &valueError{up, errors.New(what)}
			}
		}
	}
	// All that a document is without members is a leaf of its own.
	return at, len(leaves) == 1 && leaves[0].path == ""
}

// confirm returns what is wrong with a state, and with which fragments.
func (s *set) confirm(schema Schema, doc any) error {
	var errs Errors
	for _, text := range faultsOf(schema.Validate(doc)) {
		found := false
		for i := range s.members {
			m := &s.members[i]
			for _, f := range m.putOff {
				if f.text == text {
					errs, found = append(errs, m.refused(f.at)...), true
				}
			}
		}
		if !found {
			errs = append(errs, &StateError{errors.New(text)})
		}
	}
	return errs.orNil()
}

// bags makes the members of arrays at properties that are bags leaves.
func (c *boundary) bags(leaves []leaf) ([]leaf, error) {
	var out []leaf
	for _, l := range leaves {
		list, ok := anyOf(l.value).([]any)
		if !ok || !c.schema.Bag(l.path) {
			out = append(out, l)
			continue
		}
		for _, x := range list {
			v, err := delta.ValueOf(x)
			if err != nil {
				return nil, &valueError{l.from, err}
			}
			l.verb, l.value = delta.Add, v
			out = append(out, l)
		}
	}
	return out, nil
}

// Matches reports whether a pattern of a path, in which a segment "*" stands
// for any one name, is for the property at a path.
func Matches(pattern, p delta.Path) bool {
	want, names := pattern.Segments(), p.Segments()
	if len(want) != len(names) {
		return false
	}
	for i := range want {
		if want[i] != "*" && want[i] != names[i] {
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
		if found == nil && Matches(r.Path, p) {
			found = r
		}
	}
	return found
}
