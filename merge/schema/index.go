package schema

import (
	"cmp"
	"slices"
	"strings"
)

// An index finds the pattern that counts for an entity without trying all of
// them.
//
// It goes by what all that a pattern matches begins with. The prefixes are
// sorted, and each leads up to the longest other one that it begins with. All
// that an entity begins with stand on the way up from the last prefix that is
// not behind the entity: whatever stands between a prefix of the entity and the
// entity begins with that prefix, too.
type index []indexed

type indexed struct {
	prefix string
	up     int // in the index; -1 where there is none
	// patterns have this prefix, those that count first in front.
	patterns []ranked
}

// A ranked pattern knows its place in the order in which patterns count.
type ranked struct {
	*pattern
	rank int
}

// newIndex makes an index of patterns in the order in which they count.
func newIndex(all []active) index {
	sorted := make([]ranked, len(all))
	for i := range all {
		sorted[i] = ranked{all[i].pattern, i}
	}
	slices.SortFunc(sorted, func(a, b ranked) int { return cmp.Or(strings.Compare(a.prefix, b.prefix), cmp.Compare(a.rank, b.rank)) })
	var x index
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && sorted[n].prefix == sorted[0].prefix {
			n++
		}
		next := indexed{prefix: sorted[0].prefix, up: len(x) - 1, patterns: sorted[:n:n]}
		for next.up >= 0 && !strings.HasPrefix(next.prefix, x[next.up].prefix) {
			next.up = x[next.up].up
		}
		x = append(x, next)
		sorted = sorted[n:]
	}
	return x
}

// first returns the rank of the first pattern that matches an entity, -1 where
// none does.
func (x index) first(entity string) int {
	i, found := slices.BinarySearchFunc(x, entity, func(a indexed, entity string) int { return strings.Compare(a.prefix, entity) })
	if !found {
		i--
	}
	best := -1
	for ; i >= 0; i = x[i].up {
		if !strings.HasPrefix(entity, x[i].prefix) {
			continue
		}
		for _, p := range x[i].patterns {
			if best >= 0 && p.rank > best {
				break
			}
			if p.match(entity) {
				best = p.rank
				break
			}
		}
	}
	return best
}
