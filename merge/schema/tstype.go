package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
)

// A tsType writes one JSON Schema as a TypeScript type. What TypeScript cannot
// say is left out, so that the type may be wider than the schema, and never
// narrower.
type tsType struct {
	g       *typeScript
	root    any
	name    string            // words for the names of aliases
	aliases map[string]string // by reference
}

func (w *tsType) schema(doc any, indent string) string {
	m, ok := doc.(map[string]any)
	if !ok {
		if doc == false {
			return "never"
		}
		return "unknown"
	}
	var parts []string
	add := func(t string) {
		if t != "unknown" {
			parts = append(parts, t)
		}
	}
	add(w.byKind(m, indent))
	if l, ok := m["enum"].([]any); ok {
		add(w.literals(l))
	}
	if x, ok := m["const"]; ok {
		add(w.literal(x))
	}
	if ref, ok := m["$ref"].(string); ok {
		add(w.alias(ref))
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		if l, ok := m[key].([]any); ok {
			add(w.union(l, indent))
		}
	}
	if l, ok := m["allOf"].([]any); ok {
		for _, x := range l {
			add(w.schema(x, indent))
		}
	}
	// A choice of scalars says more than their kind.
	if len(parts) > 1 && !strings.ContainsAny(parts[0], "{[") && (m["enum"] != nil || m["const"] != nil) && m["type"] != nil {
		parts = parts[1:]
	}
	switch len(parts) {
	case 0:
		return "unknown"
	case 1:
		return parts[0]
	}
	for i := range parts {
		parts[i] = grouped(parts[i])
	}
	return strings.Join(parts, " & ")
}

func (w *tsType) union(l []any, indent string) string {
	var out []string
	for _, x := range l {
		t := w.schema(x, indent)
		if t == "unknown" {
			return t
		}
		if !slices.Contains(out, grouped(t)) {
			out = append(out, grouped(t))
		}
	}
	return strings.Join(out, " | ")
}

// byKind returns what the keyword type says, and those about members and items.
// Without type these do not keep other values out.
func (w *tsType) byKind(m map[string]any, indent string) string {
	kinds, ok := m["type"].([]any)
	if !ok {
		kinds = []any{m["type"]}
	}
	var out []string
	for _, k := range kinds {
		var t string
		switch k {
		case "string", "boolean", "null", "number":
			t = k.(string)
		case "integer":
			t = "number"
		case "array":
			t = w.array(m, indent)
		case "object":
			t = w.object(m, indent)
		default:
			return "unknown"
		}
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return strings.Join(out, " | ")
}

func (w *tsType) array(m map[string]any, indent string) string {
	rest := "unknown"
	items, hasItems := m["items"]
	if hasItems {
		rest = w.schema(items, indent)
	}
	prefix, _ := m["prefixItems"].([]any)
	if len(prefix) == 0 {
		return grouped(rest) + "[]"
	}
	var out []string
	for _, x := range prefix {
		out = append(out, grouped(w.schema(x, indent))+"?") // an array may be shorter
	}
	if rest != "never" {
		out = append(out, "..."+grouped(rest)+"[]")
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func (w *tsType) object(m map[string]any, indent string) string {
	members, _ := m["properties"].(map[string]any)
	needed := map[string]bool{}
	required, _ := m["required"].([]any)
	names := slices.Collect(maps.Keys(members))
	for _, x := range required {
		if s, ok := x.(string); ok && !needed[s] {
			needed[s] = true
			if _, ok := members[s]; !ok {
				names = append(names, s)
			}
		}
	}
	others, hasOthers := m["additionalProperties"]
	_, hasPatterns := m["patternProperties"]
	if len(names) == 0 {
		switch {
		case others == false && !hasPatterns:
			return "Record<string, never>"
		case hasOthers && !hasPatterns:
			return fmt.Sprintf("{ [name: string]: %s }", w.schema(others, indent))
		}
		return "{ [name: string]: unknown }"
	}
	slices.Sort(names)
	inner := indent + "  "
	var b strings.Builder
	b.WriteString("{\n")
	for _, name := range names {
		doc, ok := members[name]
		if !ok {
			doc = true
		}
		if d, ok := doc.(map[string]any); ok {
			text, _ := d["description"].(string)
			b.WriteString(comment(text, inner))
		}
		fmt.Fprintf(&b, "%s%s%s: %s;\n", inner, memberName(name), optional(needed[name]), w.schema(doc, inner))
	}
	if others != false || hasPatterns {
		b.WriteString(inner + "[name: string]: unknown;\n")
	}
	b.WriteString(indent + "}")
	return b.String()
}

// alias returns the name of what a reference leads to. It is declared once, so
// that a type may hold itself.
func (w *tsType) alias(ref string) string {
	doc, ok := local(w.root, ref)
	if !ok {
		return "unknown"
	}
	if name, ok := w.aliases[ref]; ok {
		return name
	}
	name := w.g.name(w.name + " " + ref[strings.LastIndexByte(ref, '/')+1:])
	w.aliases[ref] = name
	w.g.later = append(w.g.later, func() {
		text := ""
		if m, ok := doc.(map[string]any); ok {
			text, _ = m["description"].(string)
		}
		fmt.Fprintf(&w.g.out, "\n%sexport type %s = %s;\n", comment(text, ""), name, w.schema(doc, ""))
	})
	return name
}

func (w *tsType) literals(l []any) string {
	var out []string
	for _, x := range l {
		if t := w.literal(x); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return strings.Join(out, " | ")
}

// literal returns the type of one value.
func (w *tsType) literal(x any) string {
	switch x := x.(type) {
	case nil, bool, string:
		return string(delta.AppendAnyJSON(nil, x))
	case int64:
		if x > 1<<53 || x < -1<<53 {
			return "number" // JavaScript has no such number
		}
		return numberText(x)
	case float64:
		return numberText(x)
	case []any:
		out := make([]string, len(x))
		for i, e := range x {
			out[i] = w.literal(e)
		}
		return "[" + strings.Join(out, ", ") + "]"
	case map[string]any:
		var out []string
		for _, k := range slices.Sorted(maps.Keys(x)) {
			out = append(out, fmt.Sprintf("%s: %s", memberName(k), w.literal(x[k])))
		}
		return "{ " + strings.Join(out, "; ") + " }"
	}
	return "unknown"
}
