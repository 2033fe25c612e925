package schema

import (
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
)

// star is the segment of a path that stands for any one name.
const star = "*"

// A tree finds the property that a path belongs to. Segments are kept as they
// stand in a path, escapes and all, since a path has one form only.
type tree struct {
	children map[string]*tree
	any      *tree // for the segment *
	property int   // that ends here; -1 for none
}

func newTree() *tree { return &tree{property: -1} }

// cut takes the first segment off a path that has one.
func cut(p delta.Path) (first string, rest delta.Path) {
	if i := strings.IndexByte(string(p[1:]), '/'); i >= 0 {
		return string(p[1 : i+1]), p[i+1:]
	}
	return string(p[1:]), ""
}

func (t *tree) insert(p delta.Path, property int) {
	for p != "" {
		var name string
		name, p = cut(p)
		var next *tree
		if name == star {
			if t.any == nil {
				t.any = newTree()
			}
			next = t.any
		} else {
			if next = t.children[name]; next == nil {
				if t.children == nil {
					t.children = make(map[string]*tree)
				}
				next = newTree()
				t.children[name] = next
			}
		}
		t = next
	}
	t.property = property
}

// A place says how a path stands to the properties of a tree.
type place uint8

const (
	outside place = iota // no property is at it, above it or below it
	above                // properties are below it
	within               // a property is at it, or above it
)

// find returns where a path is; within a property also which one, and how many
// bytes of the path are the property's own.
func (t *tree) find(p delta.Path) (where place, property, size int) {
	if t.property >= 0 {
		return within, t.property, 0
	}
	if p == "" {
		return above, -1, 0
	}
	name, rest := cut(p)
	where = outside
	for _, next := range [...]*tree{t.children[name], t.any} {
		if next == nil {
			continue
		}
		found, property, size := next.find(rest)
		if found == within {
			return within, property, len(p) - len(rest) + size
		}
		where = max(where, found)
	}
	return where, -1, 0
}

// clash returns the least property that has the same path, or would lie inside
// one at the path, or hold it; -1 for none. Two paths of one length that only
// match the same do not clash. same says that all segments so far were equal.
func (t *tree) clash(p delta.Path, same bool) int {
	found := -1
	take := func(c int) {
		if c >= 0 && (found < 0 || c < found) {
			found = c
		}
	}
	switch {
	case p == "":
		for _, next := range t.all() {
			take(next.least())
		}
		if same || found >= 0 {
			take(t.property)
		}
		return found
	case t.property >= 0:
		return t.property
	}
	name, rest := cut(p)
	if t.any != nil {
		take(t.any.clash(rest, same && name == star))
	}
	if next := t.children[name]; next != nil {
		take(next.clash(rest, same))
	}
	if name == star {
		for _, next := range t.children {
			take(next.clash(rest, false))
		}
	}
	return found
}

// all returns the trees one step below, in no order.
func (t *tree) all() []*tree {
	var out []*tree
	if t.any != nil {
		out = append(out, t.any)
	}
	for _, next := range t.children {
		out = append(out, next)
	}
	return out
}

// least returns the least property at and below a tree.
func (t *tree) least() int {
	found := t.property
	for _, next := range t.all() {
		if l := next.least(); l >= 0 && (found < 0 || l < found) {
			found = l
		}
	}
	return found
}
