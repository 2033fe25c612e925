package synthesize

import (
	"github.com/rhizome-p2p/rhizome/delta"
)

// A tree is a document that is put together from leaves.
type tree struct{ root any }

func newTree() *tree { return &tree{map[string]any{}} }

// put sets the leaf at a path. What stands on the way gives way to it.
func (t *tree) put(p delta.Path, v delta.Value) {
	x, err := v.Any()
	if err != nil {
		return // values are checked before they get here
	}
	t.set(p, x)
}

// set puts a value at a path.
func (t *tree) set(p delta.Path, x any) {
	names := p.Segments()
	if len(names) == 0 {
		t.root = x
		return
	}
	m, ok := t.root.(map[string]any)
	if !ok {
		m = map[string]any{}
		t.root = m
	}
	for _, name := range names[:len(names)-1] {
		next, ok := m[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[name] = next
		}
		m = next
	}
	m[names[len(names)-1]] = x
}

// remove takes out the value at a path; of the root an empty object is left.
func (t *tree) remove(p delta.Path) {
	names := p.Segments()
	if len(names) == 0 {
		t.root = map[string]any{}
		return
	}
	above := delta.Path("")
	for _, name := range names[:len(names)-1] {
		above = above.Child(name)
	}
	if x, ok := t.at(above); ok {
		if m, ok := x.(map[string]any); ok {
			delete(m, names[len(names)-1])
		}
	}
}

// at returns the value at a path.
func (t *tree) at(p delta.Path) (any, bool) {
	x := t.root
	for _, name := range p.Segments() {
		m, ok := x.(map[string]any)
		if !ok {
			return nil, false
		}
		if x, ok = m[name]; !ok {
			return nil, false
		}
	}
	return x, true
}
