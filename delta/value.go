package delta

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
)

// A Value is one value in canonical DAG-CBOR. Equal values have equal bytes.
//
// References and byte strings have no form of their own in JSON; there they
// are the objects {"$ref": ENTITY} and {"$bytes": BASE64}. In CBOR a reference
// is that same map, a byte string is a byte string. No other object may have
// one of these two as its only key, in either form, so that both say the same.
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
	if err := CheckValue(v); err != nil {
		return nil, err
	}
	r := reader{b: v}
	return r.any(), nil
}

// any takes apart a value that has been checked, in form, depth and lengths.
func (r *reader) any() any {
	first := r.peek()
	switch first & 0xe0 {
	case majorUint, majorNegative:
		n, _ := r.int()
		return n
	case majorBytes:
		return bytes.Clone(r.bytes("bytes"))
	case majorText:
		return r.text(MaxValueBytes, "text")
	case majorArray:
		out := make([]any, r.array("array"))
		for i := range out {
			out[i] = r.any()
		}
		return out
	case majorMap:
		n := r.expect(majorMap, "object")
		out := make(map[string]any, n)
		for range n {
			key := r.text(MaxValueBytes, "key")
			out[key] = r.any()
		}
		return out
	}
	_, n := r.head()
	switch first {
	case cborNull:
		return nil
	case cborFloat64:
		return math.Float64frombits(n)
	}
	return first == cborTrue
}

// ValueOf encodes what Any returns, and the other Go integer types.
func ValueOf(x any) (Value, error) { return valueIn(make([]byte, 0, roomFor(x)), x) }

// valueIn is ValueOf in the memory of b, as far as that goes.
func valueIn(b []byte, x any) (Value, error) {
	v, err := appendAny(b[:0:cap(b)], x, 0)
	if err != nil {
		return nil, err
	}
	if len(v) > MaxValueBytes {
		return nil, fmt.Errorf("value of %d bytes, at most %d are allowed", len(v), MaxValueBytes)
	}
	return v, CheckValue(v)
}

// roomFor returns how many bytes a value takes, as far as that is seen at once.
func roomFor(x any) int {
	switch x := x.(type) {
	case string:
		return min(9+len(x), MaxValueBytes)
	case []byte:
		return min(9+len(x), MaxValueBytes)
	}
	return 16
}

func appendAny(b []byte, x any, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("value nested deeper than %d", MaxDepth)
	}
	if len(b) > MaxValueBytes {
		return nil, fmt.Errorf("value of more than %d bytes", MaxValueBytes)
	}
	switch x := x.(type) {
	case nil:
		return append(b, cborNull), nil
	case bool:
		if x {
			return append(b, cborTrue), nil
		}
		return append(b, cborFalse), nil
	case int, int8, int16, int32, int64:
		return appendInt(b, reflect.ValueOf(x).Int()), nil
	case uint, uint8, uint16, uint32, uint64:
		n := reflect.ValueOf(x).Uint()
		if n > math.MaxInt64 {
			return nil, fmt.Errorf("integer %d is past int64", n)
		}
		return appendHead(b, majorUint, n), nil
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("%v is not a finite number", x)
		}
		return appendFloat(b, x), nil
	case string:
		return appendText(b, x), nil
	case []byte:
		return appendBytes(b, x), nil
	case Value:
		return append(b, x...), CheckValue(x)
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
	if v, err := reservedObject(m); v != nil || err != nil {
		return append(b, v...), err
	}
	b = appendHead(b, majorMap, uint64(len(m)))
	for _, k := range slices.SortedFunc(maps.Keys(m), compareKeys[string]) {
		var err error
		b = appendText(b, k)
		if b, err = appendAny(b, m[k], depth+1); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// reservedObject returns the value of an object that is a reference or a byte
// string, and nil for any other.
func reservedObject(m map[string]any) (Value, error) {
	if len(m) != 1 {
		return nil, nil
	}
	for k, x := range m {
		if !reserved(k) {
			break
		}
		s, ok := x.(string)
		if !ok {
			return nil, fmt.Errorf("{%q: …}: the key is reserved, its value is a string", k)
		}
		if k == refKey {
			if err := CheckEntity(s); err != nil {
				return nil, fmt.Errorf("{%q: …}: %w", k, err)
			}
			return Ref(s), nil
		}
		// The decoder skips line breaks, the printer writes none: one form only.
		raw, err := base64.StdEncoding.Strict().DecodeString(s)
		if err == nil && strings.ContainsAny(s, "\r\n") {
			err = errors.New("line break")
		}
		if err != nil {
			return nil, fmt.Errorf("{%q: …}: not base64: %w", k, err)
		}
		return Bytes(raw), nil
	}
	return nil, nil
}
