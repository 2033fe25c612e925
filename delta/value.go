package delta

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
)

// A Value is one value in canonical DAG-CBOR. Equal values have equal bytes.
//
// References and byte strings have no form of their own in JSON; there they
// are the objects {"$ref": ENTITY} and {"$bytes": BASE64}. In CBOR a reference
// is that same map, a byte string is a byte string.
type Value []byte

// A Kind is the type of a value.
type Kind uint8

// The kinds.
const (
	KindInvalid Kind = iota
	KindNull
	KindBool
	KindInt
	KindFloat
	KindString
	KindBytes
	KindRef
	KindArray
	KindObject
)

// String returns the kind's name.
func (k Kind) String() string {
	return [...]string{"invalid", "null", "bool", "int", "float", "string", "bytes", "ref", "array", "object"}[k]
}

const (
	refKey   = "$ref"
	bytesKey = "$bytes"
)

// refHead is the start of every reference: a map of one pair and its key.
const refHead = "\xa1\x64" + refKey

// Null is the null value.
var Null = Value{cborNull}

// Bool returns a boolean.
func Bool(b bool) Value {
	if b {
		return Value{cborTrue}
	}
	return Value{cborFalse}
}

// Int returns an integer.
func Int(n int64) Value { return appendInt(nil, n) }

// Float returns a number in 64 bits; NaN and infinities are not values.
func Float(f float64) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%v is not a finite number", f)
	}
	return appendFloat(nil, f), nil
}

func appendFloat(b []byte, f float64) []byte {
	n := math.Float64bits(f)
	b = append(b, cborFloat64)
	for i := 56; i >= 0; i -= 8 {
		b = append(b, byte(n>>i))
	}
	return b
}

// String returns a text, which must be UTF-8.
func String(s string) Value { return appendText(nil, s) }

// Bytes returns a byte string.
func Bytes(b []byte) Value { return appendBytes(nil, b) }

// Ref returns a reference to an entity.
func Ref(entity string) Value { return appendText([]byte(refHead), entity) }

// IncValue is the value of an inc: what it adds, and the lane's total with it.
type IncValue struct{ Amount, Total int64 }

// Value returns the encoding [amount, total].
func (v IncValue) Value() Value {
	return appendInt(appendInt(appendHead(nil, majorArray, 2), v.Amount), v.Total)
}

// Inc returns the value as that of an inc.
func (v Value) Inc() (IncValue, bool) {
	if len(v) == 0 || v[0] != majorArray|2 {
		return IncValue{}, false
	}
	r := reader{b: v[1:]}
	a, aok := r.int()
	t, tok := r.int()
	return IncValue{a, t}, aok && tok && len(r.b) == 0
}

func (r *reader) int() (int64, bool) {
	if r.err != nil || len(r.b) == 0 || r.b[0] >= majorBytes {
		return 0, false
	}
	major, n := r.head()
	if r.err != nil || n > math.MaxInt64 {
		return 0, false
	}
	if major == majorNegative {
		return ^int64(n), true
	}
	return int64(n), true
}

// Kind returns the type of v.
func (v Value) Kind() Kind {
	if len(v) == 0 {
		return KindInvalid
	}
	switch v[0] & 0xe0 {
	case majorUint, majorNegative:
		return KindInt
	case majorBytes:
		return KindBytes
	case majorText:
		return KindString
	case majorArray:
		return KindArray
	case majorMap:
		if _, ok := v.Ref(); ok {
			return KindRef
		}
		return KindObject
	}
	switch v[0] {
	case cborFalse, cborTrue:
		return KindBool
	case cborNull:
		return KindNull
	case cborFloat64:
		return KindFloat
	}
	return KindInvalid
}

// Ref returns the entity that v refers to.
func (v Value) Ref() (entity string, ok bool) {
	if len(v) <= len(refHead) || string(v[:len(refHead)]) != refHead {
		return "", false
	}
	r := reader{b: v[len(refHead):]}
	entity = r.text(MaxEntityBytes, "ref")
	return entity, r.end("ref") == nil && CheckEntity(entity) == nil
}

// Int returns the value as an integer.
func (v Value) Int() (int64, bool) {
	r := reader{b: v}
	n, ok := r.int()
	return n, ok && len(r.b) == 0
}

// Text returns the value as a string.
func (v Value) Text() (string, bool) {
	if v.Kind() != KindString {
		return "", false
	}
	r := reader{b: v}
	return r.text(MaxValueBytes, "text"), r.err == nil
}

// CheckValue says what is wrong with the bytes of v, if anything.
func CheckValue(v Value) error {
	r := reader{b: v}
	r.value()
	return r.end("value")
}

// Any returns v as nil, bool, int64, float64, string, []byte, []any or
// map[string]any; a reference as a map with the one key "$ref".
func (v Value) Any() (any, error) {
	r := reader{b: v}
	x := r.any(0)
	if err := r.end("value"); err != nil {
		return nil, err
	}
	return x, nil
}

func (r *reader) any(depth int) any {
	if depth > MaxDepth {
		r.fail("value nested deeper than %d", MaxDepth)
	}
	if r.err != nil {
		return nil
	}
	switch first := r.peek(); first & 0xe0 {
	case majorUint, majorNegative:
		n, ok := r.int()
		if !ok {
			r.fail("bad integer")
		}
		return n
	case majorBytes:
		return slices.Clone(r.bytes("bytes"))
	case majorText:
		return r.text(MaxValueBytes, "text")
	case majorArray:
		n := r.array("array")
		out := make([]any, 0, n)
		for ; n > 0 && r.err == nil; n-- {
			out = append(out, r.any(depth+1))
		}
		return out
	case majorMap:
		n := r.expect(majorMap, "object")
		out := make(map[string]any)
		for ; n > 0 && r.err == nil; n-- {
			key := r.text(MaxValueBytes, "key")
			out[key] = r.any(depth + 1)
		}
		return out
	default:
		_, n := r.head()
		switch first {
		case cborFalse, cborTrue:
			return first == cborTrue
		case cborNull:
			return nil
		case cborFloat64:
			return math.Float64frombits(n)
		}
		r.fail("unexpected byte 0x%02x", first)
		return nil
	}
}

// ValueOf encodes what Any returns, and the other Go integer types.
func ValueOf(x any) (Value, error) {
	v, err := appendAny(nil, x, 0)
	if err != nil {
		return nil, err
	}
	if len(v) > MaxValueBytes {
		return nil, fmt.Errorf("value of %d bytes, at most %d are allowed", len(v), MaxValueBytes)
	}
	return v, CheckValue(v)
}

func appendAny(b []byte, x any, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("value nested deeper than %d", MaxDepth)
	}
	switch x := x.(type) {
	case nil:
		return append(b, cborNull), nil
	case bool:
		return append(b, Bool(x)...), nil
	case int:
		return appendInt(b, int64(x)), nil
	case int32:
		return appendInt(b, int64(x)), nil
	case int64:
		return appendInt(b, x), nil
	case uint32:
		return appendInt(b, int64(x)), nil
	case uint64:
		if x > math.MaxInt64 {
			return nil, fmt.Errorf("integer %d is past int64", x)
		}
		return appendInt(b, int64(x)), nil
	case float64:
		v, err := Float(x)
		return append(b, v...), err
	case string:
		return appendText(b, x), nil
	case []byte:
		return appendBytes(b, x), nil
	case Value:
		return append(b, x...), nil
	case []any:
		b = appendHead(b, majorArray, uint64(len(x)))
		for _, e := range x {
			var err error
			if b, err = appendAny(b, e, depth+1); err != nil {
				return nil, err
			}
		}
		return b, nil
	case map[string]any:
		return appendMap(b, x, depth)
	}
	return nil, fmt.Errorf("no value can be made of a %T", x)
}

func appendMap(b []byte, m map[string]any, depth int) ([]byte, error) {
	if s, ok := m[bytesKey].(string); ok && len(m) == 1 {
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", bytesKey, err)
		}
		return appendBytes(b, raw), nil
	}
	if s, ok := m[refKey].(string); ok && len(m) == 1 {
		if err := CheckEntity(s); err != nil {
			return nil, fmt.Errorf("%s: %w", refKey, err)
		}
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareKeys)
	b = appendHead(b, majorMap, uint64(len(m)))
	for _, k := range keys {
		var err error
		b = appendText(b, k)
		if b, err = appendAny(b, m[k], depth+1); err != nil {
			return nil, err
		}
	}
	return b, nil
}
