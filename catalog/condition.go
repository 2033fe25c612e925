package catalog

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A condition is what a view asks of one property. All of its tests must pass.
type condition struct {
	path  delta.Path
	tests []test
}

// A test compares what stands at a path with a value; there is false where
// nothing stands there.
type test func(x any, there bool) bool

// operators make a test of the value that stands behind their name.
var operators = map[string]func(want any) (test, error){
	"eq": func(want any) (test, error) {
		return func(x any, there bool) bool { return there && equal(x, want) }, nil
	},
	"ne": func(want any) (test, error) {
		return func(x any, there bool) bool { return !there || !equal(x, want) }, nil
	},
	"lt":  ordered(func(c int) bool { return c < 0 }),
	"le":  ordered(func(c int) bool { return c <= 0 }),
	"gt":  ordered(func(c int) bool { return c > 0 }),
	"ge":  ordered(func(c int) bool { return c >= 0 }),
	"has": has,
	"in":  in,
	"exists": func(want any) (test, error) {
		b, ok := want.(bool)
		if !ok {
			return nil, errors.New("exists: want true or false")
		}
		return func(_ any, there bool) bool { return there == b }, nil
	},
}

// equal takes 1 and 1.0 for the same number.
func equal(a, b any) bool {
	if c, err := merge.Compare(a, b); err == nil {
		return c == 0
	}
	return reflect.DeepEqual(a, b)
}

func ordered(holds func(c int) bool) func(any) (test, error) {
	return func(want any) (test, error) {
		if _, err := merge.Compare(want, want); err != nil {
			return nil, errors.New("want a number or a text to compare with")
		}
		return func(x any, there bool) bool {
			c, err := merge.Compare(x, want)
			return there && err == nil && holds(c)
		}, nil
	}
}

// has asks for an element of an array.
func has(want any) (test, error) {
	return func(x any, _ bool) bool {
		list, _ := x.([]any)
		return slices.ContainsFunc(list, func(e any) bool { return equal(e, want) })
	}, nil
}

// in asks for one of some values.
func in(want any) (test, error) {
	list, ok := want.([]any)
	if !ok {
		return nil, errors.New("in: want an array")
	}
	return func(x any, there bool) bool {
		return there && slices.ContainsFunc(list, func(e any) bool { return equal(x, e) })
	}, nil
}

// parseCondition reads a value, which stands for itself, or an object of
// operators.
func parseCondition(path string, text []byte) (c condition, err error) {
	if c.path, err = delta.ParsePath(path); err != nil {
		return c, err
	}
	x, err := delta.ParseJSON(text)
	if err != nil {
		return c, err
	}
	m, ok := x.(map[string]any)
	if _, isRef := m["$ref"]; !ok || isRef {
		m = map[string]any{"eq": x}
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		build := operators[name]
		if build == nil {
			return c, fmt.Errorf("%q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(operators)), ", "))
		}
		t, err := build(m[name])
		if err != nil {
			return c, err
		}
		c.tests = append(c.tests, t)
	}
	if len(c.tests) == 0 {
		return c, errors.New("it asks nothing")
	}
	return c, nil
}

// met reports whether a document meets the condition.
func (c *condition) met(doc any, there bool) bool {
	if there {
		doc, there = at(doc, c.path)
	}
	for _, t := range c.tests {
		if !t(doc, there) {
			return false
		}
	}
	return true
}

// at returns what stands at a path of a document.
func at(x any, p delta.Path) (any, bool) {
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
