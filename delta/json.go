package delta

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseJSON reads one JSON text into what Any returns, byte strings excepted,
// which stay objects until ValueOf. Nothing is bent to fit: an integer past
// int64, a number past float64, a repeated key, half a surrogate pair, bytes
// that are not UTF-8 and trailing text are errors.
func ParseJSON(text []byte) (any, error) {
	if err := checkText(text); err != nil {
		return nil, fmt.Errorf("json: %w", err)
	}
	p := jsonParser{dec: json.NewDecoder(bytes.NewReader(text))}
	p.dec.UseNumber()
	x, err := p.value(0)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("json: %w", err)
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("json: more text after the value, at byte %d", p.dec.InputOffset())
	}
	return x, nil
}

// checkText refuses what encoding/json would silently replace by U+FFFD.
func checkText(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("not UTF-8")
	}
	for i := bytes.IndexByte(text, '\\'); i >= 0 && i+1 < len(text); {
		size := 2
		if r := escapedRune(text[i:]); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, escapedRune(text[i+6:])) == utf8.RuneError {
				return fmt.Errorf("half a surrogate pair at byte %d", i)
			}
			size = 12
		}
		next := bytes.IndexByte(text[i+size:], '\\')
		if next < 0 {
			return nil
		}
		i += size + next
	}
	return nil
}

// escapedRune returns the rune of the \uXXXX that b begins with, else -1.
func escapedRune(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

type jsonParser struct{ dec *json.Decoder }

func (p *jsonParser) value(depth int) (any, error) {
	t, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	return p.rest(t, depth)
}

func (p *jsonParser) rest(t json.Token, depth int) (any, error) {
	// The form of references and byte strings takes a level more in JSON.
	if depth > MaxDepth+1 {
		return nil, fmt.Errorf("nested deeper than %d", MaxDepth)
	}
	switch t := t.(type) {
	case json.Number:
		return parseNumber(t.String())
	case json.Delim:
		if t == '[' {
			return p.array(depth)
		}
		return p.object(depth)
	}
	return t, nil
}

func (p *jsonParser) array(depth int) (any, error) {
	out := []any{}
	for p.dec.More() {
		x, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	_, err := p.dec.Token()
	return out, err
}

func (p *jsonParser) object(depth int) (any, error) {
	out := map[string]any{}
	for p.dec.More() {
		t, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		key := t.(string)
		if _, ok := out[key]; ok {
			return nil, fmt.Errorf("key %q stands twice in one object", key)
		}
		if out[key], err = p.value(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err := p.dec.Token()
	return out, err
}

func parseNumber(s string) (any, error) {
	if !strings.ContainsAny(s, ".eE") {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("integer %s is past int64", s)
		}
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, fmt.Errorf("number %s is past float64", s)
	}
	return f, nil
}

// AppendJSON appends v as JSON. Integers print exactly, floats always with a
// point or an exponent, so that both come back as they were.
func AppendJSON(b []byte, v Value) ([]byte, error) {
	x, err := v.Any()
	if err != nil {
		return nil, err
	}
	return AppendAnyJSON(b, x), nil
}

// MarshalJSON returns v as JSON.
func (v Value) MarshalJSON() ([]byte, error) { return AppendJSON(nil, v) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Value) UnmarshalJSON(text []byte) error {
	x, err := ParseJSON(text)
	if err != nil {
		return err
	}
	*v, err = ValueOf(x)
	return err
}

// AppendAnyJSON appends what Any or ParseJSON returns as JSON, object keys
// sorted bytewise. It knows no other types.
func AppendAnyJSON(b []byte, x any) []byte { return plainJSON.append(b, x) }

// A jsonForm is a way to write the values that there are as JSON.
type jsonForm struct {
	number  func(b []byte, f float64) []byte
	text    func(b []byte, s string) []byte
	compare func(a, b string) int // of keys
}

var plainJSON = jsonForm{appendJSONFloat, appendJSONString, strings.Compare}

func (f *jsonForm) append(b []byte, x any) []byte {
	switch x := x.(type) {
	case bool:
		return strconv.AppendBool(b, x)
	case int64:
		return strconv.AppendInt(b, x, 10)
	case float64:
		return f.number(b, x)
	case string:
		return f.text(b, x)
	case []byte:
		b = append(b, `{"`+bytesKey+`":"`...)
		b = base64.StdEncoding.AppendEncode(b, x)
		return append(b, `"}`...)
	case []any:
		b = append(b, '[')
		for i, e := range x {
			if i > 0 {
				b = append(b, ',')
			}
			b = f.append(b, e)
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for i, k := range slices.SortedFunc(maps.Keys(x), f.compare) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(f.text(b, k), ':')
			b = f.append(b, x[k])
		}
		return append(b, '}')
	}
	return append(b, "null"...)
}

func appendJSONFloat(b []byte, f float64) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, format, -1, 64)
	if !bytes.ContainsAny(b[start:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

func appendJSONString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			var buf bytes.Buffer
			enc := json.NewEncoder(&buf)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(s); err != nil {
				return append(b, `""`...) // a string always encodes
			}
			return append(b, bytes.TrimRight(buf.Bytes(), "\n")...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// A Leaf is one property of a document.
type Leaf struct {
	Path  Path
	Value Value
}

// Flatten takes a document apart into its leaves, in the order of their names.
// An object with members is not a leaf; an empty one, an array, a reference
// and a byte string are.
func Flatten(at Path, x any) ([]Leaf, error) {
	f := Flattener{leaves: make([]Leaf, 0, 1), apart: true} // a value that is no object has no more
	err := f.flatten(at, x, 0)
	return f.leaves, err
}

// A Flattener flattens many documents, in less memory than each of them by itself
// would take: values that follow each other share it.
type Flattener struct {
	leaves []Leaf
	apart  bool   // each value has memory of its own
	room   []byte // what is left for values
}

// Flatten returns what the function Flatten does. The leaves are valid until the
// next call, their values for good.
func (f *Flattener) Flatten(at Path, x any) ([]Leaf, error) {
	clear(f.leaves) // lets go of the values of the document before
	f.leaves = f.leaves[:0]
	if cap(f.leaves) > maxLeavesKept {
		f.leaves = nil
	}
	err := f.flatten(at, x, 0)
	return f.leaves, err
}

// valueRoom is how much memory values share: it is held as long as one of them is.
const valueRoom = 16 << 10

// maxLeavesKept bounds what a Flattener holds on to of a large document.
const maxLeavesKept = 4096

func (f *Flattener) flatten(at Path, x any, depth int) error {
	m, ok := x.(map[string]any)
	if !ok || len(m) == 0 {
		return f.leaf(at, x)
	}
	if v, err := reservedObject(m); v != nil || err != nil {
		return f.leaf(at, x)
	}
	if depth > MaxDepth {
		return fmt.Errorf("document nested deeper than %d", MaxDepth)
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		child, err := ParsePath(string(at.Child(k)))
		if err != nil {
			return err
		}
		if err := f.flatten(child, m[k], depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (f *Flattener) leaf(at Path, x any) error {
	v, err := f.value(x)
	if err != nil {
		return fmt.Errorf("%s: %w", cmp.Or(string(at), "value"), err)
	}
	f.leaves = append(f.leaves, Leaf{at, v})
	return nil
}

func (f *Flattener) value(x any) (Value, error) {
	need := roomFor(x)
	if f.apart || need > valueRoom/16 {
		return ValueOf(x)
	}
	if cap(f.room) < need {
		f.room = make([]byte, 0, valueRoom)
	}
	v, err := valueIn(f.room, x)
	if n := len(v); n > 0 && n <= cap(f.room) && &v[0] == &f.room[:1][0] {
		f.room = f.room[n:cap(f.room)][:0]
		v = v[:n:n]
	}
	return v, err
}
