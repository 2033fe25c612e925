package delta

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"
)

// Floats print as in the table of RFC 8785, appendix B.
func TestCanonicalFloats(t *testing.T) {
	for bits, want := range map[uint64]string{
		0x0000000000000000: "0",
		0x8000000000000000: "0",
		0x0000000000000001: "5e-324",
		0x8000000000000001: "-5e-324",
		0x7fefffffffffffff: "1.7976931348623157e+308",
		0xffefffffffffffff: "-1.7976931348623157e+308",
		0x4340000000000000: "9007199254740992",
		0xc340000000000000: "-9007199254740992",
		0x4430000000000000: "295147905179352830000",
		0x44b52d02c7e14af5: "9.999999999999997e+22",
		0x44b52d02c7e14af6: "1e+23",
		0x44b52d02c7e14af7: "1.0000000000000001e+23",
		0x444b1ae4d6e2ef4e: "999999999999999700000",
		0x444b1ae4d6e2ef4f: "999999999999999900000",
		0x444b1ae4d6e2ef50: "1e+21",
		0x3eb0c6f7a0b5ed8c: "9.999999999999997e-7",
		0x3eb0c6f7a0b5ed8d: "0.000001",
		0x41b3de4355555553: "333333333.3333332",
		0x41b3de4355555554: "333333333.33333325",
		0x41b3de4355555555: "333333333.3333333",
		0x41b3de4355555556: "333333333.3333334",
		0x41b3de4355555557: "333333333.33333343",
		0xbecbf647612f3696: "-0.0000033333333333333333",
		0x43143ff3c1cb0959: "1424953923781206.2",
	} {
		if got := string(AppendCanonicalJSON(nil, math.Float64frombits(bits))); got != want {
			t.Errorf("%016x prints as %s, want %s", bits, got, want)
		}
	}
}

// Documents print as the samples of RFC 8785, sections 3.2.2 and 3.2.3, do;
// integers print exactly, and references and byte strings as their objects.
func TestCanonicalDocuments(t *testing.T) {
	for in, want := range map[string]string{
		`{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
		  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}`: `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		`{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
		  "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"}`: `{"\r":"Carriage Return","1":"One","` + "\u0080" +
			`":"Control","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","😀":"Emoji: Grinning Face","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`,
		`[9007199254740993, -9223372036854775808, 1.0, -0.0, -0]`: `[9007199254740993,-9223372036854775808,1,0,0]`,
		`{"b": {"$ref": "host/a"}, "a": {"$bytes": "AAE="}}`:      `{"a":{"$bytes":"AAE="},"b":{"$ref":"host/a"}}`,
		`"\u0000\b\t\n\f\r\u001f\u007f\u2028<>&"`:                 `"\u0000\b\t\n\f\r\u001f` + "\x7f\u2028" + `<>&"`,
		`{"aa": 1, "a": 2, "": 3, "😀x": 4, "😀": 5}`:               `{"":3,"a":2,"aa":1,"😀":5,"😀x":4}`,
	} {
		var v Value
		if err := v.UnmarshalJSON([]byte(in)); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		x, err := v.Any()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(AppendCanonicalJSON([]byte("x"), x)); got != "x"+want {
			t.Errorf("%s prints as\n%s, want\n%s", in, got, want)
		}
	}
}

// What is printed reads back as it was, up to 1.0 == 1, and whoever reads JSON
// with floats alone reads the same numbers.
func TestCanonicalRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := anyTree(2).Draw(t, "tree")
		text := AppendCanonicalJSON(nil, x)
		var floats any
		if err := json.Unmarshal(text, &floats); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if want := plain(x, true); !reflect.DeepEqual(floats, want) {
			t.Errorf("%s reads as %v, want %v", text, floats, want)
		}
		back, err := ParseJSON(text)
		if err != nil && strings.Contains(err.Error(), "past int64") {
			return // a float from 2^63 on
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if again := AppendCanonicalJSON(nil, back); !bytes.Equal(again, text) {
			t.Errorf("%s prints again as %s", text, again)
		}
		if got, want := plain(back, false), plain(x, false); !reflect.DeepEqual(got, want) {
			t.Errorf("%s reads as %v, want %v", text, got, want)
		}
	})
}

// plain gives a document the types that its JSON has: byte strings become
// objects and floats without a fraction integers, or all numbers floats.
func plain(x any, floats bool) any {
	switch x := x.(type) {
	case int64:
		if floats {
			return float64(x)
		}
	case float64:
		if x == 0 {
			x = 0 // negative zero has no text of its own
		}
		if floats || x != math.Trunc(x) || math.Abs(x) >= 1e21 {
			return x
		}
		// The digits are those of the shortest text, not of the exact value.
		n, err := ParseJSON(AppendCanonicalJSON(nil, x))
		if err != nil {
			return x
		}
		return n
	case []byte:
		var m any
		_ = json.Unmarshal(AppendAnyJSON(nil, x), &m)
		return m
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = plain(x[i], floats)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(x))
		for k := range x {
			out[k] = plain(x[k], floats)
		}
		return out
	}
	return x
}

// Keys are in the order of their UTF-16 code units.
func TestCompareUTF16(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("a\ue000\uffff😀😁𐀀")))) // what UTF-8 orders otherwise
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		want := slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
		if got := compareUTF16(a, b); got != want {
			t.Errorf("%q and %q compare as %d, want %d", a, b, got, want)
		}
	})
}
