package schema

import (
	"maps"
	"slices"
	"strings"

	"github.com/rhizome-p2p/rhizome/delta"
)

// An outline is the document that the properties of a schema make up together,
// for those who generate code from it.
type outline struct {
	property *Property // that stands here
	message  *valueType
	members  map[string]*outline
	others   *outline // of members whose names a * stands for
}

// outline returns that of the schema.
func (c *Compiled) outline() *outline {
	root := &outline{}
	for i := range c.Schema.Properties {
		p := &c.Schema.Properties[i]
		o := root
		for _, name := range p.Path.Segments() {
			o = o.member(name)
		}
		o.property, o.message = p, c.built.types[i]
	}
	return root
}

func (o *outline) member(name string) *outline {
	if name == star {
		if o.others == nil {
			o.others = &outline{}
		}
		return o.others
	}
	if o.members[name] == nil {
		if o.members == nil {
			o.members = make(map[string]*outline)
		}
		o.members[name] = &outline{}
	}
	return o.members[name]
}

// names returns those of the members, in order.
func (o *outline) names() []string { return slices.Sorted(maps.Keys(o.members)) }

// required reports whether the document always has what is here.
func (o *outline) required() bool {
	if o.property != nil {
		return o.property.Required
	}
	for _, m := range o.members {
		if m.required() {
			return true
		}
	}
	return false
}

// local returns what a reference within a type leads to; ok is false for
// anchors and for pointers with escapes of URLs.
func local(doc any, ref string) (found any, ok bool) {
	pointer, ok := strings.CutPrefix(ref, "#")
	if !ok || strings.Contains(pointer, "%") || pointer != "" && pointer[0] != '/' {
		return nil, false
	}
	found = doc
	for _, name := range delta.Path(pointer).Segments() {
		m, isObject := found.(map[string]any)
		if !isObject {
			return nil, false
		}
		if found, ok = m[name]; !ok {
			return nil, false
		}
	}
	return found, true
}
