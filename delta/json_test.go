package delta

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// JSON text that means a value prints in one form.
func TestJSONForms(t *testing.T) {
	for in, want := range map[string]string{
		` null `: `null`, `true`: `true`, `-0`: `0`, `-0.0`: `-0.0`, `1`: `1`, `1.0`: `1.0`, `1e2`: `100.0`, `1E-7`: `1e-07`,
		`1e21`: `1e+21`, `123456789012345678`: `123456789012345678`, `-9223372036854775808`: `-9223372036854775808`,
		`9007199254740993`: `9007199254740993`, `0.1`: `0.1`, `5e-324`: `5e-324`, `1e-400`: `0.0`,
		`[]`: `[]`, `{}`: `{}`, `{"b":1,"a":[2,{}]}`: `{"a":[2,{}],"b":1}`, `{"bb":1,"c":2}`: `{"bb":1,"c":2}`,
		`"\u00e9\ud83d\ude00"`: `"é😀"`, `"\\ud800"`: `"\\ud800"`, `"\u0000\"\\"`: `"\u0000\"\\"`, `"<&>"`: `"<&>"`, `"ü<&>"`: `"ü<&>"`,
		`"\u2028\ufffd"`: `"\u2028` + "\ufffd" + `"`, `"\u007f"`: "\"\x7f\"", `{"":{"":""}}`: `{"":{"":""}}`,
		`{"$ref":"host/a"}`: `{"$ref":"host/a"}`, `{"$bytes":"AAE="}`: `{"$bytes":"AAE="}`, `{"$bytes":""}`: `{"$bytes":""}`,
		`{"$ref":1,"x":2}`: `{"$ref":1,"x":2}`, `{"$bytes":"notbase64","x":2}`: `{"$bytes":"notbase64","x":2}`,
		`[{"\u0024ref":"e"}]`: `[{"$ref":"e"}]`,
	} {
		var v Value
		if err := v.UnmarshalJSON([]byte(in)); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got, err := AppendJSON([]byte("x"), v); err != nil || string(got) != "x"+want {
			t.Errorf("%s prints as %s, want %s, %v", in, got, want, err)
		}
	}
}

// Text that would have to be bent to fit is an error that says why.
func TestJSONErrors(t *testing.T) {
	for in, want := range map[string]string{
		``: "unexpected EOF", `[`: "unexpected EOF", `[1`: "unexpected EOF", `{"a"`: "unexpected EOF", `{"a":`: "unexpected EOF", `{"a":1`: "unexpected EOF", `{`: "unexpected EOF",
		`x`: "invalid character", `[1,]`: "invalid character", `[1 2]`: "invalid character", `{"a":1,}`: "invalid character",
		`{a:1}`: "invalid character", `{1:1}`: "invalid character", `{"a" 1}`: "invalid character", `[}`: "invalid character", `{]`: "invalid character", `]`: "invalid character",
		`01`: "after", `+1`: "invalid", `.5`: "invalid", `NaN`: "invalid", `"`: "unexpected EOF", `"\x"`: "invalid", "\"\n\"": "invalid",
		`1 2`: "more text", `{} x`: "more text", `1,`: "more text",
		`9223372036854775808`: "past int64", `-9223372036854775809`: "past int64", `1e400`: "past float64", `123456789012345678901234567890`: "past int64",
		`{"a":1,"a":2}`: "stands twice", `{"a":1,"\u0061":1}`: "stands twice", `[{"b":{"a":1,"a":1}}]`: "stands twice",
		"\"\xff\"": "not UTF-8", "\xef\xbb\xbf1": "invalid", "\"\xed\xa0\x80\"": "not UTF-8",
		`"\ud800"`: "half a surrogate", `"\udc00"`: "half a surrogate", `"\ud800\ud800"`: "half a surrogate", `"\ud800x"`: "half a surrogate",
		`"a\\\ud800\\"`: "half a surrogate", `{"\uDFFF":1}`: "half a surrogate", `"\ud83d\u00e9"`: "half a surrogate",
		strings.Repeat("[", 70) + strings.Repeat("]", 70): "deeper than 64", strings.Repeat(`{"a":`, 70): "deeper than 64", strings.Repeat("[", 1<<20): "deeper than 64",
		`{"$bytes":"notbase64"}`: "not base64", `{"$bytes":5}`: "is a string", `{"$bytes":"AA\n=="}`: "line break", `{"$ref":{}}`: "is a string", `{"$ref":""}`: "is empty",
		`{"a":[{"$bytes":"A"}]}`: "not base64", `"` + strings.Repeat("x", MaxValueBytes) + `"`: "at most 262144",
	} {
		var v Value
		if err := v.UnmarshalJSON([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", in, err, want)
		}
	}
}

// What the standard library reads from a text without loss, ParseJSON reads the
// same, and the other way round.
func checkJSON(t failer, text []byte) {
	t.Helper()
	x, err := ParseJSON(text)
	if err != nil {
		return
	}
	if !json.Valid(text) || !utf8.Valid(text) {
		t.Fatalf("%q is accepted as %v", text, x)
	}
	printed := AppendAnyJSON(nil, x)
	if !json.Valid(printed) {
		t.Fatalf("%q is printed as %q", text, printed)
	}
	y, err := ParseJSON(printed)
	if err != nil || !same(x, y) {
		t.Fatalf("%q prints as %q, which reads as %v, %v", text, printed, y, err)
	}
	var std any
	must(json.Unmarshal(text, &std))
	if !sameNumbers(x, std) {
		t.Fatalf("%q reads as %v, with the standard library as %v", text, x, std)
	}
	v, err := ValueOf(x)
	if err != nil {
		return
	}
	if back, err := AppendJSON(nil, v); err != nil || !same(mustParse(back), x) {
		t.Fatalf("%q is the value %x, which prints as %s, %v", text, v, back, err)
	}
}

func mustParse(text []byte) any {
	x, err := ParseJSON(text)
	must(err)
	return x
}

// sameNumbers compares with what the standard library reads: all numbers are
// floats there.
func sameNumbers(a, b any) bool {
	switch a := a.(type) {
	case int64:
		b, ok := b.(float64)
		return ok && (float64(a) == b || math.Abs(b) > 1<<53)
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameNumbers(a[i], b[i]) {
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
			if !sameNumbers(a[k], b[k]) {
				return false
			}
		}
		return true
	}
	return same(a, b)
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`null`, `-0.0`, `[1,2.5,1e21,"\ud83d\ude00"]`, `{"a":{"$ref":"e"},"b":{"$bytes":"AAE="}}`, `{"a":1,"a":2}`, `"\ud800"`, `{"a":}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkJSON(t, text) })
}

// Flattening gives each leaf once, and the leaves make the document again.
func TestFlatten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := anyDoc(3).Draw(t, "doc")
		leaves, err := Flatten("/at", doc)
		if err != nil {
			t.Fatal(err)
		}
		var back any = map[string]any{}
		for _, l := range leaves {
			x, err := l.Value.Any()
			if err != nil {
				t.Fatal(err)
			}
			if m, ok := x.(map[string]any); ok && len(m) > 0 && l.Value.Kind() != KindRef {
				t.Fatalf("%v is no leaf: %v", l.Path, x)
			}
			back = put(back, l.Path.Segments()[1:], x)
		}
		if !same(back, doc) {
			t.Fatalf("%v came back as %v", doc, back)
		}
	})
}

// A Flattener returns what Flatten does, and its values stay what they were while it
// goes on.
func TestFlattener(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f Flattener
		var got, want []Leaf
		for range rapid.IntRange(1, 20).Draw(t, "documents") {
			doc := anyDoc(2).Draw(t, "doc")
			if rapid.IntRange(0, 4).Draw(t, "long") == 0 {
				doc = strings.Repeat("x", rapid.IntRange(0, valueRoom/8).Draw(t, "length"))
			}
			leaves, err := f.Flatten("/at", doc)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, leaves...)
			for i := range leaves {
				_ = append(leaves[i].Value, "longer"...) // does nothing to the next one
			}
			alone, err := Flatten("/at", doc)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, alone...)
		}
		for i := range want {
			if got[i].Path != want[i].Path || !bytes.Equal(got[i].Value, want[i].Value) {
				t.Fatalf("leaf %d is %v, want %v", i, got[i], want[i])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d leaves, want %d", len(got), len(want))
		}
	})
}

// A Flattener does not hold on to the values of documents before the last.
func TestFlattenerLetsGo(t *testing.T) {
	var f Flattener
	doc := make(map[string]any)
	for i := range 100 {
		doc[strconv.Itoa(i)] = strings.Repeat("x", valueRoom)
	}
	for _, x := range []any{doc, int64(1)} {
		if _, err := f.Flatten("", x); err != nil {
			t.Fatal(err)
		}
	}
	for i, l := range f.leaves[:cap(f.leaves)] {
		if len(l.Value) > 1 {
			t.Fatalf("leaf %d still has a value of %d bytes", i, len(l.Value))
		}
	}
}

// anyDoc draws a document whose objects have no reserved names.
func anyDoc(depth int) *rapid.Generator[any] {
	if depth == 0 {
		return anyTree(0)
	}
	key := rapid.Map(anyName(), func(s string) string { return strings.TrimPrefix(s, "$") })
	return rapid.OneOf(anyTree(0), rapid.MapOfN(key, anyDoc(depth-1), 0, 4).AsAny())
}

func put(doc any, at []string, x any) any {
	if len(at) == 0 {
		return x
	}
	m := doc.(map[string]any)
	child, ok := m[at[0]]
	if !ok {
		child = map[string]any{}
	}
	m[at[0]] = put(child, at[1:], x)
	return doc
}

// The edges of flattening: what is a leaf, the order, and what is refused.
func TestFlattenEdges(t *testing.T) {
	flat := func(text string) string {
		x, err := ParseJSON([]byte(text))
		must(err)
		leaves, err := Flatten("", x)
		if err != nil {
			return err.Error()
		}
		var b bytes.Buffer
		for _, l := range leaves {
			value, err := AppendJSON(nil, l.Value)
			must(err)
			b.WriteString(string(l.Path) + "=" + string(value) + " ")
		}
		return strings.TrimSpace(b.String())
	}
	for in, want := range map[string]string{
		`1`: `=1`, `{}`: `={}`, `[{"a":1}]`: `=[{"a":1}]`, `{"b":{"d":{},"c":[]},"a":null}`: `/a=null /b/c=[] /b/d={}`,
		`{"a/b":{"~":1}}`: `/a~1b/~0=1`, `{"":1}`: `/=1`, `{"r":{"$ref":"e"},"s":{"$bytes":"AA=="}}`: `/r={"$ref":"e"} /s={"$bytes":"AA=="}`,
		`{"$ref":"e"}`: `={"$ref":"e"}`, `{"$refs":1}`: `/$refs=1`,
	} {
		if got := flat(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		`{"$bytes":"notbase64"}`: `value: {"$bytes": …}: not base64`, `{"a":{"$ref":""}}`: `/a: {"$ref": …}: entity id is empty`,
		`{"a":{"$ref":"x","b":1}}`: `$ref is reserved`, `{"$bytes":{"b":1}}`: `is a string`,
		`{"` + strings.Repeat("x", MaxPathBytes) + `":1}`: `at most 4096`,
	} {
		if got := flat(in); !strings.Contains(got, want) {
			t.Errorf("%.40s: %s, want %s", in, got, want)
		}
	}
	deep := any(1)
	for range MaxDepth + 2 {
		deep = map[string]any{"a": deep}
	}
	if _, err := Flatten("", deep); err == nil {
		t.Error("a document without a bottom is taken apart")
	}
	if _, err := Flatten("", map[string]any{"\xff": 1}); err == nil {
		t.Error("a name that is not UTF-8 is taken")
	}
}
