package schema

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/delta"
)

func mustJSON(t testing.TB, text string) any {
	t.Helper()
	x, err := delta.ParseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func mustType(t testing.TB, text string) *valueType {
	t.Helper()
	v, f := compileType(mustJSON(t, text), nil)
	if f != nil {
		t.Fatalf("type %s: %v", text, f)
	}
	return v
}

// TestOneFault: of all that is wrong with a value a type always names the same,
// whatever the order of its keywords in a map.
func TestOneFault(t *testing.T) {
	for _, c := range []struct {
		typ   string
		value any
		want  string
	}{
		{`{"maximum":0,"exclusiveMaximum":1}`, int64(1), "1 is not below 1"},
		{`{"minimum":2,"exclusiveMinimum":1}`, 1.0, "1 is not above 1"},
		{`{"items":{"maximum":0,"exclusiveMaximum":1}}`, []any{int64(1)}, "/0: 1 is not below 1"},
		{`{"allOf":[{"maximum":0},{"exclusiveMaximum":1}]}`, int64(1), "1 is above 0"},
	} {
		for range 64 { // each has an order of its own
			if f := mustType(t, c.typ).check(c.value); f == nil || f.Error() != c.want {
				t.Fatalf("%s of %v: %v, want %s", c.typ, c.value, f, c.want)
			}
		}
	}
}

// TestTypes: what a type takes, and how it says no.
func TestTypes(t *testing.T) {
	for _, c := range []struct {
		typ   string
		value any
		want  string // empty: it is taken
	}{
		{`{"type":"integer"}`, int64(5), ""},
		{`{"type":"integer"}`, 5.0, ""},
		{`{"type":"integer"}`, 5.5, "is a number, must be integer"},
		{`{"type":"integer"}`, 1e300, ""},
		{`{"type":"number"}`, int64(5), ""},
		{`{"type":["string","null"]}`, nil, ""},
		{`{"type":["string","null"]}`, true, "is a boolean, must be null or string"},
		{`{"type":"number"}`, math.Inf(1), "is no finite number"},
		{`{"minimum":0}`, int64(-1), "-1 is below 0"},
		{`{"minimum":0}`, "text", ""},
		{`{"exclusiveMinimum":0}`, int64(0), "0 is not above 0"},
		{`{"maximum":1.5}`, 1.6, "1.6 is above 1.5"},
		{`{"exclusiveMaximum":1.5}`, 1.5, "1.5 is not below 1.5"},
		{`{"maximum":9007199254740992}`, int64(9007199254740993), "9007199254740993 is above 9007199254740992"},
		{`{"minimum":9223372036854775807}`, int64(math.MaxInt64), ""},
		{`{"exclusiveMinimum":9223372036854775807}`, int64(math.MaxInt64), "is not above"},
		{`{"exclusiveMinimum":9223372036854775807}`, 1e19, ""},
		{`{"maximum":-1e19}`, int64(math.MinInt64), "is above -1e+19"},
		{`{"minimum":1e308}`, 1.1e308, ""},
		{`{"exclusiveMaximum":-1.7976931348623157e308}`, -math.MaxFloat64, "is not below"},
		{`{"multipleOf":0.1}`, 0.3, ""},
		{`{"multipleOf":0.1}`, int64(7), ""},
		{`{"multipleOf":3}`, int64(7), "7 is no multiple of 3"},
		{`{"multipleOf":0.1}`, 0.35, "0.35 is no multiple of 1/10"},
		{`{"multipleOf":2}`, 3.0, "3 is no multiple of 2"},
		{`{"const":5}`, 5.0, ""},
		{`{"enum":[1.0,"a",null,true,false]}`, int64(1), ""},
		{`{"enum":[1.0,"a",null,true]}`, false, `must be 1.0 or "a" or null or true`},
		{`{"enum":[1.0,"a"]}`, nil, "must be"},
		{`{"enum":[9007199254740993]}`, 9007199254740992.0, "must be"},
		{`{"enum":["a"]}`, []any{}, "must be"},
		{`{"enum":["a"]}`, map[string]any{}, "must be"},
		{`{"enum":["a"]}`, "b", "must be"},
		{`{"enum":["a"]}`, 1.5, "must be"},
		{`{"enum":["a"]}`, int64(1), "must be"},
		{`{"minLength":2,"maxLength":3}`, "åäö", ""},
		{`{"minLength":2}`, "å", "has 1 characters, at least 2 are needed"},
		{`{"maxLength":3.0}`, "åäöü", "has 4 characters, at most 3 are allowed"},
		{`{"maxLength":1e30}`, "åäöü", ""},
		{`{"pattern":"^a"}`, "ba", `does not match "^a"`},
		{`{"type":"string","pattern":"^a"}`, int64(1), "must be string"},
		{`{"type":"array","items":{"type":"string"}}`, []any{"a", int64(1)}, "/1: is an integer, must be string"},
		{`{"type":"array"}`, "a", "is a string, must be array"},
		{`{"minItems":1,"maxItems":2}`, []any{}, "has 0 items, at least 1 are needed"},
		{`{"minItems":1,"maxItems":2}`, []any{nil, nil, nil}, "has 3 items, at most 2 are allowed"},
		{`{"type":"object","properties":{"a/b":{"type":"string"}}}`, map[string]any{"a/b": int64(1)}, "/a~1b: is an integer"},
		{`{"required":["a","b"]}`, map[string]any{"b": nil}, `lacks the member "a"`},
		{`{"additionalProperties":false}`, map[string]any{"y": nil, "x": nil, "z": nil}, "/x: is no member"},
		{`{"additionalProperties":{"type":"string"}}`, map[string]any{"b": int64(1), "a": "x", "c": nil}, "/b: is an integer"},
		{`{"type":"object"}`, "x", "must be object"},
		{`{"type":"object"}`, []byte{1}, ""},
		{`{"type":"object","required":["$bytes"],"additionalProperties":{"pattern":"^AQ"}}`, []byte{1}, ""},
		{`{"type":"string"}`, []byte{1}, "must be string"},
		{`{"type":"string"}`, map[string]any{"$ref": "x"}, "is a reference, must be string"},
		{`{"type":"null"}`, "x", "is a string, must be null"},
		{`{"type":"string"}`, nil, "is null, must be string"},
		{`true`, []any{}, ""},
		{`false`, nil, "nothing is allowed here"},
		{`{"type":"string"}`, struct{}{}, "which is no value"},
		{`{"type":"string","format":"date-time"}`, "no date", ""}, // formats are annotations

		// What the general library judges.
		{`{"anyOf":[{"type":"string"},{"type":"null"}]}`, int64(1), "is none of what anyOf allows"},
		{`{"oneOf":[{"type":"string"},{"minLength":1}]}`, "x", "is not exactly one of what oneOf allows"},
		{`{"allOf":[{"type":"integer"},{"minimum":9007199254740993}]}`, int64(9007199254740992), "9007199254740992 is below 9007199254740993"},
		{`{"allOf":[{"maximum":0.5,"exclusiveMaximum":0.25,"exclusiveMinimum":0.75,"multipleOf":0.4}]}`, 0.6, "0.6 is above 0.5"},
		{`{"allOf":[{"exclusiveMaximum":0.25}]}`, 0.6, "0.6 is not below 0.25"},
		{`{"allOf":[{"exclusiveMinimum":0.75}]}`, 0.6, "0.6 is not above 0.75"},
		{`{"allOf":[{"multipleOf":0.4}]}`, 0.6, "0.6 is no multiple of 0.4"},
		{`{"allOf":[{"type":"integer"}]}`, 5.0, ""},
		{`{"allOf":[{"type":"integer"}]}`, "x", "is a string, must be integer"},
		{`{"allOf":[{"type":"string"}]}`, []any{}, "is an array, must be string"},
		{`{"allOf":[{"type":"string"}]}`, nil, "is null, must be string"},
		{`{"allOf":[{"enum":["a",[1]]}]}`, "b", `must be "a" or [1]`},
		{`{"const":{"$ref":"a"}}`, map[string]any{"$ref": "a"}, ""},
		{`{"const":{"$ref":"a"}}`, "x", `must be {"$ref":"a"}`},
		{`{"allOf":[false]}`, "x", "nothing is allowed here"},
		{`{"allOf":[{"required":["b","a"]}]}`, map[string]any{}, `lacks the member "a", "b"`},
		{`{"dependentRequired":{"a":["c","b"]}}`, map[string]any{"a": nil}, `lacks the member "b", "c", which goes with "a"`},
		{`{"allOf":[{"additionalProperties":false}]}`, map[string]any{"b": nil, "a": nil}, `has members that are not allowed: "a", "b"`},
		{`{"propertyNames":{"maxLength":1}}`, map[string]any{"bb": nil}, `the name "bb" is not allowed`},
		{`{"minProperties":1}`, map[string]any{}, "has 0 members, at least 1 are needed"},
		{`{"maxProperties":1}`, map[string]any{"a": nil, "b": nil}, "has 2 members, at most 1 are allowed"},
		{`{"uniqueItems":true}`, []any{int64(1), 1.0}, "has an item twice"},
		{`{"allOf":[{"minItems":1}]}`, []any{}, "at least 1"},
		{`{"allOf":[{"maxItems":0}]}`, []any{nil}, "at most 0"},
		{`{"allOf":[{"minLength":1}]}`, "", "at least 1"},
		{`{"allOf":[{"maxLength":0}]}`, "a", "at most 0"},
		{`{"allOf":[{"pattern":"a"}]}`, "b", `does not match "a"`},
		{`{"not":{"type":"string"}}`, "b", "is what not forbids"},
		{`{"contains":{"type":"string"}}`, []any{nil}, "has too few"},
		{`{"contains":true,"minContains":2}`, []any{nil}, "has too few"},
		{`{"contains":true,"maxContains":1}`, []any{nil, nil}, "has too many"},
		{`{"prefixItems":[{"type":"string"}],"items":false}`, []any{"a", "b"}, "/1: nothing is allowed here"},
		{
			`{"$defs":{"n":{"type":"object","properties":{"n":{"$ref":"#/$defs/n"}},"additionalProperties":false}},"$ref":"#/$defs/n"}`,
			map[string]any{"n": map[string]any{"n": map[string]any{"x": nil}}},
			"/n/n: has members",
		},
		{
			`{"allOf":[{"properties":{"a":{"type":"string"},"b":{"type":"string"},"c":{"type":"string"}}}]}`,
			map[string]any{"a": nil, "b": nil, "c": nil},
			"/a: is null",
		},
		{`{"allOf":[{"items":{"required":["$bytes"]}}]}`, []any{[]byte{1}, map[string]any{"x": []byte{1}}}, "/1: lacks"},
		{
			`{"$dynamicAnchor":"n","properties":{"n":{"$dynamicRef":"#n"}},"patternProperties":{"^x":{"type":"string"}},"unevaluatedProperties":false}`,
			map[string]any{"n": map[string]any{"y": nil}},
			"/n",
		},
		{`{"dependentSchemas":{"a":{"required":["b"]}},"additionalProperties":{"type":"integer"}}`, map[string]any{"a": int64(1)}, `lacks the member "b"`},
	} {
		f := mustType(t, c.typ).check(c.value)
		if c.want == "" && f != nil || c.want != "" && (f == nil || !strings.Contains(f.Error(), c.want)) {
			t.Errorf("%v as %s: %v, want %q", c.value, c.typ, f, c.want)
		}
	}
}

// scalars are values around the places where integers and floats part.
func drawScalar(t *rapid.T) any {
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.SampledFrom([]string{"", "a", "ab", "abc", "åäö"}).Draw(t, "text")
	case 3:
		return rapid.SampledFrom([]int64{0, 1, -1, 1 << 53, 1<<53 + 1, 1000000000000000100, 1000000000000000128, math.MaxInt64, math.MinInt64, -math.MaxInt64}).Draw(t, "edge")
	case 4:
		return rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, -1, 0.1, 0.5, 1 << 53, 1000000000000000128, 1 << 63, -1 << 63, 1e23, 5e-324, math.MaxFloat64, -math.MaxFloat64}).Draw(t, "edge")
	case 5:
		return rapid.Int64Range(-5, 5).Draw(t, "small")
	case 6:
		return float64(rapid.IntRange(-20, 20).Draw(t, "quarters")) / 4
	}
	return rapid.Float64().Filter(func(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }).Draw(t, "float")
}

func drawValue(t *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 5).Draw(t, "shape")
	if depth == 0 || kind > 2 {
		return drawScalar(t)
	}
	if kind == 0 {
		out := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			out = append(out, drawValue(t, depth-1))
		}
		return out
	}
	if kind == 1 && rapid.Bool().Draw(t, "bytes") {
		return []byte("ab")
	}
	out := map[string]any{}
	for _, k := range []string{"a", "b", "$bytes"} {
		if rapid.Bool().Draw(t, "has") {
			out[k] = drawValue(t, depth-1)
		}
	}
	if len(out) == 1 {
		delete(out, "$bytes") // reserved
	}
	return out
}

// drawPlain draws a type of the common keywords.
func drawPlain(t *rapid.T, depth int) any {
	if rapid.IntRange(0, 9).Draw(t, "boolean") == 0 {
		return rapid.Bool().Draw(t, "type")
	}
	m := map[string]any{}
	number := func(key string) {
		if x := drawScalar(t); x != nil {
			switch x.(type) {
			case int64, float64:
				m[key] = x
			}
		}
	}
	count := func(key string) { m[key] = rapid.Int64Range(0, 3).Draw(t, key) }
	names := []any{"null", "boolean", "integer", "number", "string", "array", "object"}
	for range rapid.IntRange(0, 3).Draw(t, "keywords") {
		switch rapid.IntRange(0, 12).Draw(t, "keyword") {
		case 0:
			m["type"] = rapid.SampledFrom(names).Draw(t, "type")
		case 1:
			m["type"] = []any{rapid.SampledFrom(names[:3]).Draw(t, "type"), rapid.SampledFrom(names[3:]).Draw(t, "type")}
		case 2:
			number(rapid.SampledFrom([]string{"minimum", "exclusiveMinimum"}).Draw(t, "key"))
		case 3:
			number(rapid.SampledFrom([]string{"maximum", "exclusiveMaximum"}).Draw(t, "key"))
		case 4:
			m["multipleOf"] = rapid.SampledFrom([]any{int64(1), int64(2), 0.1, 0.25, 3.0, 1e300, int64(math.MaxInt64)}).Draw(t, "multipleOf")
		case 5:
			var l []any
			for range rapid.IntRange(1, 4).Draw(t, "choices") {
				l = append(l, drawScalar(t))
			}
			m["enum"] = l
		case 6:
			m["const"] = drawScalar(t)
		case 7:
			count("minLength")
			m["pattern"] = rapid.SampledFrom([]string{"^a", "b$", "."}).Draw(t, "pattern")
		case 8:
			count("maxLength")
		case 9:
			count(rapid.SampledFrom([]string{"minItems", "maxItems"}).Draw(t, "key"))
		case 10:
			if depth > 0 {
				m["items"] = drawPlain(t, depth-1)
			}
		case 11:
			if depth > 0 {
				m["properties"] = map[string]any{"a": drawPlain(t, depth-1), "b": drawPlain(t, depth-1)}
			}
			m["required"] = rapid.SampledFrom([]any{[]any{}, []any{"a"}, []any{"$bytes", "b"}}).Draw(t, "required")
		case 12:
			m["additionalProperties"] = rapid.SampledFrom([]any{false, true, map[string]any{"type": "integer"}}).Draw(t, "additional")
		}
	}
	return m
}

// TestPlainAgrees: a plain type takes what the general library takes, and
// nothing else.
func TestPlainAgrees(t *testing.T) {
	plainOnes := 0
	rapid.Check(t, func(t *rapid.T) {
		doc := drawPlain(t, 2)
		p, ok := newPlain(doc)
		s, f := compileLibrary(doc)
		if f != nil {
			t.Fatalf("the library refuses %v: %v", doc, f)
		}
		if !ok {
			return
		}
		plainOnes++
		for range 20 {
			v := drawValue(t, 2)
			mine, theirs := p.check(v), checkLibrary(s, v)
			if (mine == nil) != (theirs == nil) {
				t.Fatalf("%v as %v: %v, by the library %v", v, doc, mine, theirs)
			}
		}
	})
	if plainOnes == 0 {
		t.Error("no type was plain")
	}
}

// TestPlainLeaves: what the library would refuse, or what only it understands,
// is never a plain type.
func TestPlainLeaves(t *testing.T) {
	for _, text := range []string{
		`5`, `{"type":5}`, `{"type":"x"}`, `{"type":[]}`, `{"type":["null","null"]}`, `{"type":["null",5]}`, `{"enum":[]}`, `{"enum":5}`,
		`{"enum":[[1]]}`, `{"const":{}}`, `{"enum":[1],"const":1}`, `{"minimum":"1"}`, `{"maximum":null}`, `{"multipleOf":0}`, `{"multipleOf":-1}`,
		`{"multipleOf":"x"}`, `{"minLength":-1}`, `{"minLength":0.5}`, `{"maxItems":"x"}`, `{"pattern":5}`, `{"pattern":"("}`, `{"items":5}`,
		`{"title":5}`, `{"deprecated":5}`, `{"examples":5}`, `{"properties":5}`, `{"properties":{"a":5}}`, `{"required":5}`, `{"required":[5]}`,
		`{"required":["a","a"]}`, `{"additionalProperties":5}`, `{"allOf":[]}`, `{"$ref":"#"}`, `{"unknown":1}`, `{"uniqueItems":true}`,
	} {
		if p, ok := newPlain(mustJSON(t, text)); ok {
			t.Errorf("%s is plain: %+v", text, p)
		}
	}
	doc := mustJSON(t, `{"title":"t","description":"d","$comment":"c","format":"f","deprecated":true,"readOnly":true,"writeOnly":false,"examples":[1],"default":{}}`)
	if _, ok := newPlain(doc); !ok {
		t.Error("annotations keep a type from being plain")
	}
}

// TestBounds: the machine numbers of a bound are the last that are inside.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, v := drawScalar(t), drawScalar(t)
		limit, ok1 := ratOf(x)
		value, ok2 := ratOf(v)
		if !ok1 || !ok2 {
			return
		}
		upper, exclusive := rapid.Bool().Draw(t, "upper"), rapid.Bool().Draw(t, "exclusive")
		b := newBound(x, upper, exclusive)
		c := value.Cmp(limit)
		if upper {
			c = -c
		}
		want := c > 0 || c == 0 && !exclusive
		var got bool
		switch v := v.(type) {
		case int64:
			got = !b.noInt && (!upper && v >= b.i || upper && v <= b.i)
		case float64:
			got = !upper && v >= b.f || upper && v <= b.f
		}
		if got != want {
			t.Fatalf("%v (%T) against %v (%T), upper %v, exclusive %v: %v; bound %+v", v, v, x, x, upper, exclusive, got, *b)
		}
	})
}

// TestConstants: a constant equals the integers and floats that print the same.
func TestConstants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, v := drawScalar(t), drawScalar(t)
		if rapid.Bool().Draw(t, "near") {
			if n, ok := x.(int64); ok {
				v = float64(n)
			}
		}
		a, ok1 := ratOf(x)
		b, ok2 := ratOf(v)
		if !ok1 || !ok2 {
			return
		}
		c, _ := newConstant(x)
		var got bool
		switch v := v.(type) {
		case int64:
			got = c.isInt && c.i == v
		case float64:
			got = c.isF && c.f == v
		}
		if got != (a.Cmp(b) == 0) {
			t.Fatalf("%v (%T) equals %v (%T): %v", v, v, x, x, got)
		}
	})
	if _, ok := newConstant("x"); ok {
		t.Error("a text is a number")
	}
	if newBound("x", false, false) != nil || numberText("x") != "" {
		t.Error("a text is a bound")
	}
}

// TestFaultsAreStable: of many faults the same one is told each time, though
// maps have no order.
func TestFaultsAreStable(t *testing.T) {
	var members []string
	value := map[string]any{}
	for i := range 20 {
		name := fmt.Sprintf("m%02d", i)
		members = append(members, fmt.Sprintf(`%q:{"type":"string"}`, name))
		value[name] = int64(i)
	}
	properties := `{"properties":{` + strings.Join(members, ",") + `}}`
	for _, text := range []string{properties, `{"allOf":[` + properties + `]}`} {
		for range 50 {
			if f := mustType(t, text).check(value); f == nil || f.at != "/m00" {
				t.Fatalf("%s: %v", text, f)
			}
		}
	}
}

// TestNoAllocations: a check that finds nothing allocates nothing.
func TestNoAllocations(t *testing.T) {
	check := mustType(t, `{"type":"object","properties":{"n":{"type":"integer","minimum":0,"maximum":10},"s":{"enum":["a","b"]}},"required":["n"]}`).check
	var v any = map[string]any{"n": int64(5), "s": "b"}
	if n := testing.AllocsPerRun(100, func() { check(v) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWork: a type that is deep but honest is taken.
func TestWork(t *testing.T) {
	for _, text := range []string{
		`{"anyOf":[{"type":["null","boolean","number","string"]},{"type":"array","items":{"$ref":"#"}},{"type":"object","additionalProperties":{"$ref":"#"}}]}`,
		`{"$defs":{"n":{"properties":{"l":{"$ref":"#/$defs/n"},"r":{"$ref":"#/$defs/n"}}}},"$ref":"#/$defs/n","not":{"type":"null"},"if":true,"then":true,"else":false}`,
		`{"prefixItems":[{"$ref":"#"},{"$ref":"#"}],"contains":true,"oneOf":[true]}`,
	} {
		mustType(t, text)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, c := range []struct {
		name, typ string
		value     any
	}{
		{"integer", `{"type":"integer","minimum":0,"maximum":100}`, int64(7)},
		{"number", `{"type":"number","minimum":0}`, 7.5},
		{"string", `{"type":"string","minLength":1,"maxLength":20}`, "Bergen"},
		{"enum", `{"enum":["open","paid","sent"]}`, "sent"},
		{"library", `{"anyOf":[{"type":"integer"},{"type":"null"}]}`, int64(7)},
	} {
		check := mustType(b, c.typ).check
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if check(c.value) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
