package delta

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A value comes back from CBOR and from JSON as it was, with the same bytes,
// and a general library reads the same from the CBOR.
func TestValueRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := anyTree(3).Draw(t, "tree")
		v, err := ValueOf(tree)
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Any()
		if err != nil || !same(got, tree) {
			t.Fatalf("%v came back as %v, %v", tree, got, err)
		}
		if x := checkOracle(t, v); !same(x, tree) {
			t.Fatalf("%v is read as %v", tree, x)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(text) {
			t.Fatalf("not JSON: %s", text)
		}
		var back Value
		if err := json.Unmarshal(text, &back); err != nil || !bytes.Equal(back, v) {
			t.Fatalf("%s comes back as %x, want %x, %v", text, back, v, err)
		}
		if again, err := ValueOf(v); err != nil || !bytes.Equal(again, v) {
			t.Fatalf("ValueOf(%x) = %x, %v", v, again, err)
		}
	})
}

// same compares trees; a nil byte string is an empty one and -0 is not 0.
func same(a, b any) bool {
	switch a := a.(type) {
	case float64:
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !same(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k := range a {
			if y, ok := b[k]; !ok || !same(a[k], y) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a, b)
}

// Every Go integer type encodes as the number that it is.
func TestValueOfIntegers(t *testing.T) {
	for _, x := range []any{
		int(7), int8(7), int16(7), int32(7), int64(7), uint(7), uint8(7), uint16(7), uint32(7), uint64(7),
	} {
		v, err := ValueOf(x)
		if n, ok := v.Int(); err != nil || !ok || n != 7 {
			t.Errorf("ValueOf(%T) = %x, %v", x, v, err)
		}
	}
	for _, n := range []int64{math.MinInt64, -1, 0, math.MaxInt64} {
		if got, ok := Int(n).Int(); !ok || got != n {
			t.Errorf("Int(%d) = %d, %v", n, got, ok)
		}
	}
}

func nest(depth int, x any) any {
	for range depth {
		x = []any{x}
	}
	return x
}

// What cannot be a value is an error that says why.
func TestValueOfErrors(t *testing.T) {
	circle := map[string]any{}
	circle["self"] = circle
	wide := any(strings.Repeat("x", 1000))
	for range 40 {
		wide = []any{wide, wide}
	}
	for want, x := range map[string]any{
		"past int64":               uint64(math.MaxUint64),
		"not a finite":             math.NaN(),
		"not UTF-8":                "\xff",
		"map key: not UTF-8":       map[string]any{"\xff": 1},
		"no value can be made of":  struct{}{},
		"chan":                     []any{make(chan int)},
		"nested deeper than 64":    nest(MaxDepth+1, nil),
		"deeper than 64":           circle,
		"at most 262144":           strings.Repeat("x", MaxValueBytes),
		"more than 262144":         wide,
		"not base64":               map[string]any{bytesKey: "notbase64"},
		"not base64: illegal":      map[string]any{"a": map[string]any{bytesKey: "AB=="}},
		"its value is a string":    map[string]any{bytesKey: 5},
		"{\"$ref\": …}: the key":   map[string]any{refKey: []any{}},
		"entity id is empty":       map[string]any{refKey: ""},
		"contains #":               map[string]any{refKey: "a#/b"},
		"trailing bytes":           []any{Value{1, 2}},
		"truncated":                []any{Value{}, 1},
		"float is not a finite nu": Value("\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
	} {
		if v, err := ValueOf(x); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, have %x, %v", want, v, err)
		}
	}
	if v, err := ValueOf(nest(MaxDepth, []byte{1})); err != nil {
		t.Errorf("at the greatest depth: %x, %v", v, err)
	} else if text, err := v.MarshalJSON(); err != nil {
		t.Error(err)
	} else if err := new(Value).UnmarshalJSON(text); err != nil {
		t.Errorf("and back from JSON: %v", err)
	}
	if v, err := ValueOf(strings.Repeat("x", MaxValueBytes-5)); err != nil || len(v) != MaxValueBytes {
		t.Errorf("at the greatest size: %d bytes, %v", len(v), err)
	}
	if _, err := Float(math.Inf(1)); err == nil {
		t.Error("an infinity is a value")
	}
}

// Bytes that are no canonical value are refused by every reader.
func TestBadValues(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":               "",
		"long int":              "\x18\x17",
		"long int 16":           "\x19\x00\xff",
		"long int 32":           "\x1a\x00\x00\xff\xff",
		"long int 64":           "\x1b\x00\x00\x00\x00\xff\xff\xff\xff",
		"past int64":            "\x1b\x80\x00\x00\x00\x00\x00\x00\x00",
		"below int64":           "\x3b\x80\x00\x00\x00\x00\x00\x00\x00",
		"cut int":               "\x19\x01",
		"reserved":              "\x1c",
		"indefinite bytes":      "\x5f\x41a\xff",
		"indefinite text":       "\x7f\x61a\xff",
		"indefinite array":      "\x9f\x01\xff",
		"indefinite map":        "\xbf\x61a\x01\xff",
		"break":                 "\xff",
		"undefined":             "\xf7",
		"simple":                "\xe0",
		"simple byte":           "\xf8\x20",
		"simple false in two":   "\xf8\x14",
		"float16":               "\xf9\x3c\x00",
		"float32":               "\xfa\x3f\x80\x00\x00",
		"cut float":             "\xfb\x00",
		"NaN":                   "\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00",
		"-Inf":                  "\xfb\xff\xf0\x00\x00\x00\x00\x00\x00",
		"tag":                   "\xc1\x00",
		"link":                  linkHead + strings.Repeat("\x00", 32),
		"bytes past input":      "\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
		"text past input":       "\x7a\xff\xff\xff\xff",
		"array past input":      "\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
		"map past input":        "\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
		"short array":           "\x82\x01",
		"short map":             "\xa1\x61a",
		"text not UTF-8":        "\x61\xff",
		"surrogate in text":     "\x63\xed\xa0\x80",
		"key not text":          "\xa1\x01\x01",
		"key bytes":             "\xa1\x41a\x01",
		"key not UTF-8":         "\xa1\x61\xff\x01",
		"key twice":             "\xa2\x61a\x01\x61a\x02",
		"keys falling":          "\xa2\x61b\x01\x61a\x02",
		"keys not short first":  "\xa2\x62aa\x01\x61b\x02",
		"$bytes map":            "\xa1\x66$bytes\x60",
		"$bytes map of int":     "\xa1\x66$bytes\x01",
		"$ref of int":           "\xa1\x64$ref\x01",
		"$ref of nothing":       "\xa1\x64$ref\x60",
		"$ref with #":           "\xa1\x64$ref\x61#",
		"$ref in an array":      "\x81\xa1\x64$ref\x60",
		"two values":            "\x01\x02",
		"nested too deep":       strings.Repeat("\x81", MaxDepth+1) + "\x01",
		"maps nested too deep":  strings.Repeat("\xa1\x61a", MaxDepth+1) + "\x01",
		"nested without an end": strings.Repeat("\x9a\x00\x01\x00\x00", 50000),
		"too long":              string(appendHead(nil, majorBytes, MaxValueBytes)) + strings.Repeat("x", MaxValueBytes),
	} {
		v := Value(s)
		if err := CheckValue(v); err == nil {
			t.Errorf("%s: CheckValue accepts it", name)
		}
		if x, err := v.Any(); err == nil {
			t.Errorf("%s: Any() = %v", name, x)
		}
		if text, err := AppendJSON(nil, v); err == nil {
			t.Errorf("%s: JSON %s", name, text)
		}
		_, _, _ = v.Kind().String(), v.Kind(), len(s)
		if _, ok := v.Int(); ok {
			t.Errorf("%s: is an int", name)
		}
		if _, ok := v.Ref(); ok {
			t.Errorf("%s: is a ref", name)
		}
		if _, ok := v.Inc(); ok {
			t.Errorf("%s: is an inc", name)
		}
	}
}

// Each value knows its kind and gives out what it holds, and nothing else.
func TestKinds(t *testing.T) {
	half, err := Float(0.5)
	must(err)
	obj, err := ValueOf(map[string]any{"a": 1})
	must(err)
	inc := IncValue{-3, math.MaxInt64}
	for _, c := range []struct {
		v    Value
		kind Kind
		name string
	}{
		{nil, KindInvalid, "invalid"},
		{Value{0xf7}, KindInvalid, "invalid"},
		{Value{0xc1}, KindInvalid, "invalid"},
		{Null, KindNull, "null"},
		{Bool(true), KindBool, "bool"},
		{Bool(false), KindBool, "bool"},
		{Int(-5), KindInt, "int"},
		{half, KindFloat, "float"},
		{String("s"), KindString, "string"},
		{Bytes(nil), KindBytes, "bytes"},
		{Ref("e"), KindRef, "ref"},
		{inc.Value(), KindArray, "array"},
		{obj, KindObject, "object"},
		{Value(refHead), KindObject, "object"},
	} {
		if c.v.Kind() != c.kind || c.v.Kind().String() != c.name {
			t.Errorf("%x is %v, want %v", c.v, c.v.Kind(), c.kind)
		}
		if _, ok := c.v.Int(); ok != (c.kind == KindInt) {
			t.Errorf("%x.Int: %v", c.v, ok)
		}
		if _, ok := c.v.Text(); ok != (c.kind == KindString) {
			t.Errorf("%x.Text: %v", c.v, ok)
		}
		if _, ok := c.v.Ref(); ok != (c.kind == KindRef) {
			t.Errorf("%x.Ref: %v", c.v, ok)
		}
		if got, ok := c.v.Inc(); ok != (c.kind == KindArray) || ok && got != inc {
			t.Errorf("%x.Inc: %v, %v", c.v, got, ok)
		}
	}
	if s, _ := String("ü").Text(); s != "ü" {
		t.Errorf("Text() = %q", s)
	}
	if s, _ := Ref("host/a").Ref(); s != "host/a" {
		t.Errorf("Ref() = %q", s)
	}
	for _, s := range []string{"\x83\x01\x02\x03", "\x82\x01", "\x82\x01\x60", "\x82\x60\x01", "\x82\x01\x02\x03", "\x82\x01\x18\x01"} {
		if got, ok := Value(s).Inc(); ok {
			t.Errorf("%x.Inc() = %v", s, got)
		}
	}
	if _, ok := Value("\x62a").Text(); ok {
		t.Error("a cut text is a text")
	}
}

// FuzzValue: bytes are refused, or are the one encoding of what they mean, in
// CBOR and through JSON.
func FuzzValue(f *testing.F) {
	for _, s := range []string{"\xf6", "\x82\x01\x20", "\xa1\x64$ref\x61e", "\xa2\x61a\x41\x00\x61b\xfb\x80\x00\x00\x00\x00\x00\x00\x00"} {
		f.Add([]byte(s))
	}
	for seed := range 20 {
		f.Add([]byte(anyValue().Example(seed)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v := Value(b)
		_ = v.Kind()
		x, err := v.Any()
		if (err == nil) != (CheckValue(v) == nil) {
			t.Fatalf("Any: %v, CheckValue: %v", err, CheckValue(v))
		}
		if err != nil {
			return
		}
		checkOracle(t, b)
		if again, err := ValueOf(x); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%v is read from %x and written as %x, %v", x, b, again, err)
		}
		text := AppendAnyJSON(nil, x)
		y, err := ParseJSON(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if again, err := ValueOf(y); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x prints as %s, which is %x, %v", b, text, again, err)
		}
	})
}

// A float is eight bytes, whatever its value.
func TestFloatBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFloat().Draw(t, "float")
		v, err := Float(f)
		if err != nil || len(v) != 9 || binary.BigEndian.Uint64(v[1:]) != math.Float64bits(f) {
			t.Fatalf("Float(%v) = %x, %v", f, v, err)
		}
	})
}
