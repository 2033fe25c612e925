package feed

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rhizome-p2p/rhizome/delta"
)

// Parse reads the JSON text of one delta, in any of its spellings. Its errors
// are of type *ShapeError.
func Parse(text []byte) (Delta, error) {
	x, err := delta.ParseJSON(text)
	if err != nil {
		return Delta{}, &ShapeError{Reason: err.Error()}
	}
	return deltaOf(x)
}

// deltaOf reads what delta.ParseJSON or the register of an edge returns.
func deltaOf(x any) (Delta, error) {
	m, ok := x.(map[string]any)
	if !ok {
		return Delta{}, &ShapeError{Reason: "not an object"}
	}
	var p parser
	d := p.delta(m)
	if p.err != nil {
		p.err.ID = d.ID
		return Delta{}, p.err
	}
	return d, d.check()
}

// A parser keeps the first error that it meets.
type parser struct{ err *ShapeError }

func (p *parser) fail(at delta.Path, format string, args ...any) {
	if p.err == nil {
		p.err = &ShapeError{At: at, Reason: fmt.Sprintf(format, args...)}
	}
}

// member takes a member out of an object, under the one of its names that is
// there.
func (p *parser) member(m map[string]any, at delta.Path, names ...string) (x any, where delta.Path, ok bool) {
	for _, name := range names {
		v, has := m[name]
		if !has {
			continue
		}
		if ok {
			p.fail(at.Child(name), "says again what %s says", where)
		}
		x, where, ok = v, at.Child(name), true
		delete(m, name)
	}
	return x, where, ok
}

// text takes a member that must be a text, and not an empty one.
func (p *parser) text(m map[string]any, at delta.Path, required bool, names ...string) string {
	x, where, ok := p.member(m, at, names...)
	if !ok {
		if required {
			p.fail(at, "has no %s", strings.Join(names, " or "))
		}
		return ""
	}
	s, ok := x.(string)
	if !ok || s == "" {
		p.fail(where, "is not a string of at least one character")
	}
	return s
}

// done refuses what is left of an object.
func (p *parser) done(m map[string]any, at delta.Path) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		p.fail(at.Child(name), "is not known")
	}
}

func (p *parser) delta(m map[string]any) (d Delta) {
	m = maps.Clone(m)
	d.ID = p.text(m, "", true, "id")
	d.Time = p.time(m)
	d.Creator = p.text(m, "", true, "creator", "author")
	d.Host = p.text(m, "", false, "host", "system")
	x, at, ok := p.member(m, "", "pointers")
	if !ok {
		p.fail("", "has no pointers")
	}
	switch x := x.(type) {
	case []any:
		for i, e := range x {
			d.Pointers = append(d.Pointers, p.pointer(e, at.Child(strconv.Itoa(i))))
		}
	case map[string]any:
		d.Pointers = p.roles(x, at)
	default:
		p.fail(at, "is neither an array nor an object")
	}
	p.done(m, "")
	return d
}

func (p *parser) time(m map[string]any) time.Time {
	x, at, ok := p.member(m, "", "timestamp", "timeCreated")
	if !ok {
		p.fail("", "has no timestamp")
	}
	switch x := x.(type) {
	case int64:
		return time.UnixMilli(x).UTC()
	case float64:
		if x == math.Trunc(x) && math.Abs(x) <= 1<<53 {
			return time.UnixMilli(int64(x)).UTC()
		}
	case string:
		var t time.Time
		_, fraction, _ := strings.Cut(x, ".")
		if t.UnmarshalText([]byte(x)) == nil && digits(fraction) <= 9 {
			return t.UTC()
		}
	}
	p.fail(at, "is neither whole milliseconds nor a time of RFC 3339 in nanoseconds at the finest")
	return time.Time{}
}

// digits counts the digits that a text begins with.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

// pointer reads an element of an array of pointers.
func (p *parser) pointer(x any, at delta.Path) (out Pointer) {
	m, ok := x.(map[string]any)
	if !ok {
		p.fail(at, "is not an object")
		return out
	}
	m = maps.Clone(m)
	role := p.text(m, at, true, "role", "localContext")
	target, where, ok := p.member(m, at, "target")
	if !ok {
		p.fail(at, "has no target")
	}
	context := p.text(m, at, false, "targetContext")
	p.done(m, at)
	out = p.target(target, where, false)
	out.Role = role
	if s, ok := out.Value.(string); ok && context != "" && s != "" {
		out.Entity, out.Value = s, nil // a plain id
	}
	switch {
	case context == "":
	case out.Context != "":
		p.fail(at.Child("targetContext"), "says again what %s says", where.Child("context"))
	default:
		out.Context = context
	}
	return p.checked(out, at, where)
}

// checked takes the plain id of a delta that is negated for what it is, and
// checks the pointer; target is where its target stands.
func (p *parser) checked(out Pointer, at, target delta.Path) Pointer {
	if s, ok := out.Value.(string); ok && out.Role == Negates && s != "" {
		out.Entity, out.Value = s, nil
	}
	if sub, reason := out.check(); reason != "" {
		if below, ok := strings.CutPrefix(string(sub), "/target"); ok {
			at, sub = target, delta.Path(below)
		}
		p.fail(at+sub, "%s", reason)
	}
	return out
}

// roles reads pointers that are one object: a target or an array of targets by
// role. Members have no order; here it is that of their bytes.
func (p *parser) roles(m map[string]any, at delta.Path) (out []Pointer) {
	one := func(role string, x any, at delta.Path) {
		t := p.target(x, at, true)
		t.Role = role
		out = append(out, p.checked(t, at, at))
	}
	for _, role := range slices.Sorted(maps.Keys(m)) {
		where := at.Child(role)
		list, ok := m[role].([]any)
		if !ok {
			one(role, m[role], where)
			continue
		}
		if len(list) == 0 {
			p.fail(where, "has no target")
		}
		for i, x := range list {
			one(role, x, where.Child(strconv.Itoa(i)))
		}
	}
	return out
}

// target reads a target. Short says that {ID: CONTEXT} may stand for an entity.
func (p *parser) target(x any, at delta.Path, short bool) (out Pointer) {
	switch x := x.(type) {
	case nil, bool, int64, float64, string:
		out.Value = x
	case map[string]any:
		if short && len(x) == 1 {
			for id, context := range x {
				if c, ok := context.(string); ok && id != "id" && id != "" && c != "" {
					return Pointer{Entity: id, Context: c}
				}
			}
		}
		m := maps.Clone(x)
		out.Entity = p.text(m, at, true, "id")
		out.Context = p.text(m, at, false, "context")
		p.done(m, at)
	default:
		p.fail(at, "is neither an entity nor a string, number, bool or null")
	}
	return out
}
