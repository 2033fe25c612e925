package delta

import (
	"cmp"
	"slices"

	"github.com/rhizome-p2p/rhizome/clock"
)

// A body has one encoding. What is a set in meaning (deps, kills, dots, bounds)
// is in order and without repetition, so that two programs that mean the same
// write the same bytes, and Hits can search.

// Canonicalize puts the deps and kills of a body in the only form that a reader
// accepts: deps by lane; one kill for each scope, in order; dots rising; the
// highest bound for each lane. It gives null to deltas without a value, which
// is all that a remove, negate or drop can have. It changes b in place.
func (b *Body) Canonicalize() {
	slices.SortFunc(b.Deps, func(a, b Dep) int { return a.Lane.Compare(b.Lane) })
	for i := range b.Txns {
		for j := range b.Txns[i].Deltas {
			d := &b.Txns[i].Deltas[j]
			d.Kills = canonicalKills(d.Kills)
			if len(d.Value) == 0 && !d.Verb.Survives() {
				d.Value = Null
			}
		}
	}
}

func canonicalKills(kills []Kill) []Kill {
	if len(kills) == 0 {
		return nil
	}
	sorted := slices.SortedStableFunc(slices.Values(kills), Kill.compareScope)
	out := sorted[:0]
	for _, k := range sorted {
		if n := len(out); n > 0 && out[n-1].compareScope(k) == 0 {
			// The slices are the caller's: append to copies.
			out[n-1].Dots = slices.Concat(out[n-1].Dots, k.Dots)
			out[n-1].Bounds = slices.Concat(out[n-1].Bounds, k.Bounds)
			continue
		}
		out = append(out, k)
	}
	out = slices.DeleteFunc(out, func(k Kill) bool { return len(k.Dots)+len(k.Bounds) == 0 })
	for i := range out {
		out[i].Dots = canonicalDots(out[i].Dots)
		out[i].Bounds = canonicalBounds(out[i].Bounds)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// compareScope orders kills by what they reach.
func (k Kill) compareScope(o Kill) int {
	return cmp.Or(cmp.Compare(k.Scope, o.Scope), cmp.Compare(k.Path, o.Path), cmp.Compare(k.Tag, o.Tag))
}

func canonicalDots(dots []clock.Dot) []clock.Dot {
	if len(dots) == 0 {
		return nil
	}
	return slices.Compact(slices.SortedFunc(slices.Values(dots), clock.Dot.Compare))
}

func canonicalBounds(bounds []clock.Dot) []clock.Dot {
	if len(bounds) == 0 {
		return nil
	}
	// The highest first in each lane, so that Compact keeps it.
	sorted := slices.SortedFunc(slices.Values(bounds), func(a, b clock.Dot) int {
		return cmp.Or(a.Lane.Compare(b.Lane), b.Compare(a))
	})
	return slices.CompactFunc(sorted, func(a, b clock.Dot) bool { return a.Lane == b.Lane })
}
