package delta

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ParseJSON reads one JSON text into what Any returns: integers exactly, an
// integer past int64, a repeated key or trailing text being errors.
func ParseJSON(text []byte) (any, error) {
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

type jsonParser struct{ dec *json.Decoder }

func (p *jsonParser) value(depth int) (any, error) {
	t, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	return p.rest(t, depth)
}

func (p *jsonParser) rest(t json.Token, depth int) (any, error) {
	if depth > MaxDepth {
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

// AppendAnyJSON appends what Any returns as JSON, object keys sorted bytewise.
func AppendAnyJSON(b []byte, x any) []byte {
	switch x := x.(type) {
	case bool:
		return strconv.AppendBool(b, x)
	case int64:
		return strconv.AppendInt(b, x, 10)
	case float64:
		return appendJSONFloat(b, x)
	case string:
		return appendJSONString(b, x)
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
			b = AppendAnyJSON(b, e)
		}
		return append(b, ']')
	case map[string]any:
		keys := make([]string, 0, len(x))
		for k := range x {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b = append(b, '{')
		for i, k := range keys {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendJSONString(b, k), ':')
			b = AppendAnyJSON(b, x[k])
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
	if bytes.IndexAny(b[start:], ".e") < 0 {
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

// Flatten takes a document apart into its leaves, in path order. An object
// with members is not a leaf; an empty one, an array, a reference and a byte
// string are.
func Flatten(at Path, x any) ([]Leaf, error) {
	var out []Leaf
	if err := flatten(&out, at, x, 0); err != nil {
		return nil, err
	}
	return out, nil
}

func flatten(out *[]Leaf, at Path, x any, depth int) error {
	if m, ok := x.(map[string]any); ok && len(m) > 0 && !isLeafObject(m) {
		if depth > MaxDepth {
			return fmt.Errorf("document nested deeper than %d", MaxDepth)
		}
		keys := make([]string, 0, len(m))
		for k := range m {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			child := at.Child(k)
			if len(child) > MaxPathBytes {
				return fmt.Errorf("path of %d bytes, at most %d are allowed", len(child), MaxPathBytes)
			}
			if err := flatten(out, child, m[k], depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	v, err := ValueOf(x)
	if err != nil {
		return fmt.Errorf("%s: %w", pathName(at), err)
	}
	*out = append(*out, Leaf{at, v})
	return nil
}

func pathName(p Path) string {
	if p == "" {
		return "value"
	}
	return string(p)
}

func isLeafObject(m map[string]any) bool {
	if len(m) != 1 {
		return false
	}
	if _, ok := m[refKey].(string); ok {
		return true
	}
	_, ok := m[bytesKey].(string)
	return ok
}
