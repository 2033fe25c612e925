package plugin

import (
	"errors"
	"slices"

	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// stable returns the function with the library's sorting replaced by a stable
// one. The library's leaves elements with equal keys in an order that may
// change with the version of Go.
func stable(o *functions.Overload) *functions.Overload {
	out := *o
	switch o.Operator {
	case "sort":
		out.Unary = func(list ref.Val) ref.Val { return sortBy(list, list) }
	case "@sortByAssociatedKeys":
		out.Binary = sortBy
	case "@mapInsert_map_key_value":
		out.Function = func(args ...ref.Val) ref.Val { return insert(args[0], args[1], args[2]) }
	case "@mapInsert_map_map":
		out.Binary = insertAll
	}
	return &out
}

// sortBy returns the elements of a list in the order of their keys, which are
// of one type.
func sortBy(list, keys ref.Val) ref.Val {
	elements, sortKeys := elementsOf(list), elementsOf(keys)
	if len(elements) != len(sortKeys) {
		return types.NewErr("sortBy: %d elements with %d keys", len(elements), len(sortKeys))
	}
	order := make([]int, len(elements))
	var err error
	for i, k := range sortKeys {
		order[i] = i
		if _, ok := k.(traits.Comparer); !ok || k.Type() != sortKeys[0].Type() {
			err = errors.New("sort: the keys must be comparable and of one type")
		}
		if f, ok := k.(types.Double); ok && f != f {
			err = errors.New("sort: NaN has no place in an order")
		}
	}
	if err != nil {
		return types.WrapErr(err)
	}
	slices.SortStableFunc(order, func(i, j int) int {
		c, _ := sortKeys[i].(traits.Comparer).Compare(sortKeys[j]).(types.Int)
		return int(c)
	})
	out := make([]ref.Val, len(order))
	for to, from := range order {
		out[to] = elements[from]
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

// insert adds an entry to the map that a macro fills. The library's own binding
// copies all keys each time, to look at the type of one.
func insert(m, k, v ref.Val) ref.Val {
	into, ok := m.(traits.Mapper)
	if !ok {
		return types.NewErr("no map to insert into")
	}
	return types.InsertMapKeyValue(into, k, v)
}

func insertAll(m, entries ref.Val) ref.Val {
	from, ok := entries.(traits.Mapper)
	if !ok {
		return types.NewErr("no map to insert")
	}
	for it := from.Iterator(); it.HasNext() == types.True && !types.IsError(m); {
		k := it.Next()
		m = insert(m, k, from.Get(k))
	}
	return m
}

// elementsOf returns the elements of a list, none of anything else.
func elementsOf(list ref.Val) []ref.Val {
	l, ok := list.(traits.Lister)
	if !ok {
		return nil
	}
	var out []ref.Val
	for it := l.Iterator(); it.HasNext() == types.True; {
		out = append(out, it.Next())
	}
	return out
}
