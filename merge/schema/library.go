package schema

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/rhizome-p2p/rhizome/delta"
)

// The general library judges the types that are not plain. It takes an int64
// and a float64 as the decimals that they print as, and so loses no digit.

const (
	typeURL    = "urn:rhizome:type"
	dialectURL = "https://json-schema.org/draft/2020-12/schema"
)

// noLoader refuses what a type refers to outside itself.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is outside the type", url)
}

// compileLibrary compiles a JSON Schema, which refers to nothing outside itself.
func compileLibrary(doc any) (*jsonschema.Schema, *fault) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(func(s string) (jsonschema.Regexp, error) { return compileExpression(s) })
	if err := c.AddResource(typeURL, doc); err != nil {
		return nil, &fault{"", err.Error()}
	}
	s, err := c.Compile(typeURL)
	var invalid *jsonschema.SchemaValidationError
	var verr *jsonschema.ValidationError
	switch {
	case errors.As(err, &invalid) && errors.As(invalid.Err, &verr):
		return nil, firstFault(verr)
	case err != nil:
		return nil, &fault{"", strings.ReplaceAll(err.Error(), typeURL, "")}
	}
	return s, nil
}

// checkLibrary says what is wrong with a value, if anything.
func checkLibrary(s *jsonschema.Schema, v any) *fault {
	var verr *jsonschema.ValidationError
	if err := s.Validate(withoutBytes(v)); errors.As(err, &verr) {
		return firstFault(verr)
	}
	return nil
}

// withoutBytes returns a value in which byte strings have their form in JSON.
// Where there are none it is the value itself.
func withoutBytes(v any) any {
	if !hasBytes(v) {
		return v
	}
	switch v := v.(type) {
	case []byte:
		return bytesObject(v)
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = withoutBytes(x)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = withoutBytes(x)
		}
		return out
	}
	return v
}

func hasBytes(v any) bool {
	switch v := v.(type) {
	case []byte:
		return true
	case []any:
		return slices.ContainsFunc(v, hasBytes)
	case map[string]any:
		for _, x := range v {
			if hasBytes(x) {
				return true
			}
		}
	}
	return false
}

// firstFault returns of all that the library found what comes first by place
// and text: it finds things in the order of maps.
func firstFault(e *jsonschema.ValidationError) *fault {
	var all []*fault
	collectFaults(e, &all)
	return slices.MinFunc(all, func(a, b *fault) int {
		return strings.Compare(a.Error(), b.Error())
	})
}

func collectFaults(e *jsonschema.ValidationError, all *[]*fault) {
	switch e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.AllOf, *kind.Reference:
		if len(e.Causes) > 0 {
			for _, c := range e.Causes {
				collectFaults(c, all)
			}
			return
		}
	}
	var at delta.Path
	for _, name := range e.InstanceLocation {
		at = at.Child(name)
	}
	text := faultText(e.ErrorKind)
	if _, ok := e.ErrorKind.(*kind.PropertyNames); ok && len(e.Causes) > 0 {
		text += ": " + firstFault(e.Causes[0]).text
	}
	*all = append(*all, &fault{at, text})
}

// faultText words an error. It has no order of maps in it, and no text of the
// library's, so that it is the same on all nodes.
func faultText(k jsonschema.ErrorKind) string {
	rat := func(r *big.Rat) string { return strings.TrimRight(strings.TrimRight(r.FloatString(20), "0"), ".") }
	switch k := k.(type) {
	case *kind.Type:
		return fmt.Sprintf("is %s, must be %s", describeKind(k.Got), strings.Join(k.Want, " or "))
	case *kind.Enum:
		return "must be " + chosen(k.Want)
	case *kind.Const:
		return "must be " + chosen([]any{k.Want})
	case *kind.FalseSchema:
		return "nothing is allowed here"
	case *kind.Required:
		return "lacks the member " + quoteAll(k.Missing)
	case *kind.DependentRequired:
		return fmt.Sprintf("lacks the member %s, which goes with %q", quoteAll(k.Missing), k.Prop)
	case *kind.AdditionalProperties:
		return "has members that are not allowed: " + quoteAll(k.Properties)
	case *kind.PropertyNames:
		return fmt.Sprintf("the name %q is not allowed", k.Property)
	case *kind.MinProperties:
		return fmt.Sprintf("has %d members, at least %d are needed", k.Got, k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("has %d members, at most %d are allowed", k.Got, k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("has %d items, at least %d are needed", k.Got, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("has %d items, at most %d are allowed", k.Got, k.Want)
	case *kind.UniqueItems:
		return "has an item twice"
	case *kind.MinLength:
		return fmt.Sprintf("has %d characters, at least %d are needed", k.Got, k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("has %d characters, at most %d are allowed", k.Got, k.Want)
	case *kind.Pattern:
		return fmt.Sprintf("does not match %q", k.Want)
	case *kind.Minimum:
		return fmt.Sprintf("%s is below %s", rat(k.Got), rat(k.Want))
	case *kind.Maximum:
		return fmt.Sprintf("%s is above %s", rat(k.Got), rat(k.Want))
	case *kind.ExclusiveMinimum:
		return fmt.Sprintf("%s is not above %s", rat(k.Got), rat(k.Want))
	case *kind.ExclusiveMaximum:
		return fmt.Sprintf("%s is not below %s", rat(k.Got), rat(k.Want))
	case *kind.MultipleOf:
		return fmt.Sprintf("%s is no multiple of %s", rat(k.Got), rat(k.Want))
	case *kind.Format:
		return fmt.Sprintf("is no %s: %v", k.Want, k.Err)
	case *kind.AnyOf:
		return "is none of what anyOf allows"
	case *kind.OneOf:
		return "is not exactly one of what oneOf allows"
	case *kind.Not:
		return "is what not forbids"
	case *kind.Contains, *kind.MinContains:
		return "has too few of the items that it must contain"
	case *kind.MaxContains:
		return "has too many of the items that it may contain"
	}
	return "breaks the type, at " + strings.Join(k.KeywordPath(), "/")
}

func describeKind(name string) string {
	switch name {
	case "null":
		return name
	case "integer", "array", "object":
		return "an " + name
	}
	return "a " + name
}

func quoteAll(names []string) string {
	out := make([]string, 0, len(names))
	for _, n := range slices.Sorted(slices.Values(names)) {
		out = append(out, fmt.Sprintf("%q", n))
	}
	return strings.Join(out, ", ")
}

func chosen(l []any) string {
	out := make([]string, len(l))
	for i, x := range l {
		out[i] = string(delta.AppendAnyJSON(nil, x))
	}
	return strings.Join(out, " or ")
}
