package schema

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rhizome-p2p/rhizome/delta"
)

// maxFaults bounds what is told about one document.
const maxFaults = 20

// Validate says what is wrong with a whole document that is to be written, as
// delta.ParseJSON returns it: types, properties that are missing, and what the
// schema takes none of. Of a bag it expects an array of the members. The error
// joins the faults, each with the JSON pointer of what is wrong.
func (c *Compiled) Validate(doc any) error {
	w := walk{c: c, limit: maxFaults, bags: true}
	w.value(delta.Path(""), doc)
	for _, r := range c.required {
		p := &c.Schema.Properties[r.property]
		if !holds(doc, p.Path) {
			w.fault(p, p.Path, "is required")
		}
	}
	errs := make([]error, len(w.found))
	for i, v := range w.found {
		errs[i] = fmt.Errorf("%s: %s", pointer(v.path), v.text)
	}
	return errors.Join(errs...)
}

// pointer returns a path for people, who do not see an empty one.
func pointer(p delta.Path) string {
	if p == "" {
		return "document"
	}
	return string(p)
}

// holds reports whether a document has a value at a path.
func holds(doc any, p delta.Path) bool {
	for _, name := range p.Segments() {
		m, _ := doc.(map[string]any)
		if _, isRef := refOf(doc); isRef {
			return false
		}
		var ok bool
		if doc, ok = m[name]; !ok {
			return false
		}
	}
	return true
}

// A found fault is one of a property, or of none.
type found struct {
	property *Property
	path     delta.Path
	text     string
}

// A walk goes through a document and finds what must not be written.
type walk struct {
	c     *Compiled
	limit int
	// bags says that a bag stands in the document as an array of its members,
	// and other properties as one value whatever their verb. Without it only
	// registers are written by a document.
	bags  bool
	found []found
}

func (w *walk) fault(p *Property, at delta.Path, format string, args ...any) {
	if len(w.found) < w.limit {
		w.found = append(w.found, found{p, at, fmt.Sprintf(format, args...)})
	}
}

// value looks at what stands at a path, with all below it.
func (w *walk) value(at delta.Path, v any) {
	if w.retired(at, v) {
		return
	}
	where, i, _ := w.c.built.tree.find(at)
	switch where {
	case within:
		w.property(&w.c.Schema.Properties[i], w.c.built.types[i], at, v)
	case above:
		m, ok := v.(map[string]any)
		if _, isRef := refOf(v); !ok || isRef {
			if p := w.c.below(at); p != nil {
				w.fault(nil, at, "is %s: %s", describe(v), w.c.aboveText(p))
			} else if w.c.Schema.Closed {
				w.fault(nil, at, "is no property of schema %s, which takes no others", w.c.Schema)
			}
			return
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			w.value(at.Child(k), m[k])
		}
	default:
		if w.c.Schema.Closed {
			w.fault(nil, at, "is no property of schema %s, which takes no others", w.c.Schema)
		}
	}
}

// below returns the first property that lies below a path, nil for none. What is
// no object there would hide it.
func (c *Compiled) below(p delta.Path) *Property {
	depth := len(p.Segments())
	for i := range c.Schema.Properties {
		if at := c.Schema.Properties[i].Path; len(at.Segments()) > depth && overlap(p, at) {
			return &c.Schema.Properties[i]
		}
	}
	return nil
}

// aboveText says what must stand above a property.
func (c *Compiled) aboveText(p *Property) string {
	return fmt.Sprintf("property %q of schema %s is below, at %s, so that it must be an object", p.ID, c.Schema, p.Path)
}

// retired notes what stands at paths that migrations move away.
func (w *walk) retired(at delta.Path, v any) bool {
	switch where, step, _ := w.c.retired.find(at); where {
	case within:
		w.fault(nil, at, "%s", w.c.movedText(at, step))
		return true
	case above:
		// Elsewhere the walk comes there by itself.
		if in, _, _ := w.c.built.tree.find(at); in != within {
			return false
		}
		m, _ := v.(map[string]any)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if w.retired(at.Child(k), m[k]) {
				return true
			}
		}
	}
	return false
}

// movedText says where what was at a path is now.
func (c *Compiled) movedText(at delta.Path, step int) string {
	text := "was renamed; write to "
	for i, p := range c.mover.where(at, step) {
		if i > 0 {
			text += " and "
		}
		text += string(p)
	}
	return text
}

func (w *walk) property(p *Property, t *valueType, at delta.Path, v any) {
	var f *fault
	switch {
	case p.Computed && !w.bags:
		w.fault(p, at, "is computed from other properties and cannot be written")
	case p.Verb != Register && !w.bags:
		w.fault(p, at, "%s", p.Verb.hint())
	case p.Verb == Bag:
		f = checkEach(t, v)
	default:
		f = t.check(v)
	}
	if f != nil {
		w.fault(p, at+f.at, "%s", f.text)
	}
}

// hint says how a property is written.
func (v Verb) hint() string {
	switch v {
	case Bag:
		return "is a bag: add values to it and remove them, instead of putting one"
	case Ballot:
		return "is a ballot: vote for a value, instead of putting one"
	case Counter:
		return "is a counter: increment it, instead of putting a value"
	}
	return "is a register: put a value"
}
