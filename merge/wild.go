package merge

import (
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
)

// matched returns the rules with wildcards, each once for every path that it
// matches here, with that path in place of its own: at and above the survivors,
// the longest paths first.
func (e *evaluation) matched() (out []*Rule) {
	if len(e.index.wild) == 0 {
		return nil
	}
	seen := make(map[delta.Path]bool)
	for i := range e.r.Properties {
		p := e.r.Properties[i].Path
		for _, at := range append(p.Ancestors(), p) {
			if seen[at] || !under(e.scope, at) || e.index.byPath[at] != nil {
				continue
			}
			seen[at] = true
			if rule := e.index.wildFor(at); rule != nil {
				own := *rule
				own.Path = at
				out = append(out, &own)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *Rule) int {
		return strings.Count(string(b.Path), "/") - strings.Count(string(a.Path), "/")
	})
	return out
}

// readBelow reads the properties of those rules whose path is at or below another
// one, and returns the others.
func (e *evaluation) readBelow(at delta.Path, rules []*Rule) (others []*Rule) {
	for _, rule := range rules {
		if under(at, rule.Path) {
			e.property(rule)
		} else {
			others = append(others, rule)
		}
	}
	return others
}
