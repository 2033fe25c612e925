package schema

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"math/big"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
)

// bytesObject returns a byte string as types see it.
func bytesObject(b []byte) map[string]any {
	return map[string]any{"$bytes": base64.StdEncoding.EncodeToString(b)}
}

// compileExpression compiles a regular expression that is not too much work.
func compileExpression(s string) (*regexp.Regexp, error) {
	parsed, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if n := len(program.Inst); n > MaxExpression {
		return nil, fmt.Errorf("expression of %d instructions, at most %d are allowed", n, MaxExpression)
	}
	return regexp.Compile(s)
}

// newPlain reads a JSON Schema as a plain type. ok is false where it has a
// keyword, or a form of one, that the general library must judge.
func newPlain(doc any) (p *plain, ok bool) {
	p = &plain{kinds: kindAll, minLength: -1, maxLength: -1, minItems: -1, maxItems: -1}
	if b, isBool := doc.(bool); isBool {
		if !b {
			p.kinds = 0
		}
		return p, true
	}
	m, ok := doc.(map[string]any)
	if !ok {
		return nil, false
	}
	for _, key := range slices.Sorted(maps.Keys(m)) { // the order in which bounds are named
		if !p.keyword(key, m[key]) {
			return nil, false
		}
	}
	return p, true
}

// keyword takes in one keyword.
func (p *plain) keyword(key string, x any) (ok bool) {
	switch key {
	case "type":
		return p.setKinds(x)
	case "enum":
		l, ok := x.([]any)
		return ok && p.choose(l)
	case "const":
		return p.choose([]any{x})
	case "minimum", "exclusiveMinimum":
		return addBound(&p.low, x, "below", false, key == "exclusiveMinimum")
	case "maximum", "exclusiveMaximum":
		return addBound(&p.high, x, "above", true, key == "exclusiveMaximum")
	case "multipleOf":
		return p.setMultiple(x)
	case "minLength":
		return setCount(&p.minLength, x)
	case "maxLength":
		return setCount(&p.maxLength, x)
	case "minItems":
		return setCount(&p.minItems, x)
	case "maxItems":
		return setCount(&p.maxItems, x)
	case "pattern":
		s, ok := x.(string)
		if !ok {
			return false
		}
		var err error
		p.pattern, err = compileExpression(s)
		return err == nil
	case "items":
		p.items, ok = newPlain(x)
		return ok
	case "title", "description", "$comment", "format":
		_, ok = x.(string)
		return ok
	case "deprecated", "readOnly", "writeOnly":
		_, ok = x.(bool)
		return ok
	case "examples":
		_, ok = x.([]any)
		return ok
	case "default":
		return true
	}
	return p.objectKeyword(key, x)
}

func (p *plain) objectKeyword(key string, x any) (ok bool) {
	switch key {
	case "properties":
		m, ok := x.(map[string]any)
		if !ok {
			return false
		}
		p.members = make(map[string]*plain, len(m))
		for name, doc := range m {
			if p.members[name], ok = newPlain(doc); !ok {
				return false
			}
		}
		return true
	case "required":
		l, ok := x.([]any)
		seen := make(map[string]bool, len(l))
		for _, x := range l {
			s, isText := x.(string)
			ok = ok && isText && !seen[s]
			seen[s] = true
			p.required = append(p.required, s)
		}
		return ok
	case "additionalProperties":
		if open, isBool := x.(bool); isBool {
			p.closed = !open
			return true
		}
		p.others, ok = newPlain(x)
		return ok
	}
	return false
}

func (p *plain) setKinds(x any) bool {
	if s, isText := x.(string); isText {
		k, ok := kindOf(s)
		p.kinds = k
		return ok
	}
	l, _ := x.([]any)
	p.kinds = 0
	for _, x := range l {
		s, _ := x.(string)
		k, ok := kindOf(s)
		if !ok || p.kinds&k == k {
			return false
		}
		p.kinds |= k
	}
	return p.kinds != 0
}

// choose takes in what a value may be. Arrays and objects are not for plain
// types, and neither is what another keyword has chosen already.
func (p *plain) choose(l []any) bool {
	if p.only != nil || len(l) == 0 {
		return false
	}
	o := &choice{}
	var texts []string
	for _, x := range l {
		switch x := x.(type) {
		case nil:
			o.kinds |= kindNull
		case bool:
			o.truth, o.falsity = o.truth || x, o.falsity || !x
		case string:
			o.strings = append(o.strings, x)
		case int64, float64:
			c, ok := newConstant(x)
			if !ok {
				return false
			}
			if c.isInt {
				o.integers = append(o.integers, c.i)
			}
			if c.isF {
				o.floats = append(o.floats, c.f)
			}
		default:
			return false
		}
		texts = append(texts, string(delta.AppendAnyJSON(nil, x)))
	}
	o.text = strings.Join(texts, " or ")
	p.only = o
	return true
}

func addBound(to *[]*bound, x any, side string, upper, exclusive bool) bool {
	b := newBound(x, upper, exclusive)
	if b == nil {
		return false
	}
	if exclusive {
		side = "not " + map[string]string{"below": "above", "above": "below"}[side]
	}
	b.text = fmt.Sprintf("%s %s", side, b.text)
	*to = append(*to, b)
	return true
}

func (p *plain) setMultiple(x any) bool {
	r, ok := ratOf(x)
	if !ok || r.Sign() <= 0 {
		return false
	}
	p.multiple = r
	if r.IsInt() && r.Num().IsInt64() {
		p.multipleOf = r.Num().Int64()
	}
	return true
}

func setCount(to *int, x any) bool {
	r, ok := ratOf(x)
	if !ok || !r.IsInt() || r.Sign() < 0 {
		return false
	}
	*to = math.MaxInt32 // more than a value can have
	if r.Cmp(new(big.Rat).SetInt64(math.MaxInt32)) < 0 {
		*to = int(r.Num().Int64())
	}
	return true
}
