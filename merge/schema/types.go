package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/rhizome-p2p/rhizome/delta"
)

const protoKey = "$proto"

// A valueType is the compiled type of one value.
type valueType struct {
	check func(v any) *fault
	// message is nil unless the type is a message of the .proto text.
	message protoreflect.MessageDescriptor
}

// anything is the type of properties without one.
func anything() *valueType {
	return &valueType{check: func(any) *fault { return nil }}
}

// compileType compiles a type. The fault tells its place in the type.
func compileType(doc any, file *protoFile) (*valueType, *fault) {
	if doc == nil {
		return anything(), nil
	}
	if m, ok := doc.(map[string]any); ok {
		if name, ok := m[protoKey]; ok {
			return compileMessage(m, name, file)
		}
	}
	if f := checkDialect(doc, "", 0); f != nil {
		return nil, f
	}
	if p, ok := newPlain(doc); ok {
		return &valueType{check: p.check}, nil
	}
	if n := countSchemas(doc); n > MaxTypeSchemas {
		return nil, &fault{"", fmt.Sprintf("is made of %d schemas, at most %d are allowed", n, MaxTypeSchemas)}
	}
	s, f := compileLibrary(doc)
	if f == nil {
		f = checkWork(s)
	}
	if f != nil {
		return nil, f
	}
	return &valueType{check: func(v any) *fault { return checkLibrary(s, v) }}, nil
}

func compileMessage(m map[string]any, name any, file *protoFile) (*valueType, *fault) {
	text, ok := name.(string)
	if !ok || len(m) != 1 {
		return nil, &fault{"", fmt.Sprintf("must be {%q: MESSAGE} and nothing else", protoKey)}
	}
	if file == nil {
		return nil, &fault{"/" + protoKey, fmt.Sprintf("message %q: the schema has no .proto text", text)}
	}
	d := file.message(text)
	if d == nil {
		return nil, &fault{"/" + protoKey, fmt.Sprintf("message %q is not in the .proto text", text)}
	}
	return &valueType{message: d, check: func(v any) *fault { return file.check(d, v) }}, nil
}

// countSchemas returns how many schemas a type is made of, or some more.
func countSchemas(x any) (n int) {
	switch x := x.(type) {
	case bool:
		return 1
	case []any:
		for _, e := range x {
			n += countSchemas(e)
		}
	case map[string]any:
		n = 1
		for k, e := range x {
			if !slices.Contains(literals, k) {
				n += countSchemas(e)
			}
		}
	}
	return n
}

// literals are the keywords whose values are no schemas.
var literals = []string{"const", "enum", "default", "examples"}

// checkDialect refuses what would take a type out of its document: references
// to others, names that others could refer to, and other dialects.
func checkDialect(x any, at delta.Path, depth int) *fault {
	switch x := x.(type) {
	case []any:
		for i, e := range x {
			if f := checkDialect(e, item(at, i), depth+1); f != nil {
				return f
			}
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(x)) {
			s, isText := x[k].(string)
			switch {
			case slices.Contains(literals, k):
				continue
			case !isText:
				if f := checkDialect(x[k], at.Child(k), depth+1); f != nil {
					return f
				}
			case (k == "$ref" || k == "$dynamicRef") && !strings.HasPrefix(s, "#"):
				return &fault{at.Child(k), fmt.Sprintf("refers to %q; a type refers to nothing outside itself", s)}
			case k == "$id":
				return &fault{at.Child(k), "a type has no address of its own"}
			case k == "$schema" && (depth > 0 || s != dialectURL):
				return &fault{at.Child(k), fmt.Sprintf("%q: types are of %s", s, dialectURL)}
			}
		}
	}
	return nil
}
