package synthesize

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A document is a value as delta.ParseJSON returns it, and where it stands.
type document struct {
	value any
	at    *place
}

// A place is the line of a value, that of its key where it has one, and the
// places of what is in it.
type place struct {
	line    int
	members map[string]*place
	items   []*place
}

// find returns the place of the value at a path, or of the innermost one above
// it that is known.
func (p *place) find(at delta.Path) *place {
	for _, name := range at.Segments() {
		next := p.members[name]
		if i, err := strconv.Atoi(name); err == nil && next == nil && i >= 0 && i < len(p.items) {
			next = p.items[i]
		}
		if next == nil {
			break
		}
		p = next
	}
	return p
}

func (p *place) set(name string, at *place) {
	if p.members == nil {
		p.members = make(map[string]*place)
	}
	p.members[name] = at
}

// A lineError is a mistake at a line of a file.
type lineError struct {
	line int // 0 where it is not known
	err  error
}

func (e *lineError) Error() string { return e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

// A valueError is a mistake in the value at a path of a document.
type valueError struct {
	path delta.Path
	err  error
}

func (e *valueError) Error() string { return e.err.Error() }
func (e *valueError) Unwrap() error { return e.err }

// A format is a way to write documents down. It returns those of a text, and
// with them, where one is wrong, a *lineError.
type format func(text []byte) ([]document, error)

var formats = map[string]format{".json": parseJSON, ".toml": parseTOML, ".yaml": parseYAML, ".yml": parseYAML}

// Extensions returns the endings of the names of files that Parse reads.
func Extensions() []string { return slices.Sorted(maps.Keys(formats)) }

// Parse reads the fragments of a file: one of JSON or TOML, of YAML one for
// each document that holds something. The ending of the name tells which.
// Errors are *FragmentErrors.
func Parse(name string, text []byte) ([]Fragment, error) {
	parse, ok := formats[path.Ext(name)]
	switch {
	case !ok:
		return nil, &FragmentError{File: name, Err: fmt.Errorf("unknown kind of file: the name ends in none of %v", Extensions())}
	case len(text) > MaxFileBytes:
		return nil, &FragmentError{File: name, Err: fmt.Errorf("more than %d bytes", MaxFileBytes)}
	}
	docs, err := parse(text)
	if err != nil {
		return nil, located(name, nil, err)
	}
	fragments := make([]Fragment, 0, len(docs))
	c := new(checker)
	for _, d := range docs {
		var f Fragment
		if d.value, err = c.value(d.value, 0, 0); err == nil {
			f, err = newFragment(name, d)
		}
		if err != nil {
			return nil, located(name, d.at, err)
		}
		fragments = append(fragments, f)
	}
	return fragments, nil
}

// located says in which file, at which line and path a mistake is.
func located(file string, at *place, err error) error {
	e := &FragmentError{File: file, Err: err}
	var v *valueError
	if errors.As(err, &v) {
		e.Path, e.Known, e.Err = string(v.path), true, v.err
		if at != nil {
			e.Line = at.find(v.path).line
		}
	}
	var l *lineError
	if errors.As(err, &l) {
		e.Line = l.line
	}
	return e
}

// A checker gives values their one form, and counts them.
type checker struct{ values, keyBytes int }

// value returns x with numbers as they print in the canonical form, and with
// nothing in it that is no value. An error is a *valueError.
func (c *checker) value(x any, depth, keyBytes int) (any, error) {
	c.values++
	c.keyBytes += keyBytes
	switch {
	case c.values > MaxValues:
		return nil, &valueError{err: fmt.Errorf("more than %d values in one file", MaxValues)}
	case c.keyBytes > MaxKeyBytes:
		return nil, &valueError{err: fmt.Errorf("paths of more than %d bytes together", MaxKeyBytes)}
	case depth > maxNesting:
		return nil, &valueError{err: fmt.Errorf("nested deeper than %d", delta.MaxDepth)}
	}
	switch x := x.(type) {
	case float64:
		n, err := number(x)
		if err != nil {
			return nil, &valueError{err: err}
		}
		return n, nil
	case string:
		if !utf8.ValidString(x) {
			return nil, &valueError{err: errors.New("text is not UTF-8")}
		}
	case []any:
		for i := range x {
			var err error
			if x[i], err = c.value(x[i], depth+1, keyBytes); err != nil {
				return nil, inside(strconv.Itoa(i), err)
			}
		}
	case map[string]any:
		for _, k := range sortedKeys(x) {
			if !utf8.ValidString(k) {
				return nil, &valueError{err: fmt.Errorf("key %q is not UTF-8", k)}
			}
			var err error
			if x[k], err = c.value(x[k], depth+1, keyBytes+1+len(k)); err != nil {
				return nil, inside(k, err)
			}
		}
	}
	return x, nil
}

// inside puts a name before the path of a *valueError.
func inside(name string, err error) error {
	var v *valueError
	if errors.As(err, &v) {
		v.path = delta.Path("").Child(name) + v.path
	}
	return err
}

// number returns a float as what its canonical text is: an integer, where that
// is one.
func number(f float64) (any, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%v is not a finite number", f)
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<63 {
		if n, err := strconv.ParseInt(string(canonical(f)), 10, 64); err == nil {
			return n, nil
		}
	}
	return f, nil
}

func canonical(x any) []byte { return delta.AppendCanonicalJSON(nil, x) }

// maxShown is how much of a value an error shows.
const maxShown = 60

// jsonText returns a value as people see it in errors.
func jsonText(x any) string { return shorten(string(canonical(x))) }

func shorten(text string) string {
	if len(text) <= maxShown {
		return text
	}
	cut := maxShown
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
