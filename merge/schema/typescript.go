package schema

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
)

// GenTypeScript returns the types of what lossy reads of the schemas' entities
// show, as a module that compiles under tsc --strict. A member is optional
// unless its property is required.
func GenTypeScript(all []*Compiled) []byte {
	g := &typeScript{taken: map[string]bool{"Record": true}}
	g.out.WriteString("// Generated from schemas by rhizome. Do not edit.\n")
	sorted := slices.SortedStableFunc(slices.Values(all), func(a, b *Compiled) int {
		return strings.Compare(a.Schema.Name, b.Schema.Name)
	})
	// The names of the schemas come first, so that no part of one takes that of
	// another.
	names := make([]string, len(sorted))
	for i, c := range sorted {
		names[i] = g.name(c.Schema.Name)
	}
	for i, c := range sorted {
		g.schema(c, names[i])
	}
	if len(sorted) == 0 {
		g.out.WriteString("\nexport {};\n")
	}
	return g.out.Bytes()
}

type typeScript struct {
	out   bytes.Buffer
	taken map[string]bool

	// Of the schema that is being written: its name, what messages are called,
	// and the declarations that follow it.
	name1    string
	messages map[string]string
	later    []func()
}

// name returns an identifier that is not taken, made of the words of a text.
func (g *typeScript) name(text string) string {
	var b strings.Builder
	upper := true
	for _, c := range []byte(text) {
		switch {
		case c >= 'a' && c <= 'z' && upper:
			b.WriteByte(c - 'a' + 'A')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9' && b.Len() > 0:
			b.WriteByte(c)
		default:
			upper = true
			continue
		}
		upper = false
	}
	if b.Len() == 0 {
		b.WriteString("Value")
	}
	name := b.String()
	for n := 2; g.taken[name]; n++ {
		name = fmt.Sprintf("%s%d", b.String(), n)
	}
	g.taken[name] = true
	return name
}

func (g *typeScript) schema(c *Compiled, name string) {
	g.name1, g.messages, g.later = name, map[string]string{}, nil
	root := c.outline()
	fmt.Fprintf(&g.out, "\n%s", comment(fmt.Sprintf("%s\n%s of entities %s.", c.Schema.Description, c.Schema, strings.Join(c.Schema.Entities, ", ")), ""))
	if root.property != nil || root.others != nil {
		fmt.Fprintf(&g.out, "export type %s = %s;\n", name, g.outline(root, ""))
	} else {
		fmt.Fprintf(&g.out, "export interface %s %s\n", name, g.outline(root, ""))
	}
	for len(g.later) > 0 {
		next := g.later[0]
		g.later = g.later[1:]
		next()
	}
}

// outline returns the type of a part of the document.
func (g *typeScript) outline(o *outline, indent string) string {
	if o.property != nil {
		return g.property(o, indent)
	}
	if len(o.members) == 0 && o.others != nil {
		return fmt.Sprintf("Record<string, %s>", g.outline(o.others, indent))
	}
	var b strings.Builder
	b.WriteString("{\n")
	inner := indent + "  "
	union := []string{"undefined"}
	for _, name := range o.names() {
		m := o.members[name]
		t := g.outline(m, inner)
		union = append(union, grouped(t))
		if m.property != nil {
			b.WriteString(comment(m.property.Description, inner))
		}
		fmt.Fprintf(&b, "%s%s%s: %s;\n", inner, memberName(name), optional(m.required()), t)
	}
	if o.others != nil {
		union = append(union, grouped(g.outline(o.others, inner)))
		fmt.Fprintf(&b, "%s[name: string]: %s;\n", inner, strings.Join(union, " | "))
	}
	b.WriteString(indent + "}")
	return b.String()
}

func (g *typeScript) property(o *outline, indent string) string {
	p := o.property
	t := "unknown"
	switch {
	case p.Ref != nil:
		t = "{ $ref: string }"
		if p.Ref.Dangling == "null" {
			t += " | null"
		}
	case o.message.message != nil:
		t = g.message(o.message.message) + " | { $bytes: string }"
	case p.Type == nil && p.Verb == Counter:
		t = "number"
	case p.Type != nil:
		w := tsType{g: g, root: p.Type, name: g.name1 + " " + p.ID, aliases: map[string]string{}}
		t = w.schema(p.Type, indent)
	}
	switch p.reading() {
	case readsMany:
		return grouped(t) + "[]"
	case readsNumber:
		return "number"
	case readsText:
		return "string"
	case readsOrNull:
		return grouped(t) + " | null"
	case readsAny:
		return "unknown"
	}
	return t
}

// grouped puts a type of several into brackets.
func grouped(t string) string {
	if strings.ContainsAny(t, "|&") {
		return "(" + t + ")"
	}
	return t
}

func optional(required bool) string {
	if required {
		return ""
	}
	return "?"
}

var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// memberName quotes a name where it must be.
func memberName(name string) string {
	if identifier.MatchString(name) {
		return name
	}
	return quoted(name)
}

func quoted(s string) string { return string(delta.AppendAnyJSON(nil, s)) }

// comment returns a text as a comment of its own lines; nothing for none.
func comment(text, indent string) string {
	text = strings.TrimSpace(strings.ReplaceAll(text, "*/", "*\u200b/"))
	if text == "" {
		return ""
	}
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029' })
	if len(lines) == 1 {
		return fmt.Sprintf("%s/** %s */\n", indent, lines[0])
	}
	var b strings.Builder
	b.WriteString(indent + "/**\n")
	for _, l := range lines {
		b.WriteString(strings.TrimRight(indent+" * "+l, " ") + "\n")
	}
	b.WriteString(indent + " */\n")
	return b.String()
}
