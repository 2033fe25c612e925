package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/rhizome-p2p/rhizome/delta"
)

// GenJSONSchema returns a JSON Schema 2020-12 of what lossy reads of the
// schema's entities show.
func GenJSONSchema(c *Compiled) []byte {
	g := &jsonGen{c: c, defs: map[string]any{}}
	doc := g.outline(c.outline())
	doc["$schema"] = dialectURL
	doc["title"] = c.Schema.String()
	put(doc, "description", c.Schema.Description)
	if len(g.defs) > 0 {
		doc["$defs"] = g.defs
	}
	var out bytes.Buffer
	if err := json.Indent(&out, delta.AppendAnyJSON(nil, doc), "", "  "); err != nil {
		return nil // AppendAnyJSON writes JSON
	}
	out.WriteByte('\n')
	return out.Bytes()
}

type jsonGen struct {
	c    *Compiled
	defs map[string]any
}

// outline returns the schema of a part of the document.
func (g *jsonGen) outline(o *outline) map[string]any {
	if o.property != nil {
		return g.property(o)
	}
	m := map[string]any{"type": "object"}
	properties := map[string]any{}
	var required []any
	for _, name := range o.names() {
		member := o.members[name]
		properties[name] = g.outline(member)
		if member.required() {
			required = append(required, name)
		}
	}
	if len(properties) > 0 {
		m["properties"] = properties
	}
	if len(required) > 0 {
		m["required"] = required
	}
	switch {
	case o.others != nil:
		m["additionalProperties"] = g.outline(o.others)
	case g.c.Schema.Closed:
		m["additionalProperties"] = false
	}
	return m
}

func (g *jsonGen) property(o *outline) map[string]any {
	p := o.property
	var m map[string]any
	switch p.reading() {
	case readsMany:
		m = map[string]any{"type": "array", "items": g.single(o)}
	case readsNumber:
		m = map[string]any{"type": "number"}
	case readsText:
		m = map[string]any{"type": "string"}
	case readsOrNull:
		m = map[string]any{"anyOf": []any{g.single(o), map[string]any{"type": "null"}}}
	case readsAny:
		m = map[string]any{}
	default:
		m = g.single(o)
	}
	if _, described := m["description"]; !described {
		put(m, "description", p.Description)
	}
	put(m, "readOnly", p.Computed)
	for _, d := range g.c.defaults {
		if d.has && d.property == p.ID {
			m["default"] = d.value
		}
	}
	return m
}

// single returns the schema of one value of a property's type.
func (g *jsonGen) single(o *outline) map[string]any {
	p := o.property
	if p.Ref != nil {
		ref := objectOf("$ref")
		if p.Ref.Dangling == "null" {
			return map[string]any{"anyOf": []any{ref, map[string]any{"type": "null"}}}
		}
		return ref
	}
	if d := o.message.message; d != nil {
		maps.Copy(g.defs, messageSchemas(d))
		return map[string]any{"anyOf": []any{messageRef(d), objectOf("$bytes")}}
	}
	switch t := p.Type.(type) {
	case nil:
		if p.Verb == Counter {
			return map[string]any{"type": "number"}
		}
	case map[string]any:
		if !refers(t) {
			t = maps.Clone(t)
			delete(t, "$schema") // the document says it
			return t
		}
		// The references of the type are relative to itself, so it becomes a
		// document of its own within this one.
		id := fmt.Sprintf("urn:rhizome:%s:%d:%s", g.c.Schema.Name, g.c.Schema.Version, p.ID)
		t = maps.Clone(t)
		t["$id"] = id
		g.defs["property."+p.ID] = t
		return map[string]any{"$ref": id}
	case bool:
		if !t {
			return map[string]any{"not": map[string]any{}}
		}
	}
	return map[string]any{}
}

// objectOf is the schema of references and of byte strings.
func objectOf(key string) map[string]any {
	return map[string]any{
		"type": "object", "properties": map[string]any{key: map[string]any{"type": "string"}},
		"required": []any{key}, "additionalProperties": false,
	}
}

// refers reports whether something in a type may refer to another part of it.
func refers(x any) bool {
	switch x := x.(type) {
	case []any:
		for _, e := range x {
			if refers(e) {
				return true
			}
		}
	case map[string]any:
		for k, e := range x {
			if k == "$ref" || k == "$dynamicRef" || k == "$anchor" || k == "$dynamicAnchor" || refers(e) {
				return true
			}
		}
	}
	return false
}
