package synthesize

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/clock"
	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A folding is one run of Fold.
type folding struct {
	set    *set
	rules  *merge.Rules
	policy Policy

	// stay are the leaves that the kernel folds: all but those of a side that
	// lost as a whole.
	stay []leaf
	// aside are values that are kept beside the members below them, each path
	// before those below it.
	aside []site
	// apart are decisions that are no part of the rules.
	apart []decision

	conflicts []Conflict
	alarms    []string
}

// A site is all leaves at one path.
type site struct {
	path   delta.Path
	leaves []leaf
}

// run returns the document that leaves come to.
func (f *folding) run(leaves []leaf) (any, error) {
	f.sides(sitesOf(leaves))
	state, err := f.state()
	if err != nil {
		return nil, err
	}
	rules, err := f.cover(state)
	if err != nil {
		return nil, err
	}
	doc, err := f.read(state, rules)
	if err != nil {
		return nil, err
	}
	// The innermost first: what is outside holds it.
	for _, s := range slices.Backward(f.aside) {
		values := make([]any, 0, len(s.leaves)+1)
		for i := range s.leaves {
			values = append(values, anyOf(s.leaves[i].value))
		}
		if x, ok := doc.at(s.path); ok {
			values = append(values, x)
		}
		doc.set(s.path, kept(values))
	}
	slices.SortStableFunc(f.conflicts, func(a, b Conflict) int { return strings.Compare(a.Path, b.Path) })
	if slices.ContainsFunc(f.conflicts, func(c Conflict) bool { return c.Status == Open }) {
		return nil, &ConflictError{Conflicts: f.conflicts}
	}
	return doc.root, nil
}

// sitesOf groups leaves that are in order.
func sitesOf(leaves []leaf) []site {
	var out []site
	for len(leaves) > 0 {
		n := 1
		for n < len(leaves) && bytes.Equal(leaves[n].key, leaves[0].key) {
			n++
		}
		out = append(out, site{leaves[0].path, leaves[:n]})
		leaves = leaves[n:]
	}
	return out
}

// sides settles where values stand against members below them, and takes all
// other leaves as they are.
func (f *folding) sides(sites []site) {
	for len(sites) > 0 {
		n := 1
		for n < len(sites) && strings.HasPrefix(string(sites[n].path), string(sites[0].path)+"/") {
			n++
		}
		f.side(sites[0], sites[1:n])
		sites = sites[n:]
	}
}

func (f *folding) side(own site, below []site) {
	if len(below) == 0 {
		f.stay = append(f.stay, own.leaves...)
		return
	}
	values := site{path: own.path}
	var members []leaf // those of an object, be it empty
	for _, l := range own.leaves {
		if isEmptyObject(l.value) {
			members = append(members, l)
		} else {
			values.leaves = append(values.leaves, l)
		}
	}
	if len(values.leaves) == 0 {
		f.sides(below)
		return
	}
	for i := range below {
		members = append(members, below[i].leaves...)
	}
	c := f.whole(own.path, values.leaves, members)
	use, decides := f.sideRule(own.path)
	switch {
	case decides:
		c.Status, c.Rule = Resolved, use
		if wins(use, values.leaves, members) {
			f.stay = append(f.stay, values.leaves...)
			below = nil
		}
	case use != "":
		c.Status, c.Rule, c.Reason = Open, use, errNotWhole.Error()
	case f.policy.Keep:
		c.Status = Kept
		f.aside = append(f.aside, values)
	default:
		c.Status = Open
	}
	f.conflicts = append(f.conflicts, c)
	f.sides(below)
}

// isEmptyObject reports whether a value is {}.
func isEmptyObject(v delta.Value) bool {
	m, ok := anyOf(v).(map[string]any)
	return ok && len(m) == 0
}

// anyOf decodes a value that has been checked.
func anyOf(v delta.Value) any {
	x, err := v.Any()
	if err != nil {
		return nil
	}
	return x
}

// sideRule returns the resolver that covers a path, and whether it picks sides.
func (f *folding) sideRule(p delta.Path) (use string, decides bool) {
	use = f.policy.Use
	if r := ruleOf(f.rules, p); r != nil && r.Resolver != nil {
		use = r.Use
	}
	return use, use == firstWrite || use == lastWrite
}

// wins reports whether the values at a path win over the members below it.
func wins(use string, values, members []leaf) bool {
	rank := func(a, b leaf) int { return a.rank - b.rank }
	if use == firstWrite {
		return slices.MinFunc(values, rank).rank < slices.MinFunc(members, rank).rank
	}
	return slices.MaxFunc(values, rank).rank > slices.MaxFunc(members, rank).rank
}

// laneOf returns the lane of a fragment: lanes are in the order of ranks.
func laneOf(rank int) (l clock.LaneID) {
	binary.BigEndian.PutUint64(l[8:], uint64(rank))
	return l
}

func rankOf(l clock.LaneID) int { return int(binary.BigEndian.Uint64(l[8:])) }

// state folds the leaves that stay, which are in the order of rows.
func (f *folding) state() (*merge.MemState, error) {
	state := new(merge.MemState)
	fold := merge.Fold{State: state}
	next := make([]uint32, len(f.set.members)) // index of the next delta of each
	for i := range f.stay {
		l := &f.stay[i]
		o := merge.Origin{Lane: laneOf(l.rank), Seq: 1, Time: clock.TimestampAt(f.set.members[l.rank].time.UnixMilli())}
		d := delta.Delta{Entity: entity, Path: l.path, Verb: l.verb, Value: l.value}
		if err := fold.ApplyDelta(&o, next[l.rank], &d); err != nil {
			return nil, err
		}
		next[l.rank]++
	}
	return state, nil
}

// author returns the source of a fragment, which is to the kernel who wrote
// its lane.
func (f *folding) author(l clock.LaneID) string { return f.set.members[rankOf(l)].source }
