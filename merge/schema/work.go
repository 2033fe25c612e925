package schema

import (
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rhizome-p2p/rhizome/delta"
)

// checkWork refuses a type that could keep a node busy for ever: one that
// refers to itself without taking a step into the value, and one that applies
// more than MaxTypeWork schemas to one chain of members.
func checkWork(root *jsonschema.Schema) *fault {
	w := worker{index: make(map[*jsonschema.Schema]int)}
	if !w.visit(root) {
		return &fault{"", "refers to itself without taking a step into the value"}
	}
	// Level by level from the innermost: what a schema costs on a value with
	// d levels below it, as an object and as an array. The nodes are in an
	// order in which what applies to the same value comes first.
	below := make([]float64, len(w.nodes))
	for range delta.MaxDepth {
		object, array := make([]float64, len(w.nodes)), make([]float64, len(w.nodes))
		for _, n := range w.nodes {
			o, a := 1.0, 1.0
			for _, s := range n.same {
				o += object[w.index[s]]
				a += array[w.index[s]]
			}
			object[n.at], array[n.at] = o+w.most(n.named, below)+w.sum(n.members, below), a+w.most(n.placed, below)+w.sum(n.items, below)
		}
		for i := range below {
			below[i] = max(object[i], array[i])
		}
		if cost := below[w.index[root]]; cost > MaxTypeWork {
			return &fault{"", fmt.Sprintf("applies more than %d schemas to one nested value", MaxTypeWork)}
		}
	}
	return nil
}

// A node is one schema, and those that it applies: to the same value; to
// members, at most one of named and all of members to each; to items likewise.
type node struct {
	at                            int
	same                          []*jsonschema.Schema
	named, members, placed, items []*jsonschema.Schema
}

type worker struct {
	nodes []*node
	// index of each schema in nodes; -1 while it is being visited.
	index map[*jsonschema.Schema]int
}

// visit puts a schema behind all that it applies to the same value, and visits
// what it applies elsewhere afterwards. It returns false for a cycle.
func (w *worker) visit(s *jsonschema.Schema) bool {
	later := []*jsonschema.Schema{s}
	for len(later) > 0 {
		s := later[len(later)-1]
		later = later[:len(later)-1]
		var found []*node
		if !w.settle(s, &found) {
			return false
		}
		for _, n := range found {
			later = append(later, n.named...)
			later = append(later, n.members...)
			later = append(later, n.placed...)
			later = append(later, n.items...)
		}
	}
	return true
}

func (w *worker) settle(s *jsonschema.Schema, found *[]*node) bool {
	if at, ok := w.index[s]; ok {
		return at >= 0
	}
	w.index[s] = -1
	n := newNode(s)
	for _, t := range n.same {
		if !w.settle(t, found) {
			return false
		}
	}
	n.at = len(w.nodes)
	w.index[s] = n.at
	w.nodes = append(w.nodes, n)
	*found = append(*found, n)
	return true
}

func (w *worker) most(l []*jsonschema.Schema, cost []float64) (most float64) {
	for _, s := range l {
		most = max(most, cost[w.index[s]])
	}
	return most
}

func (w *worker) sum(l []*jsonschema.Schema, cost []float64) (sum float64) {
	for _, s := range l {
		sum += cost[w.index[s]]
	}
	return sum
}

func newNode(s *jsonschema.Schema) *node {
	n := &node{}
	some := func(to *[]*jsonschema.Schema, l ...*jsonschema.Schema) {
		for _, s := range l {
			if s != nil {
				*to = append(*to, s)
			}
		}
	}
	some(&n.same, s.Ref, s.Not, s.If, s.Then, s.Else)
	some(&n.same, s.AllOf...)
	some(&n.same, s.AnyOf...)
	some(&n.same, s.OneOf...)
	if s.DynamicRef != nil {
		some(&n.same, s.DynamicRef.Ref)
	}
	for _, t := range s.DependentSchemas {
		some(&n.same, t)
	}
	for _, t := range s.Properties {
		some(&n.named, t)
	}
	for _, t := range s.PatternProperties {
		some(&n.members, t)
	}
	if t, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		some(&n.members, t)
	}
	some(&n.members, s.UnevaluatedProperties)
	some(&n.placed, s.PrefixItems...)
	some(&n.items, s.Items2020, s.Contains, s.UnevaluatedItems)
	return n
}
