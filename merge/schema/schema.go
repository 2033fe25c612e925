// Package schema turns schemas, which are data in the log, into what package
// merge reads with, and says what a writer must not write.
//
// A schema names the entities that it is for, and the properties of such an
// entity: the type of each, the operation that writes it, how its survivors
// read, what it refers to. It is a JSON document of this form:
//
//	{
//	  "name": "order", "version": 2, "description": "…",
//	  "entities": ["order/*", "archive/**"],
//	  "additional": true,
//	  "proto": "syntax = \"proto3\"; message Money {…}",
//	  "properties": [
//	    {"id": "price", "path": "/price", "description": "…", "type": {"type": "number", "minimum": 0},
//	     "verb": "register", "resolver": "last-write-wins", "required": true},
//	    {"id": "paid", "path": "/paid", "type": {"$proto": "Money"}},
//	    {"id": "tags", "path": "/tags", "type": {"type": "string"}, "verb": "bag",
//	     "resolver": {"use": "concat", "separator": ", "}},
//	    {"id": "buyer", "path": "/buyer", "ref": {"to": ["person/*"], "dangling": "null"}},
//	    {"id": "notes", "path": "/notes/*/text", "type": {"type": "string"}},
//	    {"id": "state", "path": "/state", "type": {"enum": ["open", "paid"]}, "default": "open"},
//	    {"id": "total", "path": "/total", "computed": true, "type": {"type": "number"},
//	     "resolver": "order-total", "depends": ["price", {"id": "tax", "optional": true}]}
//	  ],
//	  "migrate": [
//	    {"rename": {"from": "/cost", "to": "/price"}},
//	    {"split": {"from": "/name", "to": ["/first", "/last"], "separator": " "}},
//	    {"retype": {"path": "/price", "to": "number"}},
//	    {"default": {"path": "/state", "value": "open"}}
//	  ]
//	}
//
// # Entities
//
// In a pattern * stands for one or more characters other than "/", ** for any
// text, and all else for itself. Where the patterns of several schemas match an
// entity, the one with the most literal bytes counts, then the smaller name of
// a schema.
//
// # Properties
//
// A path is a JSON pointer. Its segment * stands for any one name; where paths
// with and without it match, the one that is literal at the first difference
// counts. No property lies inside another one: what stands below a property's
// path is part of its value.
//
// The verb is register (the default), bag, ballot or counter. A type is that of
// one value: of a bag each member, of a ballot each vote, of a counter the
// total, of a computed property the result. It is a JSON Schema 2020-12 that
// refers to nothing outside itself, or {"$proto": MESSAGE}: a message of the
// .proto text as an object, by the protobuf JSON mapping, or as bytes. Formats
// are annotations, as the standard has it; they are not checked. Numbers are
// compared as they print, so that 5.0 is an integer and no digit is lost. A
// reference and a byte string are to a type what they are in JSON, the objects
// {"$ref": ENTITY} and {"$bytes": BASE64}.
//
// # Versions
//
// Of the versions of one name the highest valid one is active. The migrations
// of all valid versions up to it apply, in the order of versions, to every
// survivor whenever it is read. So nodes that hold the same schemas read the
// same, whoever wrote what with which version. Of several valid documents with
// one name and version that of the smallest canonical bytes counts.
//
// Nothing is rewritten until somebody writes the property: who puts or removes it
// at its new path drops what stood for it at the old one, and of a value that was
// split writes the other parts at their paths, all in one transaction. So a node
// that still has the older version only sees the property go away. The votes of
// others cannot be written anew; a vote that was split is left where it is.
//
// # What a schema decides
//
// It decides what a local writer may write (Admit), and how survivors read
// (Rules). It never decides the merge, and nothing that a peer wrote is refused.
//
// Who makes an entity must give it what is required, all but ballots: votes come
// in transactions of their own, since each is of one creator. A reader is shown an
// error in the place of any required property that has no value.
//
// The package is pure, and what it returns may be used from any number of
// goroutines.
package schema

import (
	"fmt"

	"github.com/rhizome-p2p/rhizome/delta"
	"github.com/rhizome-p2p/rhizome/merge"
)

// A Schema is one version of a schema as it was written. One that Parse
// returned must not be changed.
type Schema struct {
	Name        string
	Version     int
	Description string
	Entities    []string // patterns
	// Closed says that nothing but its properties may be written.
	Closed bool
	// Proto is the text of a .proto file, or empty.
	Proto      string
	Properties []Property
	// Migrate says how what was written with earlier versions reads.
	Migrate []Migration

	built *blueprint // what Parse made of it; nil where it did not come from there
}

// String returns name and version, as order@2.
func (s *Schema) String() string { return fmt.Sprintf("%s@%d", s.Name, s.Version) }

// A Verb says which operation writes a property.
type Verb string

// The verbs.
const (
	Register Verb = "register" // put
	Bag      Verb = "bag"      // add and remove
	Ballot   Verb = "ballot"   // vote
	Counter  Verb = "counter"  // inc
)

// A Property says what one property of an entity is.
type Property struct {
	ID          string
	Path        delta.Path
	Description string
	// Type is a JSON Schema or {"$proto": MESSAGE}, as delta.ParseJSON returns
	// it; nil takes any value.
	Type     any
	Verb     Verb
	Resolver *Resolver // nil for the default of the verb
	Required bool
	// Default is what an entity that exists shows where the property has no
	// value, as delta.Value.Any returns it.
	Default    any
	HasDefault bool
	Ref        *Ref // nil where it refers to nothing
	// Computed says that the value is the resolver's alone: nobody writes it.
	Computed bool
	Depends  []merge.Dep
}

// typed reports whether not any value will do.
func (p *Property) typed() bool { return p.Type != nil || p.Ref != nil }

// A Resolver names a resolver, and what it is given.
type Resolver struct {
	Use    string
	Params map[string]any
}

// A Ref says what a property refers to.
type Ref struct {
	To       []string // patterns of entities; none takes all
	Dangling merge.Dangling
}

// A Migration is one change of what earlier versions wrote. One of its fields
// is set.
type Migration struct {
	Rename  *Rename
	Split   *Split
	Retype  *Retype
	Default *Default
}

// A Rename moves all at and below a path to another one. Each * in To stands
// for what the * of the same rank in From does.
type Rename struct{ From, To delta.Path }

// A Split takes a string apart. The last part is all that is left; where there
// are fewer, the last paths have no value.
type Split struct {
	From      delta.Path
	To        []delta.Path
	Separator string
}

// A Retype turns values into those of another type.
type Retype struct {
	Path delta.Path
	To   string // string, integer, number, boolean or array
}

// A Default gives entities that lack a property its value.
type Default struct {
	Path  delta.Path
	Value any
}

// A Mistake is one thing that is wrong with a schema.
type Mistake struct {
	Pointer delta.Path // the place in the document
	Text    string
}

// Error tells the place and the mistake.
func (m *Mistake) Error() string {
	if m.Pointer == "" {
		return "schema: " + m.Text
	}
	return fmt.Sprintf("schema: %s: %s", m.Pointer, m.Text)
}
