package schema

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rhizome-p2p/rhizome/delta"
)

// kinds is a set of JSON types.
type kinds uint8

const (
	kindNull kinds = 1 << iota
	kindBool
	kindInteger
	kindNumber // those that are no integers
	kindString
	kindArray
	kindObject

	kindAll kinds = 1<<iota - 1
)

var kindNames = []struct {
	kind kinds
	name string
}{
	{kindNull, "null"},
	{kindBool, "boolean"},
	{kindInteger | kindNumber, "number"},
	{kindInteger, "integer"},
	{kindString, "string"},
	{kindArray, "array"},
	{kindObject, "object"},
}

func kindOf(name string) (kinds, bool) {
	for _, k := range kindNames {
		if k.name == name {
			return k.kind, true
		}
	}
	return 0, false
}

// String returns the names of the types, as in "integer or null".
func (k kinds) String() string {
	var names []string
	for _, n := range kindNames {
		if k&n.kind == n.kind {
			names = append(names, n.name)
			k &^= n.kind
		}
	}
	return strings.Join(names, " or ")
}

// A plain type is a JSON Schema of the common keywords, which is checked here
// and not by the general library: some fifty times as fast.
type plain struct {
	kinds      kinds
	only       *choice // of enum and const
	low, high  []*bound
	multiple   *big.Rat
	multipleOf int64 // multiple, where it is an integer

	minLength, maxLength int // -1 for none
	pattern              *regexp.Regexp

	items              *plain
	minItems, maxItems int

	members  map[string]*plain
	required []string
	closed   bool   // no members but those
	others   *plain // the type of members but those
}

// A choice is the scalars that a value may be.
type choice struct {
	text     string
	kinds    kinds // of null, false and true
	falsity  bool
	truth    bool
	strings  []string
	integers []int64
	floats   []float64
}

// check says what is wrong with a value, if anything. It allocates nothing
// where nothing is.
func (p *plain) check(v any) *fault {
	switch v := v.(type) {
	case int64:
		return p.checkInt(v)
	case float64:
		return p.checkFloat(v)
	case string:
		return p.checkString(v)
	case bool:
		if p.kinds&kindBool == 0 {
			return p.wrongKind(v)
		}
		if o := p.only; o != nil && (v && !o.truth || !v && !o.falsity) {
			return p.notChosen()
		}
	case nil:
		if p.kinds&kindNull == 0 {
			return p.wrongKind(v)
		}
		if p.only != nil && p.only.kinds&kindNull == 0 {
			return p.notChosen()
		}
	case []any:
		return p.checkArray(v)
	case map[string]any:
		return p.checkObject(v)
	case []byte:
		return p.checkObject(bytesObject(v))
	default:
		return &fault{"", fmt.Sprintf("is %s, which is no value", describe(v))}
	}
	return nil
}

func (p *plain) wrongKind(v any) *fault {
	if p.kinds == 0 {
		return &fault{"", "nothing is allowed here"}
	}
	return &fault{"", fmt.Sprintf("is %s, must be %s", describe(v), p.kinds)}
}

func (p *plain) notChosen() *fault { return &fault{"", "must be " + p.only.text} }

func (p *plain) checkInt(v int64) *fault {
	if p.kinds&kindInteger == 0 {
		return p.wrongKind(v)
	}
	if p.only != nil && !slices.Contains(p.only.integers, v) {
		return p.notChosen()
	}
	for _, b := range p.low {
		if b.noInt || v < b.i {
			return &fault{"", fmt.Sprintf("%d is %s", v, b.text)}
		}
	}
	for _, b := range p.high {
		if b.noInt || v > b.i {
			return &fault{"", fmt.Sprintf("%d is %s", v, b.text)}
		}
	}
	if p.multiple != nil && (p.multipleOf == 0 && !p.divides(v) || p.multipleOf != 0 && v%p.multipleOf != 0) {
		return &fault{"", fmt.Sprintf("%d is no multiple of %s", v, p.multiple.RatString())}
	}
	return nil
}

func (p *plain) checkFloat(v float64) *fault {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return &fault{"", "is no finite number"}
	}
	if p.kinds&kindNumber == 0 && (p.kinds&kindInteger == 0 || v != math.Trunc(v)) {
		return p.wrongKind(v)
	}
	if p.only != nil && !slices.Contains(p.only.floats, v) {
		return p.notChosen()
	}
	for _, b := range p.low {
		if v < b.f {
			return &fault{"", fmt.Sprintf("%s is %s", numberText(v), b.text)}
		}
	}
	for _, b := range p.high {
		if v > b.f {
			return &fault{"", fmt.Sprintf("%s is %s", numberText(v), b.text)}
		}
	}
	if p.multiple != nil && !p.divides(v) {
		return &fault{"", fmt.Sprintf("%s is no multiple of %s", numberText(v), p.multiple.RatString())}
	}
	return nil
}

func (p *plain) divides(v any) bool {
	r, ok := ratOf(v)
	return ok && r.Quo(r, p.multiple).IsInt()
}

func (p *plain) checkString(v string) *fault {
	if p.kinds&kindString == 0 {
		return p.wrongKind(v)
	}
	if p.only != nil && !slices.Contains(p.only.strings, v) {
		return p.notChosen()
	}
	if p.minLength > 0 || p.maxLength >= 0 {
		n := utf8.RuneCountInString(v)
		if n < p.minLength {
			return &fault{"", fmt.Sprintf("has %d characters, at least %d are needed", n, p.minLength)}
		}
		if p.maxLength >= 0 && n > p.maxLength {
			return &fault{"", fmt.Sprintf("has %d characters, at most %d are allowed", n, p.maxLength)}
		}
	}
	if p.pattern != nil && !p.pattern.MatchString(v) {
		return &fault{"", fmt.Sprintf("does not match %q", p.pattern)}
	}
	return nil
}

func (p *plain) checkArray(v []any) *fault {
	if p.kinds&kindArray == 0 {
		return p.wrongKind(v)
	}
	if p.only != nil {
		return p.notChosen()
	}
	if len(v) < p.minItems {
		return &fault{"", fmt.Sprintf("has %d items, at least %d are needed", len(v), p.minItems)}
	}
	if p.maxItems >= 0 && len(v) > p.maxItems {
		return &fault{"", fmt.Sprintf("has %d items, at most %d are allowed", len(v), p.maxItems)}
	}
	if p.items == nil {
		return nil
	}
	for i, x := range v {
		if f := p.items.check(x); f != nil {
			return f.inside(delta.Path("/" + strconv.Itoa(i)))
		}
	}
	return nil
}

func (p *plain) checkObject(v map[string]any) *fault {
	if p.kinds&kindObject == 0 {
		return p.wrongKind(v)
	}
	if p.only != nil {
		return p.notChosen()
	}
	for _, k := range p.required {
		if _, ok := v[k]; !ok {
			return &fault{"", fmt.Sprintf("lacks the member %q", k)}
		}
	}
	var first string
	var worst *fault // that of the smallest name, whatever the order of the map
	for k, x := range v {
		f := p.checkMember(k, x)
		if f != nil && (worst == nil || k < first) {
			first, worst = k, f
		}
	}
	if worst == nil {
		return nil
	}
	return worst.inside(delta.Path("").Child(first))
}

func (p *plain) checkMember(key string, x any) *fault {
	if t := p.members[key]; t != nil {
		return t.check(x)
	}
	if p.closed {
		return &fault{"", "is no member that is allowed here"}
	}
	if p.others != nil {
		return p.others.check(x)
	}
	return nil
}
