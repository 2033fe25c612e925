package plugin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A sortedMap is a map that shows its entries in the order of their keys, which
// the maps of the library do not. One evaluation uses it, in one goroutine.
type sortedMap struct {
	traits.Mapper
	keys []ref.Val // nil until somebody iterates
}

// sorted returns the map with its entries in order. A key must be of a type that
// CEL allows: with a NaN as key there is no order.
func sorted(m traits.Mapper) ref.Val {
	if s, ok := m.(*sortedMap); ok {
		return s
	}
	for it := m.Iterator(); it.HasNext() == types.True; {
		if k := it.Next(); keyRank(k) == 0 {
			return types.NewErr("unsupported key type: %s", k.Type().TypeName())
		}
	}
	return &sortedMap{Mapper: m}
}

// keyRank orders the types of keys, numbers being of one; 0 is no key.
func keyRank(k ref.Val) int {
	switch k.(type) {
	case types.Bool:
		return 1
	case types.Int, types.Uint:
		return 2
	case types.String:
		return 3
	}
	return 0
}

// compareKeys orders false, true, then numbers, then texts by their bytes. An
// int comes before the uint that equals it.
func compareKeys(a, b ref.Val) int {
	if c := cmp.Compare(keyRank(a), keyRank(b)); c != 0 {
		return c
	}
	switch a := a.(type) {
	case types.String:
		return strings.Compare(string(a), string(b.(types.String)))
	case types.Bool:
		return boolInt(bool(a)) - boolInt(bool(b.(types.Bool)))
	case types.Int:
		if b, ok := b.(types.Uint); ok {
			return -compareUintInt(b, a)
		}
		return cmp.Compare(a, b.(types.Int))
	case types.Uint:
		if b, ok := b.(types.Int); ok {
			return compareUintInt(a, b)
		}
		return cmp.Compare(a, b.(types.Uint))
	}
	return 0
}

// compareUintInt never returns 0: a uint comes after the int that equals it.
func compareUintInt(u types.Uint, i types.Int) int {
	if i < 0 || types.Uint(i) <= u {
		return 1
	}
	return -1
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (m *sortedMap) sortedKeys() []ref.Val {
	if m.keys == nil {
		m.keys = make([]ref.Val, 0, int(m.Size().(types.Int)))
		for it := m.Mapper.Iterator(); it.HasNext() == types.True; {
			m.keys = append(m.keys, it.Next())
		}
		slices.SortFunc(m.keys, compareKeys)
	}
	return m.keys
}

// Find returns the value of a key. Looking up costs one step, however long the
// key, so a long one is refused; it can be walked to.
func (m *sortedMap) Find(key ref.Val) (ref.Val, bool) {
	if textLength(key) > maxKeyBytes {
		return types.NewErr("a key of more than %d bytes", maxKeyBytes), false
	}
	return m.Mapper.Find(key)
}

// Get returns the value of a key, or an error.
func (m *sortedMap) Get(key ref.Val) ref.Val {
	v, ok := m.Find(key)
	if !ok {
		return types.ValOrErr(v, "no such key: %v", key)
	}
	return v
}

// Contains says whether there is a key.
func (m *sortedMap) Contains(key ref.Val) ref.Val {
	v, ok := m.Find(key)
	if types.IsError(v) && !ok {
		return v
	}
	return types.Bool(ok)
}

// Equal compares with another map.
func (m *sortedMap) Equal(other ref.Val) ref.Val {
	if o, ok := other.(*sortedMap); ok {
		other = o.Mapper
	}
	return m.Mapper.Equal(other)
}

// Iterator yields the keys in order.
func (m *sortedMap) Iterator() traits.Iterator {
	return types.NewRefValList(types.DefaultTypeAdapter, m.sortedKeys()).Iterator()
}

// Fold calls f for each entry in the order of keys.
func (m *sortedMap) Fold(f traits.Folder) {
	for _, k := range m.sortedKeys() {
		v, _ := m.Mapper.Find(k)
		if !f.FoldEntry(k, v) {
			return
		}
	}
}

// AggregateSize counts all that is in the map.
func (m *sortedMap) AggregateSize(s types.AggregateSizer) uint32 {
	if v, ok := m.Mapper.(types.AggregateSizeVisitor); ok {
		return v.AggregateSize(s)
	}
	return 1
}

// String returns the map's type alone: it is for messages, and what a map holds
// may be large.
func (m *sortedMap) String() string { return "map" }

// toCEL turns what delta.Value.Any returns into what an expression sees. An int64
// becomes an int, a float64 a double, a reference a map with the one key "$ref".
func toCEL(x any) ref.Val {
	switch x := x.(type) {
	case nil:
		return types.NullValue
	case bool:
		return types.Bool(x)
	case int64:
		return types.Int(x)
	case float64:
		return types.Double(x)
	case string:
		return types.String(x)
	case []byte:
		return types.Bytes(x)
	case []any:
		out := make([]ref.Val, len(x))
		for i, e := range x {
			out[i] = toCEL(e)
		}
		return types.NewRefValList(types.DefaultTypeAdapter, out)
	case map[string]any:
		out := make(map[ref.Val]ref.Val, len(x))
		for k, e := range x {
			out[types.String(k)] = toCEL(e)
		}
		return &sortedMap{Mapper: types.NewRefValMap(types.DefaultTypeAdapter, out)}
	}
	return types.NewErr("no value of type %T", x)
}

// An exporter turns the result of an expression into what delta.ValueOf takes.
type exporter struct {
	// left bounds what the result may come to in memory: a list may hold one
	// value a million times over.
	left int
}

func (e *exporter) value(v ref.Val, depth int) (any, error) {
	if depth > delta.MaxDepth {
		return nil, fmt.Errorf("nested deeper than %d", delta.MaxDepth)
	}
	size := 1
	switch v := v.(type) {
	case types.String:
		size = len(v)
	case types.Bytes:
		size = len(v)
	}
	if e.left -= size; e.left < 0 {
		return nil, fmt.Errorf("of more than %d bytes", delta.MaxValueBytes)
	}
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		if int64(v) < 0 {
			return nil, fmt.Errorf("uint %d is past int64", uint64(v))
		}
		return int64(v), nil
	case types.Double:
		return float64(v), nil
	case types.String:
		return string(v), nil
	case types.Bytes:
		return []byte(v), nil
	case *sortedMap:
		return e.object(v.Mapper, depth)
	case traits.Lister:
		out := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			x, err := e.value(it.Next(), depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
		return out, nil
	}
	return nil, fmt.Errorf("a %s is no value", v.Type().TypeName())
}

func (e *exporter) object(m traits.Mapper, depth int) (any, error) {
	out := map[string]any{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		k, ok := it.Next().(types.String)
		if !ok {
			return nil, fmt.Errorf("the keys of an object are strings")
		}
		if e.left -= len(k); e.left < 0 {
			return nil, fmt.Errorf("of more than %d bytes", delta.MaxValueBytes)
		}
		v, _ := m.Find(k)
		x, err := e.value(v, depth+1)
		if err != nil {
			return nil, err
		}
		out[string(k)] = x
	}
	return out, nil
}
